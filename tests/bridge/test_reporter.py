"""Odoo hears what became of each event, sooner or later, and the bridge hears what people gave up or want again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bridge.contract.event import Event
from bridge.contract.payloads import EventType
from bridge.odoo import Odoo
from bridge.store import odoo_settings
from bridge.store.engine import in_transaction
from bridge.worker.reporter import close_discarded, report_outcomes, take_over

from .conftest import Cli, World, contact, eventually, make, stage
from .odoo_stand_in import DATABASE, KEY, LOGIN


def told(world: World, event: Event) -> list[dict[str, Any]]:
    return [outcome for outcome in world.odoo.reports if outcome["event_id"] == event.id]


def states(world: World, event: Event) -> list[str]:
    return [outcome["state"] for outcome in told(world, event)]


def connect(world: World) -> Odoo:
    return Odoo(world.odoo.url, DATABASE, LOGIN, KEY)


def give_up(world: World, *events: Event) -> None:
    """Have the bridge make dead letters of ``events``, and stop it."""
    world.send(*events)
    bridge = world.start_bridge()
    assert set(world.settle(*events)) == {"dead_lettered"}
    eventually(lambda: all(states(world, event) == ["failed"] for event in events))
    bridge.terminate()


@pytest.mark.parametrize("odoo", [18, 19], indirect=True)
def test_odoo_hears_of_what_only_sql_knows_and_not_of_what_it_did_itself(world: World) -> None:
    person, move = contact("MC1"), stage("MC2")
    assignment = make(EventType.CAMPAIGN_ASSIGNMENT, "MC3", campaign_id=1)
    world.send(person, move, assignment)
    world.start_bridge()
    world.settle(person, move, assignment)

    eventually(lambda: told(world, person) and told(world, assignment))
    eventually(lambda: not [row for row in world.rows("audit") if row.reported_at is None])
    [outcome] = told(world, person)
    assert (outcome["state"], outcome["outcome"], outcome["code"], outcome["retries"]) == ("done", "stored", None, 0)
    assert "event" not in outcome
    assert told(world, move) == []


def test_odoo_hears_why_an_event_was_given_up_and_that_it_was_discarded(cli: Cli, world: World) -> None:
    event = stage(stage_id=99)
    give_up(world, event)
    [outcome] = told(world, event)
    assert (outcome["code"], outcome["message"]) == ("unmapped_stage", "No stage is mapped to this ManyChat stage.")
    cli("dlq", "discard", "--all", "--yes")
    world.start_bridge()
    eventually(lambda: states(world, event) == ["failed", "discarded"])


def test_what_odoo_never_saw_comes_with_its_outcome(world: World) -> None:
    event = replace(contact(), source="api")
    world.send(event)
    world.start_bridge()
    eventually(lambda: told(world, event))
    assert told(world, event)[0]["event"] == event.envelope()


def test_odoo_away_delays_the_report_and_nothing_else(world: World) -> None:
    world.odoo.stop()
    events = [contact(f"MC{number}") for number in range(3)]
    world.send(*events)
    bridge = world.start_bridge("--queue", "contact")
    assert world.settle(*events) == ["stored"] * 3
    eventually(lambda: bridge.lines("report_failing"))
    # Killed in between, the next one knows what is left to tell.
    bridge.kill()
    world.odoo.start()
    world.start_bridge("--queue", "contact")
    eventually(lambda: all(states(world, event) == ["done"] for event in events))


def test_an_older_addon_is_told_nothing_and_said_once(world: World) -> None:
    world.odoo.takes_reports = False
    bridge = world.start_bridge()
    event = contact()
    world.send(event)
    assert world.settle(event) == ["stored"]
    eventually(lambda: bridge.lines("report_failing"))
    world.odoo.takes_reports = True
    eventually(lambda: bridge.lines("report_resumed"))
    assert states(world, event) == ["done"]
    assert len(bridge.lines("report_failing")) == 1


def test_a_report_that_odoo_refuses_holds_up_no_other(world: World) -> None:
    events = [contact(f"MC{number}") for number in range(5)]
    world.odoo.takes_reports = False
    world.send(*events)
    bridge = world.start_bridge()
    world.settle(*events)
    bridge.terminate()
    world.odoo.takes_reports = True
    world.odoo.refused_reports = {events[2].id}
    with pytest.raises(Exception, match="ValidationError"):
        report_outcomes(world.engine, connect(world))
    assert [states(world, event) for event in events] == [["done"], ["done"], [], ["done"], ["done"]]
    world.odoo.refused_reports = set()
    report_outcomes(world.engine, connect(world))
    assert states(world, events[2]) == ["done"]


def test_nothing_to_tell_is_no_call(world: World) -> None:
    world.odoo.stop()
    report_outcomes(world.engine, connect(world))


def test_a_retry_in_odoo_brings_a_discarded_event_back_and_nothing_else_does(cli: Cli, world: World) -> None:
    event = stage(stage_id=99)
    give_up(world, event)
    cli("dlq", "discard", "--all", "--yes")
    world.odoo.stages[99] = "Nueva etapa"
    bridge = world.start_bridge()
    world.send(event)
    eventually(lambda: bridge.lines("event_duplicate"))
    assert world.outcomes(event) == ["discarded"]

    world.send(replace(event, retries=1))
    eventually(lambda: world.outcomes(event) == ["created"])
    assert [row.status for row in world.rows("dead_letters")] == ["resolved"]


def test_a_retry_in_odoo_is_told_by_its_number_when_it_fails_again(world: World) -> None:
    event = stage(stage_id=99)
    give_up(world, event)
    world.start_bridge()
    world.send(replace(event, retries=1))
    eventually(lambda: [outcome["retries"] for outcome in told(world, event)] == [0, 1])


def test_a_discard_in_odoo_closes_the_dead_letter_for_good(cli: Cli, world: World) -> None:
    event, other = stage("MC1", stage_id=99), stage("MC2", stage_id=99)
    give_up(world, event, other)
    world.odoo.discarded = {event.id: 0}
    world.odoo.stages[99] = "Nueva etapa"
    world.start_bridge()

    eventually(lambda: world.odoo.discarded == {})
    assert world.outcomes(event, other) == ["discarded", "dead_lettered"]
    assert [row.status for row in world.rows("dead_letters")] == ["discarded", "open"]
    cli("dlq", "replay")
    eventually(lambda: world.outcomes(event, other) == ["discarded", "created"])


def test_a_discard_that_comes_late_leaves_alone_what_was_sent_again_or_applied(world: World) -> None:
    again, applied = stage("MC1", stage_id=99), contact("MC2")
    give_up(world, replace(again, retries=1))
    world.send(applied)
    bridge = world.start_bridge()
    world.settle(applied)
    eventually(lambda: told(world, applied))
    bridge.terminate()
    close_discarded(world.engine, connect(world), {again.id: 0, applied.id: 0, "f" * 64: 0})

    assert world.outcomes(again, applied) == ["dead_lettered", "stored"]
    # What SQL does not know is confirmed at once, and what it knows otherwise is told once more.
    assert world.odoo.reports[-1] == {"event_id": "f" * 64, "state": "discarded", "retries": 0}
    report_outcomes(world.engine, connect(world))
    assert states(world, applied) == ["done", "done"]


def test_an_event_that_odoo_says_is_discarded_is_settled_and_no_dead_letter(world: World) -> None:
    event = stage()
    world.odoo.troubles["MC1"] = "discarded"
    world.send(event)
    world.start_bridge()
    assert world.settle(event) == ["discarded"]
    assert world.rows("dead_letters") == []


def test_what_administrators_set_in_odoo_is_in_sql_and_stays_while_an_older_addon_says_nothing(world: World) -> None:
    rules = {"enabled": True, "flows": {"25": {"ns": "x", "name": "Cotización"}}}
    world.odoo.told = {"settings": {"write_back": rules, "stage_texts": {}}}
    world.start_bridge()

    names = {"write_back", "stage_texts"}
    eventually(lambda: names <= {row.name for row in world.rows("odoo_settings")})
    assert in_transaction(world.engine, odoo_settings.get, "write_back") == rules
    world.odoo.told = {}
    take_over(world.engine, connect(world), connect(world).heartbeat("x", "1"))
    assert in_transaction(world.engine, odoo_settings.get, "write_back") == rules
    before = world.rows("odoo_settings")
    world.odoo.told = {"settings": {"write_back": rules}}
    take_over(world.engine, connect(world), connect(world).heartbeat("x", "1"))
    assert world.rows("odoo_settings") == before
    world.odoo.told = {"settings": {"write_back": {"enabled": False}}}
    take_over(world.engine, connect(world), connect(world).heartbeat("x", "1"))
    assert in_transaction(world.engine, odoo_settings.get, "write_back") == {"enabled": False}
    assert in_transaction(world.engine, odoo_settings.get, "none") is None

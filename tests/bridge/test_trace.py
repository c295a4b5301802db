"""`trace`: one event's story, from wherever something is known of it; only Odoo is a stand-in."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from bridge.contract.event import Event
from bridge.contract.payloads import OPPORTUNITY_QUEUE
from bridge.store import audit
from bridge.store.engine import in_transaction

from .conftest import Cli, World, contact, stage


def told(cli: Cli, event: Event) -> dict[str, Any]:
    result = cli.start("trace", event.id, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_an_applied_event_is_told_from_the_webhook_to_the_opportunity(world: World, cli: Cli) -> None:
    first, second = stage(stage_id=16, minute=1, phone="+34611222333"), stage(stage_id=17, minute=2)
    for event in (first, second):
        world.odoo.log(event, "done")
    world.start_bridge()
    world.send(first)
    world.settle(first)
    world.send(second)
    world.settle(second)

    story = told(cli, first)
    assert [step["where"] for step in story["timeline"]] == ["webhook", "queue", "bridge", "SQL"]
    assert story["conclusion"] == "Done: created."
    assert (story["odoo"]["lead_id"], story["opportunity"]["lead_id"]) == (1, 1)
    assert [move["event_id"] for move in story["stage_history"]] == [first.id, second.id]
    assert (story["queue"], story["dead_letter"], story["unreachable"]) == (None, None, {})

    by_prefix = cli("trace", first.id[:10].upper())
    assert by_prefix.returncode == 0
    for text in (first.id, "MC1", "created", "Recién Suscrito Sin Asignar", "newer events exist", "Opportunity 1"):
        assert text in by_prefix.stdout
    for secret in ("611222333", "Ana"):
        assert secret not in by_prefix.stdout

    listed = cli("trace", "MC1")
    assert listed.returncode == 0
    assert listed.stdout.index(second.id[:12]) < listed.stdout.index(first.id[:12])


def test_an_event_that_nobody_has_taken_yet_is_found_on_its_queue(world: World, cli: Cli) -> None:
    event = stage()
    world.odoo.log(event, "queued")
    world.send(event)
    story = told(cli, event)
    assert story["queue"]["queue"] == OPPORTUNITY_QUEUE
    assert "It waits on" in story["conclusion"]
    assert world.queues[OPPORTUNITY_QUEUE].receive(32, 1), "looking takes nothing"


def test_an_event_that_only_the_standby_has_seen_is_in_sql(world: World, cli: Cli) -> None:
    event = stage()
    in_transaction(world.engine, audit.accept, event)
    story = told(cli, event)
    assert [step["where"] for step in story["timeline"]] == ["webhook", "SQL"]
    assert "standby accepted it" in story["conclusion"]


def test_an_event_that_still_waits_in_odoo_is_told_so(world: World, cli: Cli) -> None:
    event = stage()
    world.odoo.log(event)
    assert told(cli, event)["conclusion"].startswith("It waits in Odoo until the queue")


def test_a_dead_letter_is_told_with_what_to_do(world: World, cli: Cli) -> None:
    event = stage(stage_id=99)
    world.send(event)
    world.start_bridge()
    world.settle(event)
    story = told(cli, event)
    assert story["dead_letter"]["code"] == "unmapped_stage"
    assert "Stage Aliases" in story["conclusion"]


def test_what_is_away_is_named_and_the_others_tell(world: World, cli: Cli) -> None:
    event = contact()
    world.send(event)
    world.start_bridge("--queue", "contact")
    world.settle(event)
    world.odoo.stop()
    result = cli("trace", event.id)
    assert result.returncode == 0
    assert "Done: stored." in result.stdout
    assert "Odoo could not be read" in result.stderr


def test_the_unknown_is_said_to_be_unknown(world: World, cli: Cli) -> None:
    for unknown in ("0" * 64, "MC-NOBODY"):
        result = cli("trace", unknown)
        assert result.returncode == 1
        assert f"Unknown: {unknown}" in result.stderr
        assert "Searched: Odoo, SQL, queue" in result.stderr


def test_a_beginning_that_fits_several_lists_them(world: World, cli: Cli) -> None:
    events = [stage(f"MC{number}") for number in range(2)]
    for event in events:
        world.odoo.log(event)
    world.odoo.logged[0]["event_id"] = "abcdef" + "0" * 58
    world.odoo.logged[1]["event_id"] = "abcdef" + "1" * 58
    result = cli("trace", "abcdef")
    assert result.returncode == 1
    assert "abcdef000000" in result.stdout
    assert "2 events have ids with this beginning" in result.stderr


def test_a_trace_that_the_sender_named_leads_to_the_event_when_only_sql_answers(world: World, cli: Cli) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    events = [replace(contact(f"MC{number}"), traceparent=f"00-{trace}-00f067aa0ba902b7-01") for number in range(2)]
    world.start_bridge()
    world.send(events[0])
    world.settle(events[0])
    story = json.loads(cli.start("trace", trace, "--json", odoo_url="http://127.0.0.1:9").stdout)
    assert (story["event_id"], story["trace_id"]) == (events[0].id, trace)
    assert "Odoo" in story["unreachable"]
    world.send(events[1])
    world.settle(events[1])
    both = cli("trace", trace)
    assert both.returncode == 1
    assert all(event.id[:12] in both.stdout for event in events)

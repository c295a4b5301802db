"""An event's own failure: tried again, then kept as a dead letter with its reason; and its neighbours unharmed."""

from __future__ import annotations

import base64

import pytest
import sqlalchemy as sa

from bridge import retry
from bridge.cli.dlq import replay_letter
from bridge.contract.payloads import CONTACT_QUEUE, OPPORTUNITY_QUEUE
from bridge.contract.reading import MAX_MESSAGE_CHARS
from bridge.results import Failure

from .conftest import World, contact, eventually, stage


def test_what_is_no_event_is_a_dead_letter_at_once_with_its_raw_body(world: World) -> None:
    bad = {
        "this is no Base64 and no JSON": "not_json",
        base64.b64encode(b"\xff\xfe").decode(): "not_json",
        base64.b64encode(b"[1, 2]").decode(): "not_json",
        '{"manychat_id": "", "nombre_lead": "Ana"}': "invalid",
        '{"v": 1, "id": "x", "payload": {}}': "invalid",
        "¡hola! 😀 <b>&amp;": "not_json",
        "A" * MAX_MESSAGE_CHARS: "not_json",
    }
    good = contact()
    for content in bad:
        world.queues[CONTACT_QUEUE].send(content)
    world.send(good)
    world.start_bridge()

    assert world.settle(good) == ["stored"]
    letters = {letter.body: letter for letter in world.rows("dead_letters")}
    assert {body: letter.code for body, letter in letters.items()} == bad
    assert {(letter.event_id, letter.attempts) for letter in letters.values()} == {(None, 1)}
    assert all(letter.message for letter in letters.values())
    notices = world.notices()
    assert {notice["dead_letter_id"] for notice in notices} == {letter.id for letter in letters.values()}
    assert {notice["queue"] for notice in notices} == {CONTACT_QUEUE}


def test_an_event_with_an_unmapped_stage_is_a_dead_letter_at_once(world: World) -> None:
    event, neighbour = stage("MC1", stage_id=99), stage("MC2")
    world.send(event, neighbour)
    world.start_bridge()

    assert world.settle(event, neighbour) == ["dead_lettered", "created"]
    [letter] = world.rows("dead_letters")
    assert (letter.event_id, letter.code, letter.attempts) == (event.id, "unmapped_stage", 1)
    assert letter.manychat_id == "MC1"
    [row] = world.rows("opportunities", manychat_id="MC1")
    assert row.odoo_sync_status == "error"
    assert "unmapped_stage" in row.last_error
    [notice] = eventually(world.notices)
    assert notice["event_id"] == event.id
    assert eventually(lambda: world.rows("dead_letters")[0].notified_at)


def test_a_refused_event_is_tried_as_often_as_set_then_kept(world: World) -> None:
    world.odoo.troubles["MC1"] = "refused"
    event, neighbour = stage("MC1"), stage("MC2")
    world.send(event, neighbour)
    bridge = world.start_bridge(max_attempts=3)

    assert world.settle(event, neighbour) == ["dead_lettered", "created"]
    assert sum(event.id in call for call in world.odoo.calls) == 3
    assert [line["attempts"] for line in bridge.lines("event_retried")] == [1, 2]
    [letter] = world.rows("dead_letters")
    assert (letter.code, letter.attempts) == ("refused", 3)
    assert letter.first_tried_at < letter.last_tried_at
    assert world.rows("opportunities", manychat_id="MC1")[0].attempts == 3


def test_an_event_refused_once_is_applied_later(world: World) -> None:
    world.odoo.troubles["MC1"] = "refused"
    event = stage("MC1")
    world.send(event)
    world.start_bridge()
    eventually(lambda: world.bridges[0].lines("event_retried"))
    assert world.rows("opportunities")[0].odoo_sync_status == "error"
    world.odoo.troubles.clear()

    assert world.settle(event) == ["created"]
    [row] = world.rows("opportunities")
    assert (row.odoo_sync_status, row.last_error) == ("success", None)
    [audit] = world.rows("audit")
    assert (audit.attempts, audit.error) == (2, None)
    assert world.rows("dead_letters") == []


@pytest.mark.parametrize("odoo", [18, 19], indirect=True, ids=["Odoo 18", "Odoo 19"])
def test_events_that_take_the_whole_call_down_do_not_harm_their_neighbours(world: World) -> None:
    world.odoo.troubles.update(MC2="fault", MC5="access", MC6="cut")
    events = [stage(f"MC{number}") for number in range(8)]
    world.send(*events)
    world.start_bridge(max_attempts=2)

    assert world.settle(*events) == [
        "dead_lettered" if event.manychat_id in world.odoo.troubles else "created" for event in events
    ]
    assert {(letter.manychat_id, letter.code) for letter in world.rows("dead_letters")} == {
        ("MC2", "refused"),
        ("MC5", "refused"),
        ("MC6", "refused"),
    }


def test_an_event_that_the_database_refuses_does_not_harm_its_neighbours(world: World) -> None:
    with world.engine.begin() as connection:
        connection.execute(
            sa.text(
                "CREATE TRIGGER refuse BEFORE INSERT ON contacts WHEN NEW.manychat_id = 'MC5' "
                "BEGIN SELECT RAISE(ABORT, 'not this one'); END"
            )
        )
    events = [contact(f"MC{number}") for number in range(8)]
    world.send(*events)
    world.start_bridge(max_attempts=2)

    expected = ["stored"] * 8
    expected[5] = "dead_lettered"
    assert world.settle(*events) == expected
    [letter] = world.rows("dead_letters")
    assert (letter.code, letter.attempts, letter.event_id) == ("sql_refused", 2, events[5].id)
    assert "not this one" in letter.message


def test_an_error_that_nobody_foresaw_ends_the_process_with_1_and_loses_nothing(world: World) -> None:
    with world.engine.begin() as connection:
        connection.execute(
            sa.text("CREATE TRIGGER refuse BEFORE INSERT ON dead_letters BEGIN SELECT RAISE(ABORT, 'no'); END")
        )
    world.queues[CONTACT_QUEUE].send("no event")
    bridge = world.start_bridge()

    assert bridge.process.wait(60) == 1
    assert bridge.lines("consumer_crashed")
    assert world.queues[CONTACT_QUEUE].depth() == 1
    with world.engine.begin() as connection:
        connection.execute(sa.text("DROP TRIGGER refuse"))
    world.start_bridge()
    assert [letter.body for letter in eventually(lambda: world.rows("dead_letters"))] == ["no event"]


def test_an_event_on_the_wrong_queue_is_a_dead_letter(world: World) -> None:
    event = stage()
    world.queues[CONTACT_QUEUE].send(event.encode())
    world.start_bridge()

    assert world.settle(event) == ["dead_lettered"]
    [letter] = world.rows("dead_letters")
    assert letter.code == "wrong_queue"
    assert OPPORTUNITY_QUEUE in letter.message
    assert world.odoo.calls == []


def test_odoo_re_emits_an_unmapped_event_and_it_is_processed_afresh(world: World) -> None:
    event = stage("MC1", stage_id=99)
    world.send(event)
    world.start_bridge()
    assert world.settle(event) == ["dead_lettered"]
    world.odoo.stages[99] = "Nueva etapa"
    world.send(event)

    eventually(lambda: world.outcomes(event) == ["created"])
    [letter] = world.rows("dead_letters")
    assert letter.status == "resolved"
    assert letter.resolved_at
    [row] = world.rows("opportunities")
    assert (row.odoo_sync_status, row.stage, row.last_error) == ("success", "Nueva etapa", None)
    assert len(world.rows("audit")) == 1


def test_a_replayed_event_that_fails_again_opens_its_dead_letter_again(world: World) -> None:
    event = stage("MC1", stage_id=99)
    world.send(event)
    world.start_bridge()
    world.settle(event)
    [before] = world.rows("dead_letters")
    replay_letter(world.engine, world.queues[OPPORTUNITY_QUEUE], before)

    [after] = eventually(
        lambda: [row for row in world.rows("dead_letters") if row.last_tried_at > before.last_tried_at]
    )
    assert (after.id, after.status, after.attempts) == (before.id, "open", 1)
    assert after.message_id != before.message_id


def test_a_bare_payload_without_a_date_keeps_its_event_id_when_replayed(world: World) -> None:
    # Its id depends on when its message was put on the queue, so replaying the raw body would make another event.
    world.queues[OPPORTUNITY_QUEUE].send('{"manychat_id": "MC1", "state": {"stage_id": 99}}')
    world.start_bridge()
    [letter] = eventually(lambda: world.rows("dead_letters"))
    world.odoo.stages[99] = "Nueva etapa"
    replay_letter(world.engine, world.queues[OPPORTUNITY_QUEUE], letter)

    eventually(lambda: [row.outcome for row in world.rows("audit")] == ["created"])
    assert [row.event_id for row in world.rows("audit")] == [letter.event_id]


def test_the_pause_between_attempts_doubles_up_to_a_limit_and_is_random() -> None:
    pauses = [{retry.delay(attempts) for _ in range(2000)} for attempts in range(1, 12)]

    for attempts, seconds in enumerate(pauses, start=1):
        full = min(retry.FIRST_DELAY * 2 ** (attempts - 1), retry.LAST_DELAY)
        assert full / 2 <= min(seconds)
        assert max(seconds) <= full
    assert all(len(seconds) > 1 for seconds in pauses)


def test_a_permanent_failure_is_given_up_at_once_and_others_at_the_limit() -> None:
    assert retry.is_given_up(Failure("invalid", "", permanent=True), attempts=1, max_attempts=5)
    assert not retry.is_given_up(Failure("refused", ""), attempts=4, max_attempts=5)
    assert retry.is_given_up(Failure("refused", ""), attempts=5, max_attempts=5)

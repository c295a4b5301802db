from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from bridge.outcomes import Done, Failure
from bridge.store import audit, dead_letters
from bridge.store.dead_letters import DeadLetter
from bridge.store.engine import in_transaction

from .conftest import NOON, Store, contact, opportunity


def taken(event) -> audit.Taken:  # type: ignore[no-untyped-def]
    return audit.Taken(event, event.type.queue, NOON)


def letter(event=None, **values) -> DeadLetter:  # type: ignore[no-untyped-def]
    return DeadLetter(
        **{
            "event_id": event.id if event else None,
            "message_id": "m1",
            "queue": "q",
            "type": event.type.value if event else None,
            "manychat_id": event.manychat_id if event else None,
            "body": "…",
            "enqueued_at": NOON,
            "code": "refused",
            "message": "no",
            "attempts": 5,
            "first_tried_at": NOON,
            **values,
        }
    )


def test_an_attempt_is_counted_before_it_is_made(store: Store) -> None:
    event = contact()
    assert store.run(audit.begin, [taken(event)]) == {}
    before = store.run(audit.begin, [taken(event)])

    assert (before[event.id].attempts, before[event.id].in_attempt) == (1, True)
    [row] = store.rows("audit")
    assert (row.attempts, row.outcome) == (2, None)
    assert json.loads(row.payload) == event.payload.canonical()
    assert (row.occurred_at, row.received_at, row.enqueued_at) == (NOON, NOON, NOON)


def test_an_attempt_that_an_outage_ended_is_given_back_once(store: Store) -> None:
    event = contact()
    store.run(audit.begin, [taken(event)])
    store.run(audit.give_back, [event.id])
    store.run(audit.give_back, [event.id])

    [row] = store.rows("audit")
    assert (row.attempts, row.in_attempt) == (0, False)


def test_what_is_finished_stays_finished(store: Store) -> None:
    event = opportunity()
    store.run(audit.begin, [taken(event)])
    store.run(audit.finish, {event.id: Done("created", 7, None, "A")})
    finished = store.rows("audit")
    store.run(audit.begin, [taken(event)])
    store.run(audit.fail, {event.id: Failure("refused", "no")}, dead=True)
    store.run(audit.finish, {event.id: Done("moved", 8, "A", "B")})
    store.run(audit.give_back, [event.id])

    assert store.rows("audit") == finished
    assert finished[0].finished_at


def test_a_failed_attempt_says_why_until_the_event_is_applied(store: Store) -> None:
    event = contact()
    store.run(audit.begin, [taken(event)])
    store.run(audit.fail, {event.id: Failure("refused", "Odoo says no")}, dead=False)
    [row] = store.rows("audit")
    assert (row.outcome, row.in_attempt, row.error_code, row.error) == (None, False, "refused", "Odoo says no")
    store.run(audit.begin, [taken(event)])
    store.run(audit.finish, {event.id: Done("stored")})

    [row] = store.rows("audit")
    assert (row.outcome, row.attempts, row.error_code, row.error) == ("stored", 2, None, None)


def test_an_event_that_was_given_up_starts_afresh_and_resolves_its_dead_letter(store: Store) -> None:
    event = contact()
    for _ in range(5):
        store.run(audit.begin, [taken(event)])
    store.run(audit.fail, {event.id: Failure("refused", "no")}, dead=True)
    store.run(dead_letters.put, [letter(event)])
    assert store.rows("audit")[0].outcome == "dead_lettered"
    before = store.run(audit.begin, [taken(event)])
    assert before[event.id].is_dead
    assert [(row.attempts, row.outcome) for row in store.rows("audit")] == [(1, None)]
    store.run(audit.finish, {event.id: Done("stored")})

    assert [row.status for row in store.rows("dead_letters")] == ["resolved"]


def test_what_one_bridge_applied_while_another_gave_it_up_counts_as_applied(store: Store) -> None:
    event = contact()
    store.run(audit.begin, [taken(event)])
    store.run(audit.fail, {event.id: Failure("crashed", "…")}, dead=True)
    store.run(dead_letters.put, [letter(event)])
    store.run(audit.finish, {event.id: Done("stored")})

    assert [(row.outcome, row.error) for row in store.rows("audit")] == [("stored", None)]
    assert [row.status for row in store.rows("dead_letters")] == ["resolved"]


def test_a_date_from_the_far_future_is_flagged(store: Store) -> None:
    event = contact(datetime_actual=(NOON + timedelta(days=400)).isoformat())
    store.run(audit.begin, [taken(event)])

    [row] = store.rows("audit")
    assert row.clock_is_wrong
    assert row.occurred_at == NOON


def test_eight_bridges_that_begin_the_same_events_make_one_row_each(store: Store) -> None:
    events = [contact(number, f"MC{number}") for number in range(20)]

    def begin(shift: int) -> None:
        rotated = [taken(event) for event in events[shift:] + events[:shift]]
        in_transaction(store.engine, lambda connection: audit.begin(connection, rotated))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(begin, range(8)))

    assert [row.attempts for row in store.rows("audit")] == [8] * 20


def test_many_dead_letters_have_no_event_id(store: Store) -> None:
    store.run(dead_letters.put, [letter(message_id=f"m{number}") for number in range(5)])
    store.run(dead_letters.put, [letter(message_id=f"m{number}") for number in range(3, 8)])

    assert sorted(row.message_id for row in store.rows("dead_letters")) == [f"m{number}" for number in range(8)]


def test_an_event_has_one_dead_letter_however_often_it_is_given_up(store: Store) -> None:
    event = contact()
    store.run(dead_letters.put, [letter(event)])
    [first] = store.rows("dead_letters")
    store.run(dead_letters.notified, [first.id])
    store.run(dead_letters.replayed, first.id)
    store.run(dead_letters.put, [letter(event, message_id="m2", code="unmapped_stage", attempts=1)])

    [row] = store.rows("dead_letters")
    assert (row.id, row.status, row.code, row.message_id) == (first.id, "open", "unmapped_stage", "m2")
    assert (row.notified_at, row.replayed_at) == (None, None)
    assert row.first_tried_at == NOON


def test_a_raw_body_of_the_queues_limit_is_kept_whole(store: Store) -> None:
    body = "😀" * 16_384
    store.run(dead_letters.put, [letter(body=body)])

    assert store.rows("dead_letters")[0].body == body


def test_dead_letters_are_found_by_reason_queue_and_id(store: Store) -> None:
    store.run(
        dead_letters.put,
        [letter(message_id="a", code="invalid"), letter(message_id="b", queue="other"), letter(message_id="c")],
    )
    rows = {row.message_id: row.id for row in store.rows("dead_letters")}

    def found(**filters) -> list[str]:  # type: ignore[no-untyped-def]
        return [row.message_id for row in store.run(dead_letters.search, **filters)]

    assert found() == ["a", "b", "c"]
    assert found(code="invalid") == ["a"]
    assert found(queue="other") == ["b"]
    assert found(ids=[rows["a"], rows["c"]]) == ["a", "c"]
    assert found(limit=2) == ["a", "b"]
    store.run(dead_letters.replayed, rows["a"])
    assert found() == ["b", "c"]
    assert found(statuses=()) == ["a", "b", "c"]

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

from bridge.results import Done, Failure
from bridge.store import audit, dead_letters, erasure, history, notices, schema
from bridge.store.dead_letters import DeadLetter, Filter
from bridge.store.engine import in_transaction
from bridge.store.notices import Notice

from .conftest import NOON, Store, contact, opportunity


def taken(event) -> audit.ReceivedEvent:  # type: ignore[no-untyped-def]
    return audit.ReceivedEvent(event, event.type.queue, NOON)


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

    assert (before[event.id].attempts, before[event.id].attempt_in_progress) == (1, True)
    [row] = store.rows("audit")
    assert (row.attempts, row.outcome) == (2, None)
    assert json.loads(row.payload) == event.payload.canonical()
    assert (row.occurred_at, row.received_at, row.enqueued_at) == (NOON, NOON, NOON)


def test_a_trace_that_the_sender_named_is_kept_and_finds_its_events(store: Store) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    named = [replace(contact(minute), traceparent=f"00-{trace}-00f067aa0ba902b{minute}-01") for minute in (1, 2)]
    own = contact(3)
    store.run(audit.begin, [taken(event) for event in (*named, own)])
    assert store.run(history.events_of_trace, trace) == [event.id for event in named]
    assert store.run(history.events_of_trace, own.id[:32]) == []
    # It follows from the event's id, and takes no room.
    assert {row.event_id: row.traceparent for row in store.rows("audit")} == {
        named[0].id: named[0].traceparent,
        named[1].id: named[1].traceparent,
        own.id: None,
    }
    # What the person said goes; the trace says nothing of a person.
    store.run(erasure.erase, "MC1")
    assert len(store.run(history.events_of_trace, trace)) == 2


def test_warnings_and_unknown_fields_are_kept_until_the_payload_goes(store: Store) -> None:
    warned, plain = contact(nombre_lead=[], ad_id=7), contact(manychat_id="MC2")
    store.run(audit.begin, [taken(warned), taken(plain)])
    rows = {row.manychat_id: row for row in store.rows("audit")}
    assert json.loads(rows["MC1"].warnings) == list(warned.warnings)
    assert json.loads(rows["MC1"].extra) == {"ad_id": 7}
    assert (rows["MC2"].warnings, rows["MC2"].extra) == (None, None)
    store.run(erasure.erase, "MC1")
    assert {(row.warnings, row.extra) for row in store.rows("audit")} == {(None, None)}


def test_an_attempt_that_an_outage_ended_is_given_back_once(store: Store) -> None:
    event = contact()
    store.run(audit.begin, [taken(event)])
    store.run(audit.release_attempt, [event.id])
    store.run(audit.release_attempt, [event.id])

    [row] = store.rows("audit")
    assert (row.attempts, row.attempt_in_progress) == (0, False)


def test_what_is_finished_stays_finished(store: Store) -> None:
    event = opportunity()
    store.run(audit.begin, [taken(event)])
    store.run(audit.finish, {event.id: Done("created", 7, None, "A")})
    finished = store.rows("audit")
    store.run(audit.begin, [taken(event)])
    store.run(audit.fail, {event.id: Failure("refused", "no")}, dead=True)
    store.run(audit.finish, {event.id: Done("moved", 8, "A", "B")})
    store.run(audit.release_attempt, [event.id])

    assert store.rows("audit") == finished
    assert finished[0].finished_at


def test_a_failed_attempt_says_why_until_the_event_is_applied(store: Store) -> None:
    event = contact()
    store.run(audit.begin, [taken(event)])
    store.run(audit.fail, {event.id: Failure("refused", "Odoo says no")}, dead=False)
    [row] = store.rows("audit")
    assert (row.outcome, row.attempt_in_progress, row.error_code, row.error) == (None, False, "refused", "Odoo says no")
    store.run(audit.begin, [taken(event)])
    store.run(audit.finish, {event.id: Done("stored")})

    [row] = store.rows("audit")
    assert (row.outcome, row.attempts, row.error_code, row.error) == ("stored", 2, None, None)


def test_an_event_that_was_given_up_since_it_was_looked_up_stays_so_unless_a_user_sent_it_again(store: Store) -> None:
    event = contact()
    store.run(audit.begin, [taken(event)])
    store.run(audit.fail, {event.id: Failure("refused", "no")}, dead=True)
    given_up = store.rows("audit")
    store.run(audit.begin, [taken(event)], dead={})
    assert store.rows("audit") == given_up
    store.run(audit.begin, [taken(replace(event, retries=1))], dead={})
    assert [(row.attempts, row.outcome) for row in store.rows("audit")] == [(1, None)]


def test_an_event_that_was_given_up_once_more_since_it_was_looked_up_stays_so(store: Store) -> None:
    event = contact()
    store.run(audit.begin, [taken(event)], NOON)
    store.run(audit.fail, {event.id: Failure("refused", "no")}, dead=True)
    found = store.run(audit.attempt_states, [event.id])
    store.run(audit.begin, [taken(event)], dead=found)
    store.run(audit.fail, {event.id: Failure("refused", "no")}, dead=True)
    given_up = store.rows("audit")
    store.run(audit.begin, [taken(event)], dead=found)
    assert store.rows("audit") == given_up


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
        in_transaction(store.engine, audit.begin, rotated)

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
    store.run(notices.mark_sent, {first.id: Notice("n", "r")})
    store.run(dead_letters.mark_replayed, first, event)
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
    rows = {row.message_id: row for row in store.rows("dead_letters")}

    def found(limit: int | None = None, after: int = 0, **filters) -> list[str]:  # type: ignore[no-untyped-def]
        wanted = Filter(**filters)
        return [row.message_id for row in store.run(dead_letters.search, wanted, limit=limit, after=after)]

    assert found() == ["a", "b", "c"]
    assert found(code="invalid") == ["a"]
    assert found(queue="other") == ["b"]
    assert found(ids=[rows["a"].id, rows["c"].id]) == ["a", "c"]
    assert found(limit=2) == ["a", "b"]
    assert found(after=rows["a"].id) == ["b", "c"]
    assert store.run(dead_letters.counts, Filter()) == {"invalid": 1, "refused": 2}
    assert store.run(dead_letters.discard, rows["a"])
    assert found() == ["b", "c"]
    assert found(statuses=()) == ["a", "b", "c"]


def test_dead_letters_are_found_by_time_person_and_event(store: Store) -> None:
    events = [contact(number, f"MC{number}") for number in range(3)]
    for number, event in enumerate(events):
        store.run(dead_letters.put, [letter(event, message_id=str(number))], NOON + timedelta(hours=number))

    def found(**filters) -> list[str]:  # type: ignore[no-untyped-def]
        return [row.message_id for row in store.run(dead_letters.search, Filter(**filters))]

    assert found(since=NOON + timedelta(hours=1)) == ["1", "2"]
    assert found(until=NOON + timedelta(hours=1)) == ["0"]
    assert found(manychat_id="MC1") == ["1"]
    [first, *_] = store.rows("dead_letters")
    assert found(event_ids=[events[2].id], ids=[first.id]) == ["0", "2"]
    assert found(event_ids=[events[2].id], manychat_id="MC0") == []


def test_a_letter_that_was_given_up_again_while_it_was_replayed_stays_open(store: Store) -> None:
    event = contact()
    store.run(dead_letters.put, [letter(event)])
    [read] = store.rows("dead_letters")
    store.run(dead_letters.put, [letter(event, message_id="m2")], sent_again={event.id})
    store.run(dead_letters.mark_replayed, read, event)
    assert not store.run(dead_letters.discard, read)

    assert [row.status for row in store.rows("dead_letters")] == ["open"]


def test_a_letter_that_becomes_readable_is_from_then_on_that_events(store: Store) -> None:
    event = contact()
    store.run(dead_letters.put, [letter(body=event.encode())])
    store.run(dead_letters.mark_replayed, store.rows("dead_letters")[0], event)
    store.run(audit.begin, [taken(event)])
    store.run(audit.finish, {event.id: Done("stored")})

    assert [(row.event_id, row.status) for row in store.rows("dead_letters")] == [(event.id, "resolved")]


def test_what_was_discarded_is_settled_for_good(store: Store) -> None:
    event = contact()
    store.run(audit.begin, [taken(event)])
    store.run(audit.fail, {event.id: Failure("refused", "no")}, dead=True)
    store.run(audit.discard, event.id)
    store.run(audit.begin, [taken(event)])

    assert [(row.outcome, row.attempts) for row in store.rows("audit")] == [("discarded", 1)]
    assert store.run(audit.attempt_states, [event.id])[event.id].is_done


def test_a_persons_retry_overrules_a_discard_and_begins_anew(store: Store) -> None:
    event = contact()
    for _ in range(3):
        store.run(audit.begin, [taken(event)])
    store.run(audit.fail, {event.id: Failure("refused", "no")}, dead=True)
    store.run(audit.discard, event.id)
    again = replace(event, retries=1)
    assert store.run(audit.attempt_states, [event.id])[event.id].is_overruled_by(again)
    store.run(audit.begin, [taken(again)])
    assert [(row.outcome, row.attempts, row.retries) for row in store.rows("audit")] == [(None, 1, 1)]
    # The same message delivered again is no further retry, nor is an older one.
    for late in (again, event):
        assert not store.run(audit.attempt_states, [event.id])[event.id].is_overruled_by(late)
        store.run(audit.begin, [taken(late)])
    assert [(row.attempts, row.retries) for row in store.rows("audit")] == [(3, 1)]


def test_a_persons_retry_changes_nothing_of_what_is_applied_or_erased(store: Store) -> None:
    applied, erased = contact(0, "MC0"), contact(0, "MC1")
    store.run(audit.begin, [taken(applied), taken(erased)])
    store.run(audit.finish, {applied.id: Done("stored")})
    store.run(erasure.erase, "MC1")
    store.run(audit.begin, [taken(replace(event, retries=1)) for event in (applied, erased)])

    assert {row.outcome for row in store.rows("audit")} == {"stored", "erased"}


def unreported(store: Store) -> dict[str, str]:
    return {row.event_id: row.outcome for row in store.run(audit.unreported, 10)}


def test_an_outcome_is_unreported_until_odoo_knows_it(store: Store) -> None:
    kept, moved, failed, going = (contact(number, f"MC{number}") for number in range(4))
    store.run(audit.begin, [taken(event) for event in (kept, moved, failed, going)])
    store.run(audit.finish, {kept.id: Done("stored"), moved.id: Done("moved", 1, "A", "B")})
    store.run(audit.fail, {failed.id: Failure("refused", "no")}, dead=True)
    store.run(audit.fail, {going.id: Failure("refused", "no")}, dead=False)

    assert unreported(store) == {kept.id: "stored", failed.id: "dead_lettered"}
    read = store.run(audit.unreported, 10)
    store.run(audit.mark_reported, read)
    assert unreported(store) == {}
    store.run(audit.discard, failed.id)
    assert unreported(store) == {failed.id: "discarded"}
    store.run(audit.mark_reported, read)  # of what it was before
    assert unreported(store) == {failed.id: "discarded"}
    store.run(erasure.erase, "MC3")
    store.run(audit.report_again, [moved.id])
    assert unreported(store) == {failed.id: "discarded", going.id: "erased", moved.id: "moved"}
    first, second, _ = store.run(audit.unreported, 10)
    assert [row.id for row in store.run(audit.unreported, 1, first.id)] == [second.id]


def test_letters_of_what_was_given_up_in_odoo_are_closed_also_on_their_way_back(store: Store) -> None:
    waiting, replayed, other = (contact(number, f"MC{number}") for number in range(3))
    for number, event in enumerate((waiting, replayed, other)):
        store.run(dead_letters.put, [letter(event, message_id=str(number))])
    store.run(dead_letters.mark_replayed, store.rows("dead_letters", event_id=replayed.id)[0], replayed)
    store.run(dead_letters.discard_all, [waiting.id, replayed.id])

    assert [row.status for row in store.rows("dead_letters")] == ["discarded", "discarded", "open"]


def test_an_event_that_a_bridge_is_handling_is_not_discarded(store: Store) -> None:
    event = contact()
    store.run(audit.begin, [taken(event)])
    store.run(audit.discard, event.id)

    assert [row.outcome for row in store.rows("audit")] == [None]


def test_only_one_of_eight_reconciles_claims_an_unfinished_event_and_none_one_that_was_just_tried(store: Store) -> None:
    old, fresh = contact(0, "MC0"), contact(0, "MC1")
    cutoff = NOON + timedelta(hours=1)
    store.run(audit.begin, [taken(old)], NOON)
    store.run(audit.begin, [taken(fresh)], cutoff)
    assert [row.event_id for row in store.run(audit.unfinished, cutoff, ["contact"])] == [old.id]
    assert store.run(audit.unfinished, cutoff, ["opportunity"]) == []

    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: store.run(audit.claim, old.id, cutoff), range(8)))
    assert sorted(claims) == [False] * 7 + [True]
    assert not store.run(audit.claim, fresh.id, cutoff)
    assert {row.event_id: row.attempts for row in store.rows("audit")} == {old.id: 2, fresh.id: 1}


def test_rows_from_before_there_was_tried_at_are_judged_by_when_they_were_begun(store: Store) -> None:
    event = contact()
    store.run(audit.begin, [taken(event)], NOON)
    with store.engine.begin() as connection:
        connection.execute(schema.audit.update().values(tried_at=None))

    assert not store.run(audit.claim, event.id, NOON)
    assert store.run(audit.claim, event.id, NOON + timedelta(seconds=1))

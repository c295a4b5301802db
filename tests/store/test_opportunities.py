from __future__ import annotations

from datetime import timedelta

from bridge.results import Done, Failure
from bridge.store import opportunities

from .conftest import NOON, Store, opportunity


def finish(store: Store, *pairs: tuple) -> None:  # type: ignore[type-arg]
    store.run(opportunities.finish, {event.id: (event, done) for event, done in pairs})


def test_an_event_is_noted_as_pending_before_odoo_has_it(store: Store) -> None:
    event = opportunity(
        first_name="Ana", commercial_advisor_id=700, medical_advisor_id=0, state={"stage_id": 17, "summary": "Fiebre"}
    )
    store.run(opportunities.record, [event])

    [row] = store.rows("opportunities")
    assert (row.manychat_id, row.odoo_sync_status, row.attempts) == ("MC1", "pending", 1)
    assert (row.manychat_stage_id, row.summary) == (17, "Fiebre")
    assert (row.commercial_advisor_id, row.medical_advisor_id) == (700, None)
    assert row.contact_id == store.rows("contacts")[0].id


def test_odoos_outcome_is_written_back_with_one_history_row_per_move(store: Store) -> None:
    first, second = opportunity(1), opportunity(2)
    store.run(opportunities.record, [first, second])
    moves = [(first, Done("created", 7, None, "A")), (second, Done("moved", 7, "A", "B"))]
    finish(store, *moves)
    finish(store, *moves)

    [row] = store.rows("opportunities")
    assert (row.lead_id, row.stage, row.odoo_sync_status) == (7, "B", "success")
    assert row.odoo_synced_at
    history = [(move.stage_from, move.stage_to, move.event_at) for move in store.rows("opportunity_stages")]
    assert history == [(None, "A", NOON + timedelta(minutes=1)), ("A", "B", NOON + timedelta(minutes=2))]


def test_what_is_unchanged_or_stale_leaves_no_history(store: Store) -> None:
    first, second = opportunity(1), opportunity(2)
    store.run(opportunities.record, [first, second])
    finish(store, (first, Done("stale", 7, "B", "B")), (second, Done("unchanged", 7, "B", "B")))

    assert store.rows("opportunity_stages") == []
    assert store.rows("opportunities")[0].odoo_sync_status == "success"


def test_the_status_speaks_of_the_newest_event_only(store: Store) -> None:
    older, newer = opportunity(1), opportunity(2)
    store.run(opportunities.record, [newer])
    finish(store, (newer, Done("created", 7, None, "B")))
    store.run(opportunities.record, [older])
    assert store.rows("opportunities")[0].odoo_sync_status == "success"
    store.run(opportunities.fail, [(older, Failure("refused", "no"))])

    [row] = store.rows("opportunities")
    assert (row.odoo_sync_status, row.last_error, row.event_id) == ("success", None, newer.id)


def test_an_older_success_does_not_hide_that_the_newest_event_failed(store: Store) -> None:
    older, newer = opportunity(1), opportunity(2)
    store.run(opportunities.record, [older, newer])
    store.run(opportunities.fail, [(newer, Failure("unmapped_stage", "no such stage"))])
    finish(store, (older, Done("created", 7, None, "A")))

    [row] = store.rows("opportunities")
    assert (row.odoo_sync_status, row.lead_id) == ("error", 7)
    assert row.last_error == "unmapped_stage: no such stage"


def test_each_try_of_the_newest_event_is_counted_and_pending_again(store: Store) -> None:
    event = opportunity()
    store.run(opportunities.record, [event])
    store.run(opportunities.fail, [(event, Failure("refused", "no"))])
    assert store.rows("opportunities")[0].odoo_sync_status == "error"
    store.run(opportunities.record, [event])

    [row] = store.rows("opportunities")
    assert (row.odoo_sync_status, row.attempts) == ("pending", 2)


def test_a_stage_given_by_label_does_not_keep_the_id_of_the_one_before(store: Store) -> None:
    by_id = opportunity(1)
    by_label = opportunity(2, state={"stage_id": None, "stage": "Comienza Cotización"})
    store.run(opportunities.record, [by_id, by_label])

    [row] = store.rows("opportunities")
    assert (row.manychat_stage_id, row.manychat_stage) == (None, "Comienza Cotización")

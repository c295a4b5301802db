"""SQL has each opportunity as Odoo has it, whichever way and in whatever order its states arrive."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bridge.contract.event import Event, decode, from_envelope
from bridge.contract.opportunity_state import OpportunityState, read_state
from bridge.contract.payloads import DECISION_QUEUE
from bridge.results import Done
from bridge.store import opportunities, opportunity_states

from .conftest import NOON, STAGES, Store, decision, opportunity, state

MINUTE = timedelta(minutes=1)


def told(minute: float, stage_id: int = 1, **fields: Any) -> OpportunityState:
    found = read_state(state(minute, stage_id, **fields))
    assert found
    return found


def moved(minute: float, before: int | None, after: int, *, odoo: float | None = None, **fields: Any) -> Done:
    """What Odoo answers for an event of the chat."""
    status = "moved" if before else "created"
    as_of = told(minute if odoo is None else odoo, after, **fields)
    return Done(status, 7, STAGES.get(before or 0), STAGES[after], as_of)


def finish(store: Store, event: Event, done: Done, minute: float = 30) -> None:
    store.run(opportunities.record, [event])
    store.run(opportunities.finish, {event.id: (event, done)}, NOON + timedelta(minutes=minute))


def decide(store: Store, *events: Event, minute: float = 30) -> None:
    store.run(opportunity_states.apply_decisions, events, NOON + timedelta(minutes=minute))


def history(store: Store) -> list[tuple[Any, ...]]:
    rows = sorted(store.rows("opportunity_stages"), key=lambda row: row.event_at)
    return [(row.stage_from, row.stage_to, row.moved_by, row.status) for row in rows]


def test_a_decision_before_the_persons_first_event_makes_the_rows(store: Store) -> None:
    decide(store, decision(1, 3, decided=["stage", "won"], status="won", salesperson="Laura", salesperson_id=9))

    [row] = store.rows("opportunities")
    assert (row.manychat_id, row.lead_id, row.stage, row.stage_id, row.status) == ("MC1", 7, "Ganado", 3, "won")
    assert (row.salesperson, float(row.expected_revenue), row.currency) == ("Laura", 1200.5, "EUR")
    assert (row.stage_by, row.decided_at) == ("person", NOON + timedelta(minutes=1))
    assert (row.odoo_sync_status, row.event_id, row.contact_id) == ("success", None, store.rows("contacts")[0].id)
    assert store.run(opportunities.unsynced, NOON + timedelta(days=1)) == []
    [move] = store.rows("opportunity_stages")
    assert (move.stage_from, move.stage_to, move.moved_by, move.user_id) == ("Nuevo", "Ganado", "person", 9)
    assert (move.status, move.event_at, move.lead_id) == ("won", NOON + timedelta(minutes=1), 7)


def test_the_persons_first_event_completes_the_rows_of_a_decision(store: Store) -> None:
    decide(store, decision(1))
    event = opportunity(0, first_name="Ana")
    store.run(opportunities.record, [event])

    [row] = store.rows("opportunities")
    assert (row.odoo_sync_status, row.event_id, row.attempts, row.stage) == ("pending", event.id, 1, "Cotización")


def test_every_order_of_arrival_ends_in_the_same_row(store: Store) -> None:
    def made(person: str) -> list[Any]:
        chat = opportunity(1, person)
        last = {"status": "won", "decided_at": state(4)["as_of"]}
        by_automation = decision(5, 3, person, before=None, decided=["restored", "won"], by="automation", **last)
        return [
            (finish, chat, moved(1, None, 1)),
            (decide, decision(2, 2, person, before=1)),
            (decide, decision(3, 2, person, decided=["salesperson"], salesperson_id=5, salesperson="Eva")),
            (decide, decision(4, 2, person, before=2, decided=["lost"], status="lost", lost_reason="Precio")),
            (decide, by_automation),
        ]

    ends = set()
    for n, order in enumerate(itertools.permutations(range(5))):
        steps = made(f"MC{n}")
        for index in order:
            work, *arguments = steps[index]
            work(store, *arguments)
        [row] = store.rows("opportunities", manychat_id=f"MC{n}")
        columns = (row.stage, row.status, row.lost_reason, row.salesperson, row.stage_by, row.decided_at)
        moves = sorted(store.rows("opportunity_stages", opportunity_id=row.id), key=lambda move: move.event_at)
        ends.add((*columns, tuple((move.stage_from, move.stage_to, move.moved_by, move.status) for move in moves)))
    assert ends == {
        (
            *("Ganado", "won", None, None, "automation", NOON + timedelta(minutes=4)),
            (
                (None, "Nuevo", "chat", "open"),
                ("Nuevo", "Cotización", "person", "open"),
                ("Cotización", None, "person", "lost"),
                (None, "Ganado", "automation", "won"),
            ),
        )
    }


def test_a_decision_that_comes_twice_or_in_one_batch_with_others_counts_once(store: Store) -> None:
    first, second = decision(1), decision(2, 3, before=2)
    decide(store, second, first)
    before = store.rows("opportunities")
    decide(store, first, second, minute=40)
    decide(store, first, minute=50)

    assert store.rows("opportunities") == before
    assert [(row.stage_from, row.stage_to) for row in store.rows("opportunity_stages")] in (
        [("Nuevo", "Cotización"), ("Cotización", "Ganado")],
        [("Cotización", "Ganado"), ("Nuevo", "Cotización")],
    )
    assert before[0].stage == "Ganado"


def test_bridges_that_write_the_same_persons_decisions_at_once_write_each_once(store: Store) -> None:
    events = [decision(n + 1, 1 + n % 3, f"MC{n % 3}", before=1 + (n + 2) % 3) for n in range(12)]
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(decide, store, *events[start::2]) for start in (0, 1, 0, 1)]:
            done.result()

    assert len(store.rows("opportunity_stages")) == 12
    assert {row.manychat_id: row.odoo_as_of for row in store.rows("opportunities")} == {
        f"MC{n}": NOON + timedelta(minutes=10 + n) for n in range(3)
    }


def test_a_move_of_the_chat_that_comes_late_does_not_revert_a_decision(store: Store) -> None:
    decide(store, decision(5, 3, before=2))
    # Odoo applied it before the decision; the answer got lost, and the event came again.
    finish(store, opportunity(1), moved(1, 1, 2))

    [row] = store.rows("opportunities")
    assert (row.stage, row.stage_by, row.odoo_sync_status) == ("Ganado", "person", "success")
    assert history(store) == [("Nuevo", "Cotización", "chat", "open"), ("Cotización", "Ganado", "person", "open")]


def test_an_answer_that_came_again_after_a_decision_carries_the_decision(store: Store) -> None:
    done = replace(moved(1, 1, 2), state=told(6, 3))
    finish(store, opportunity(1), done)
    decide(store, decision(5, 3, before=2))

    [row] = store.rows("opportunities")
    assert (row.stage, row.odoo_as_of, row.stage_by) == ("Ganado", NOON + timedelta(minutes=6), "person")
    # By that answer nothing is known of the status in which the chat's move left it.
    assert history(store)[0] == ("Nuevo", "Cotización", "chat", None)


def test_a_bot_whose_clock_is_ahead_did_not_move_it_last(store: Store) -> None:
    finish(store, opportunity(600), moved(600, None, 1, odoo=1), minute=1)
    decide(store, decision(5), minute=5)

    assert store.rows("opportunities")[0].stage_by == "person"


def test_an_older_addon_sends_no_state_and_the_stage_follows_the_newest_event(store: Store) -> None:
    finish(store, opportunity(2), Done("moved", 7, "A", "B"))
    finish(store, opportunity(1), Done("stale", 7, "A", "A"))

    [row] = store.rows("opportunities")
    assert (row.stage, row.lead_id, row.status, row.odoo_as_of, row.stage_by) == ("B", 7, None, None, "chat")
    assert history(store) == [("A", "B", "chat", None)]


def test_a_result_without_a_state_changes_nothing_that_a_state_has_said(store: Store) -> None:
    decide(store, decision(5, None, before=2, decided=["deleted"], status="deleted"), decision(4, 2))
    # The same chat event, delivered again: its opportunity is gone, so there is no state.
    finish(store, opportunity(1), Done("created", 6, None, "Nuevo"))

    [row] = store.rows("opportunities")
    assert (row.status, row.lead_id, row.stage, row.odoo_sync_status) == ("deleted", 7, None, "success")


def test_of_a_deleted_opportunity_that_nobody_knows_nothing_is_kept(store: Store) -> None:
    decide(store, decision(1, before=1, decided=["deleted"], status="deleted"))

    assert store.rows("opportunities") == store.rows("contacts") == store.rows("opportunity_stages") == []


def test_a_deletion_ends_the_stage_and_the_next_event_begins_with_another_opportunity(store: Store) -> None:
    finish(store, opportunity(1), moved(1, None, 1))
    decide(store, decision(2, 1, before=1, decided=["deleted"], status="deleted"))
    assert store.rows("opportunities")[0].status == "deleted"
    finish(store, opportunity(3), Done("created", 8, None, "Nuevo", told(3, 1, lead_id=8)))

    [row] = store.rows("opportunities")
    assert (row.lead_id, row.status, row.stage) == (8, "open", "Nuevo")
    assert history(store)[1:] == [("Nuevo", None, "person", "deleted"), (None, "Nuevo", "chat", "open")]


def test_a_merge_moves_the_person_to_the_survivor(store: Store) -> None:
    finish(store, opportunity(1), moved(1, None, 1))
    decide(store, decision(2, 2, before=None, decided=["merged"], lead_id=3, merged_into=3))

    [row] = store.rows("opportunities")
    assert (row.lead_id, row.merged_into, row.stage) == (3, 3, "Cotización")
    assert [(move.lead_id, move.stage_to) for move in store.rows("opportunity_stages")] == [
        (7, "Nuevo"),
        (3, "Cotización"),
    ]


@pytest.mark.parametrize(
    ("decided", "before", "status"),
    [
        (["salesperson", "team"], 2, "open"),
        (["revenue"], 2, "open"),
        (["answered"], 2, "open"),
        # The reason of a lost one; and the stage under which it lies.
        (["lost"], None, "lost"),
        (["stage"], None, "lost"),
        # Merged with one in the same stage.
        (["merged"], 2, "open"),
    ],
)
def test_what_leaves_stage_and_status_alone_is_no_move(
    store: Store, decided: list[str], before: int | None, status: str
) -> None:
    decide(store, decision(1, 2, before=before, decided=decided, status=status))

    assert store.rows("opportunity_stages") == []
    [row] = store.rows("opportunities")
    assert (row.stage, row.status, row.stage_by) == ("Cotización", status, None)
    assert row.decided_at == (None if decided == ["answered"] else NOON + timedelta(minutes=1))


def test_only_a_person_decides(store: Store) -> None:
    for minute, by in enumerate(("automation", "import", "assignment")):
        decide(store, decision(minute, by=by))

    [row] = store.rows("opportunities")
    assert (row.decided_at, row.stage_by) == (None, "assignment")


def test_an_amount_that_fits_no_column_is_left_out(store: Store) -> None:
    decide(store, decision(1, expected_revenue=1e17, currency="x" * 20))

    [row] = store.rows("opportunities")
    assert (row.expected_revenue, row.currency) == (None, "x" * 8)


def test_names_that_no_plain_json_can_hold_arrive_as_they_are(store: Store) -> None:
    names = ['Ana "la Jefa" ~q\\', "Línea\nnueva 😀", "x" * 256]
    for minute, name in enumerate(names):
        decide(store, decision(minute, team=name, salesperson=name, lost_reason=name))
        [row] = store.rows("opportunities")
        assert {row.team, row.salesperson, row.lost_reason} == {read_state(state(0, team=name)).team}  # type: ignore[union-attr]


def test_a_decision_survives_its_queue(store: Store) -> None:
    event = decision(1, 3, decided=["stage", "won"], status="won", closed_at="2025-06-10T12:01:00Z")
    again = decode(event.encode(), queue=DECISION_QUEUE, inserted_at=NOON)

    assert again == event
    assert from_envelope(event.envelope()) == event


def test_what_cannot_be_read_of_a_state_is_left_out(store: Store) -> None:
    found = read_state({**state(1), "team": "x" * 300, "salesperson": "None", "team_id": False, "later": 1})
    assert found
    assert (found.team, found.salesperson, found.team_id, found.stage) == ("x" * 256, None, None, "Nuevo")
    assert read_state(False) is read_state({"lead_id": 7, "status": "open"}) is read_state({**state(1), "lead_id": 0})


@pytest.mark.parametrize("revenue", [10**16 - 2, -(10**16) + 2, 0, -0.005, 1e-320, 10**16, "NaN", "x", None, True])
def test_any_amount_is_written_or_left_out(store: Store, revenue: Any) -> None:
    event = decision(1, decided=["revenue"], expected_revenue=revenue)
    decide(store, event)

    [row] = store.rows("opportunities")
    told_of = opportunity_states.columns_of(event.payload.state)["expected_revenue"]  # type: ignore[attr-defined]
    assert (None if row.expected_revenue is None else float(row.expected_revenue)) == told_of
    assert (told_of is None) == (revenue is True or revenue in (10**16, "NaN", "x", None))


@pytest.mark.parametrize("text", ["x" * 300, "😀" * 300, "a\ud83d", "A\x00B", "\u202eليلى", '~"\\\n~t', "'; --"])
def test_any_text_fits_into_its_column(store: Store, text: str) -> None:
    names = dict.fromkeys(("stage", "salesperson", "team", "currency", "manychat_stage", "lost_reason"), text)
    decide(store, decision(1, status="lost", decided=["lost"], **names), decision(2, manychat_id="MC2"))

    first, second = store.rows("opportunities")
    assert first.stage == first.team == first.salesperson
    assert first.stage[:1] == text[:1]
    assert first.stage.startswith(first.currency)
    assert second.stage == STAGES[2]


def test_what_a_newer_addon_adds_to_a_decision_does_not_keep_the_rest_out(store: Store) -> None:
    decide(store, decision(1, 2, decided=["stage", "snoozed"], by="portal", status="asleep"))
    decide(store, decision(2, 3, decided=["snoozed"], by="person", status="won", salesperson="Laura"))

    [row] = store.rows("opportunities")
    assert (row.stage, row.status, row.salesperson, row.decided_at) == ("Ganado", "won", "Laura", NOON + 2 * MINUTE)
    assert history(store) == [("Nuevo", "Cotización", "other", None)]


def test_a_conversation_that_was_moved_by_hand_ends_with_its_new_opportunity_in_any_order(store: Store) -> None:
    """Also with states that come by an answer, and with the older opportunity's own changes."""
    a, b = {"lead_id": 7, "team": "A"}, {"lead_id": 8, "team": "B"}
    for n, order in enumerate(itertools.permutations(range(4))):
        person = f"MC{n}"
        steps: list[tuple[Any, ...]] = [
            (finish, opportunity(1, person), moved(1, None, 1, **a)),
            (decide, decision(2, 2, person, before=1, **a)),
            (decide, decision(3, 3, person, before=2, **b)),
            (decide, decision(4, 3, person, before=3, decided=["salesperson"], salesperson="Eva", **b)),
        ]
        for index in order:
            work, *arguments = steps[index]
            work(store, *arguments)
        [row] = store.rows("opportunities", manychat_id=person)
        assert (row.lead_id, row.team, row.stage, row.salesperson) == (8, "B", "Ganado", "Eva"), order
        moves = sorted(store.rows("opportunity_stages", opportunity_id=row.id), key=lambda move: move.event_at)
        assert [(move.lead_id, move.stage_from, move.stage_to) for move in moves] == [
            (7, None, "Nuevo"),
            (7, "Nuevo", "Cotización"),
            (8, "Cotización", "Ganado"),
        ], order


def test_a_persons_history_goes_on_where_the_opportunity_that_was_merged_away_was(store: Store) -> None:
    decide(store, decision(1, 1, before=None, decided=["stage"]))
    decide(store, decision(2, 3, before=1, decided=["merged"], status="won", lead_id=9, merged_into=9))
    decide(store, decision(3, 3, before=3, decided=["deleted"], status="deleted", lead_id=9))

    assert history(store) == [
        (None, "Nuevo", "person", "open"),
        ("Nuevo", "Ganado", "person", "won"),
        ("Ganado", None, "person", "deleted"),
    ]


def test_the_medical_adviser_is_odoos_also_after_another_event_of_the_chat(store: Store) -> None:
    finish(store, opportunity(1, medical_advisor_id=101), moved(1, None, 1, medical_advisor_id=101))
    decide(store, decision(2, 1, decided=["advisor"], medical_advisor_id=102))
    finish(store, opportunity(3, medical_advisor_id=101), moved(3, 1, 2, odoo=3, medical_advisor_id=102))

    [row] = store.rows("opportunities")
    assert row.medical_advisor_id == 102
    assert {(advisor.id, advisor.role) for advisor in store.rows("advisors")} == {(101, "medical"), (102, "medical")}
    decide(store, decision(4, 1, decided=["advisor"]))
    assert store.rows("opportunities")[0].medical_advisor_id is None

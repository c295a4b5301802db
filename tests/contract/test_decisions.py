"""A decision of an addon that is newer than the bridge, or damaged: what can be read of it is kept."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest

from bridge.contract.errors import ContractError
from bridge.contract.event import Event, accept, from_envelope
from bridge.contract.opportunity_state import Actor, OpportunityState, Status, read_state
from bridge.contract.payloads import Decided, Decision, EventType

NOON = datetime(2026, 3, 2, 12, tzinfo=timezone.utc)
STATE = {"lead_id": 7, "as_of": "2026-03-02T12:00:00.000000Z", "status": "open", "stage_id": 3, "stage": "Ganado"}


def sent(state: dict[str, Any] | None = None, **fields: Any) -> Event:
    """The event that a bridge reads of the envelope that an addon wrote."""
    payload = {"manychat_id": "MC1", "decided": ["stage"], "by": "person", "user_id": 9, "state": STATE | (state or {})}
    whole = accept(EventType.DECISION, payload, received_at=NOON, source="odoo").envelope()
    return from_envelope({**whole, "payload": payload | fields})


def payload(event: Event) -> Decision:
    assert isinstance(event.payload, Decision)
    return event.payload


def warned(event: Event) -> list[str]:
    return [each["field"] for each in event.warnings]


def test_what_a_newer_addon_says_that_this_bridge_does_not_know_is_left_out_with_a_warning() -> None:
    event = sent({"status": "paused", "probability": 20}, decided=["stage", "snoozed", "won"], by="portal", mood="good")
    assert payload(event).decided == (Decided.STAGE, Decided.WON)
    assert (payload(event).by, payload(event).state.status) == (Actor.OTHER, None)
    assert (payload(event).state.lead_id, payload(event).state.stage) == (7, "Ganado")
    assert sorted(warned(event)) == ["by", "decided", "state.status"]
    assert all(each["message"].startswith("left out: must be one of: ") for each in event.warnings)
    assert event.extra == {"mood": "good", "state": {"probability": 20}}


@pytest.mark.parametrize(
    ("decided", "known"),
    [
        (["snoozed"], ()),
        ([], ()),
        (None, ()),
        ("won", (Decided.WON,)),
        ("snoozed", ()),
        ({"won": 1}, ()),
        ([["won"], {"a": 1}, 7, None, "won"], (Decided.WON,)),
        (17, ()),
    ],
)
def test_a_decision_of_which_little_is_known_still_brings_the_state(decided: Any, known: tuple[Decided, ...]) -> None:
    event = sent(decided=decided)
    assert payload(event).decided == known
    assert payload(event).state.stage == "Ganado"
    assert from_envelope(event.envelope()) == event


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        *(("expected_revenue", value, None) for value in ("much", True, [], {}, "NaN", "1e400", 1e16, -1e300, 10**400)),
        *(("expected_revenue", float(value), None) for value in ("nan", "inf", "-inf")),
        *(("expected_revenue", value, None) for value in (None, "")),
        ("expected_revenue", 0, 0.0),
        ("expected_revenue", "12.5", 12.5),
        ("expected_revenue", 9.99e15, 9.99e15),
        ("stage", "x" * 300, "x" * 256),
        ("stage", "é" * 255 + "😀", "é" * 255),
        ("salesperson", "Ana \ud83d Ruiz", "Ana \ufffd Ruiz"),
        ("team", "A\x00B", "AB"),
        ("lost_reason", {"en_US": "Price"}, None),
        ("stage_id", "three", None),
        ("team_id", 2**31, None),
        ("merged_into", -1, None),
        ("closed_at", "soon", None),
        ("closed_at", False, None),
    ],
)
def test_a_value_that_cannot_be_read_is_no_fault_of_the_rest(name: str, value: Any, kept: Any) -> None:
    event = sent({name: value})
    assert getattr(payload(event).state, name) == kept
    assert payload(event).state.lead_id == 7
    is_said = value not in (None, "") and kept != value and not isinstance(kept, float)
    assert warned(event) == ([f"state.{name}"] if is_said and kept not in ("Ana \ufffd Ruiz", "AB") else [])
    # The same of the answer to an event, and of the back-fill.
    state = read_state({**STATE, name: value})
    assert state == payload(event).state
    json.dumps(event.envelope(), allow_nan=False)


@pytest.mark.parametrize("name", ["lead_id", "as_of"])
@pytest.mark.parametrize("value", [None, "", "x", [], -1, 2**40])
def test_a_state_without_its_opportunity_or_its_time_is_none(name: str, value: Any) -> None:
    if (name, value) == ("as_of", 2**40):
        value = "2026-02-30"
    assert read_state({**STATE, name: value}) is None
    with pytest.raises(ContractError):
        sent({name: value})


def test_an_unknown_status_is_no_status() -> None:
    state = read_state({**STATE, "status": "paused"})
    assert isinstance(state, OpportunityState)
    assert (state.status, state.stage) == (None, "Ganado")
    missing = {name: value for name, value in STATE.items() if name != "status"}
    assert read_state(missing) == state
    for each in Status:
        found = read_state({**STATE, "status": each.value})
        assert found
        assert found.status is each

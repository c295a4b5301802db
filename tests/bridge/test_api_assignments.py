"""Campaign assignments: events create them, and the API corrects them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

import pytest

from bridge.contract.event import accept
from bridge.contract.payloads import EventType
from bridge.store.campaigns import apply_campaign_events
from bridge.store.engine import in_transaction

from .api import Api

NOW = datetime.now(timezone.utc)
FOREVER = "9999-12-31T23:59:59"


def at(hours: float) -> datetime:
    return NOW + timedelta(hours=hours)


def happens(api: Api, event_type: EventType, hours: float, **payload: Any) -> None:
    event = accept(event_type, {"manychat_id": "MC1", **payload}, received_at=at(hours), source="odoo")
    in_transaction(api.context.engine, partial(apply_campaign_events, events=[event]))


def assigned(api: Api, hours: float, **payload: Any) -> None:
    happens(api, EventType.CAMPAIGN_ASSIGNMENT, hours, campaign_id=85, **payload)


def updated(api: Api, hours: float, **payload: Any) -> None:
    happens(api, EventType.CAMPAIGN_CONTACT, hours, campaign_id=85, **payload)


def row(api: Api) -> dict[str, Any]:
    (found,) = api("GET", "/api/v1/campaign-contacts/?manychat_id=MC1", status=200)["items"]
    return found


def patch(api: Api, body: Any, status: int = 200) -> dict[str, Any]:
    return api("PATCH", f"/api/v1/campaign-contacts/{row(api)['id']}", body, status=status)


def test_a_correction_changes_what_it_says_and_nothing_else(api: Api) -> None:
    assigned(api, -3, comercial_id=700, medico_id=101, ultimo_estado="Nuevo", summary="Hola")
    before = row(api)
    api("POST", "/api/v1/advisors/", {"id": 102, "role": "medical"}, status=201)
    change = {"medical_advisor_id": 102, "medical_assignment_date": "2026-03-02T09:00:00Z", "last_state": "Cotiza"}
    after = patch(api, change)
    expected = {
        **before,
        **change,
        "medical_assignment_date": "2026-03-02T09:00:00Z",
        "updated_at": after["updated_at"],
    }
    assert after == expected == row(api)
    assert after["updated_at"] > before["updated_at"]
    assert patch(api, {"summary": None, "commercial_advisor_id": None})["summary"] is None
    assert row(api)["commercial_advisor_id"] is None


def test_an_earlier_event_that_comes_late_does_not_undo_it_and_a_later_one_does(api: Api) -> None:
    assigned(api, -5, medico_id=101, ultimo_estado="Nuevo")
    happens(api, EventType.CAMPAIGN_ASSIGNMENT, -5, campaign_id=86, medico_id=102)
    path = "/api/v1/campaign-contacts/?campaign_id=85"
    (found,) = api("GET", path, status=200)["items"]
    change = {"medical_advisor_id": 102, "medical_assignment_date": "2026-01-01T00:00:00Z", "last_state": "Cotiza"}
    api("PATCH", f"/api/v1/campaign-contacts/{found['id']}", change, status=200)
    for hours in (-4, -1):
        assigned(api, hours, medico_id=101, ultimo_estado="Tarde", summary="Nueva")
        (found,) = api("GET", path, status=200)["items"]
        assert {name: found[name] for name in change} == change
        assert found["summary"] == "Nueva"  # which the correction did not say
    assigned(api, 1, medico_id=101, ultimo_estado="Después")
    (found,) = api("GET", path, status=200)["items"]
    assert (found["medical_advisor_id"], found["last_state"]) == (101, "Después")


@pytest.mark.parametrize("role", ["medical", "commercial"])
def test_an_adviser_that_a_wrong_clock_froze_is_free_again(api: Api, role: str) -> None:
    adviser, date = f"{role}_advisor_id", f"{role}_assignment_date"
    assigned(api, -5, medico_id=101, comercial_id=101)
    with api.context.engine.begin() as connection:  # as earlier releases wrote it
        connection.exec_driver_sql(f"UPDATE campaign_contacts SET {date} = '{FOREVER}'")
    updated(api, -1, **{adviser: 102, date: at(-1).isoformat()})
    assert row(api)[adviser] == 101
    assert patch(api, {adviser: 101, date: at(-3).isoformat()})[date].startswith(f"{at(-3):%Y-%m-%dT%H:%M}")
    updated(api, 1, **{adviser: 102, date: at(1).isoformat()})
    assert row(api)[adviser] == 102


def test_a_state_set_here_is_part_of_the_persons_history(api: Api) -> None:
    assigned(api, -1, ultimo_estado="Nuevo")
    for _ in range(2):
        patch(api, {"last_state": "Cotiza"})
    with api.context.engine.connect() as connection:
        states = connection.exec_driver_sql("SELECT contact_id, state, category FROM contact_states ORDER BY id").all()
    assert states == [(1, "Nuevo", "campaign"), (1, "Cotiza", "api")]


def test_what_cannot_be_corrected_is_refused_naming_the_field(api: Api) -> None:
    assigned(api, -1, comercial_id=700)
    for body, field in (
        ({"medical_advisor_id": 999}, "medical_advisor_id"),
        ({"medical_assignment_date": "ayer"}, "medical_assignment_date"),
        ({"medical_assignment_date": "9999-01-01"}, "medical_assignment_date"),
        ({"commercial_assignment_date": 4102444800}, "commercial_assignment_date"),
        ({"campaign_id": 86}, "campaign_id"),
        ({"manychat_id": "MC2"}, "manychat_id"),
        ({"estado": "x"}, "estado"),
    ):
        assert [error["field"] for error in patch(api, body, status=422)["errors"]] == [field]
    assert patch(api, {"created_at": "x", "updated_at": "y", "extra": {}})["commercial_advisor_id"] == 700
    assert api("PATCH", "/api/v1/campaign-contacts/77", {"type": "x"}, status=404)["code"] == "not_found"
    path = f"/api/v1/campaign-contacts/{row(api)['id']}"
    assert api("PATCH", path, {"type": "x"}, key="read", status=403)["code"] == "forbidden"

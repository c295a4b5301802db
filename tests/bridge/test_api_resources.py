"""Contacts, campaigns, channels and advisers over HTTP."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any, get_args

import pytest

from bridge.api import audit
from bridge.api.advisors import NewAdvisor
from bridge.api.campaigns import NewCampaign
from bridge.api.channels import NewChannel
from bridge.api.contacts import NewContact
from bridge.contract.event import Event, accept
from bridge.contract.outcomes import EventOutcome
from bridge.contract.payloads import EventType
from bridge.store.campaigns import apply_campaign_events
from bridge.store.contacts import apply_contacts
from bridge.store.engine import in_transaction
from bridge.store.opportunities import record

from .api import Api

#: The user's own, as the API's description shows them; in an order in which each finds what it refers to.
EXAMPLES: dict[str, dict[str, Any]] = {
    name: model.model_config["json_schema_extra"]["example"]
    for name, model in (
        ("channels", NewChannel),
        ("advisors", NewAdvisor),
        ("campaigns", NewCampaign),
        ("contacts", NewContact),
    )
}


def contact_event(hours: float, **payload: Any) -> Event:
    """A contact event of Juan's, that happened so many hours from now."""
    now = datetime.now(timezone.utc)
    date = (now + timedelta(hours=hours)).isoformat()
    return accept(
        EventType.CONTACT,
        {"manychat_id": "MC12345", "datetime_actual": date, **payload},
        received_at=now,
        source="odoo",
    )


def apply(api: Api, function: Any, *events: Event) -> None:
    in_transaction(api.context.engine, function, events)


def test_the_users_examples_are_accepted_verbatim_and_read_back(api: Api) -> None:
    for name, example in EXAMPLES.items():
        made = api("POST", f"/api/v1/{name}/", example, status=201)
        dates = {"date_start": "2025-06-12T14:49:28.163000Z", "date_end": "2025-12-31T23:59:59Z"}
        expected = example | {field: date for field, date in dates.items() if field in example}
        assert {field: made[field] for field in example} == expected
        assert api("GET", f"/api/v1/{name}/{made['id']}", status=200) == made
        assert api("GET", f"/api/v1/{name}/", status=200) == {"items": [made], "next_cursor": None}


def test_addresses_work_with_and_without_a_slash_at_the_end(api: Api) -> None:
    made = api("POST", "/api/v1/channels", EXAMPLES["channels"], status=201)
    for path in ("/api/v1/channels", "/api/v1/channels/"):
        assert api("GET", path, status=200)["items"] == [made]
    for path in (f"/api/v1/channels/{made['id']}", f"/api/v1/channels/{made['id']}/"):
        assert api("GET", path, status=200) == made


def test_a_patch_changes_what_it_names_and_a_put_writes_everything(api: Api) -> None:
    made = api("POST", "/api/v1/advisors/", EXAMPLES["advisors"], status=201)
    path = f"/api/v1/advisors/{made['id']}"
    assert api("PATCH", path, {"role": "medical", "phone": None}, status=200) | {"updated_at": 0} == made | {
        "role": "medical",
        "phone": None,
        "updated_at": 0,
    }
    replaced = api("PUT", path, {"name": "Dr. Luis"}, status=200)
    assert (replaced["name"], replaced["email"], replaced["role"]) == ("Dr. Luis", None, None)


def test_what_was_read_can_be_sent_back(api: Api) -> None:
    for name, example in EXAMPLES.items():
        made = api("POST", f"/api/v1/{name}/", example, status=201)
        again = api("PUT", f"/api/v1/{name}/{made['id']}", made, status=200)
        assert again | {"updated_at": 0} == made | {"updated_at": 0}


@pytest.mark.parametrize(
    ("name", "body", "field"),
    [
        ("contacts", {"manychat_id": 12345}, "manychat_id"),
        ("channels", {"name": "Facebook"}, "name"),
        ("campaigns", {"id": 85}, "id"),
        ("advisors", {"id": 700}, "id"),
    ],
)
def test_a_duplicate_is_refused_naming_the_field(api: Api, name: str, body: dict[str, Any], field: str) -> None:
    api("POST", f"/api/v1/{name}/", body, status=201)
    again = body | ({"name": "  FACEBOOK "} if name == "channels" else {})
    refused = api("POST", f"/api/v1/{name}/", again, status=409)
    assert (refused["code"], [error["field"] for error in refused["errors"]]) == ("duplicate", [field])


def test_of_two_who_create_the_same_at_once_one_gets_it(api: Api) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api("POST", "/api/v1/contacts/", {"manychat_id": "MC1"}), range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7


def test_a_channel_cannot_take_anothers_name(api: Api) -> None:
    api("POST", "/api/v1/channels/", {"name": "Facebook"}, status=201)
    other = api("POST", "/api/v1/channels/", {"name": "Instagram"}, status=201)
    assert api("PATCH", f"/api/v1/channels/{other['id']}", {"name": "facebook"}, status=409)["errors"]
    assert api("PATCH", f"/api/v1/channels/{other['id']}", {"name": "INSTAGRAM"}, status=200)["name"] == "INSTAGRAM"


@pytest.mark.parametrize(
    ("name", "body", "field"),
    [
        ("contacts", {}, "manychat_id"),
        ("contacts", {"manychat_id": ""}, "manychat_id"),
        ("contacts", b'{"manychat_id": 1e400}', "manychat_id"),
        ("contacts", {"manychat_id": "MC1", "channel_id": 99}, "channel_id"),
        ("contacts", {"manychat_id": "MC1", "subscribed_at": "ayer"}, "subscribed_at"),
        ("contacts", {"manychat_id": "MC1", "first_name": "x" * 257}, "first_name"),
        ("contacts", {"manychat_id": "MC1", "fisrt_name": "Ana"}, "fisrt_name"),
        ("campaigns", {"budget": -1}, "budget"),
        ("campaigns", {"budget": "mucho"}, "budget"),
        ("campaigns", {"date_start": "2025-06-12", "date_end": "2025-06-11"}, ""),
        ("channels", {"name": "  "}, "name"),
        ("channels", {"description": "sin nombre"}, "name"),
        ("advisors", {"role": "boss"}, "role"),
        ("advisors", {"id": "uno"}, "id"),
    ],
)
def test_a_bad_body_is_refused_naming_the_field(api: Api, name: str, body: dict[str, Any] | bytes, field: str) -> None:
    refused = api("POST", f"/api/v1/{name}/", body, headers={"Content-Type": "application/json"}, status=422)
    assert refused.keys() == {"status", "code", "message", "errors"}
    assert [error["field"] for error in refused["errors"]] == [field]
    assert api("GET", f"/api/v1/{name}/", status=200)["items"] == []


def test_bots_ways_of_saying_things_are_understood_here_too(api: Api) -> None:
    body = {
        "manychat_id": 123,
        "phone": 520000000001,
        "first_name": "{{first_name}}",
        "subscribed_at": "2025-06-10 10:00",
    }
    made = api("POST", "/api/v1/contacts/", body, status=201)
    assert (made["manychat_id"], made["phone"], made["first_name"]) == ("123", "520000000001", None)
    assert made["subscribed_at"] == "2025-06-10T10:00:00Z"


def test_people_are_known_by_an_id_that_does_not_change(api: Api) -> None:
    made = api("POST", "/api/v1/contacts/", {"manychat_id": "MC1"}, status=201)
    assert api("PATCH", f"/api/v1/contacts/{made['id']}", {"manychat_id": "MC1"}, status=200)
    refused = api("PATCH", f"/api/v1/contacts/{made['id']}", {"manychat_id": "MC2"}, status=422)
    assert refused["errors"][0]["field"] == "manychat_id"


def test_what_is_not_there_is_404(api: Api) -> None:
    for name, example in EXAMPLES.items():
        alone = {field: value for field, value in example.items() if field != "channel_id"}
        for method, body in (("GET", None), ("PUT", alone), ("PATCH", {}), ("DELETE", None)):
            assert api(method, f"/api/v1/{name}/77", body, status=404)["code"] == "not_found"
        assert api("GET", f"/api/v1/{name}/x", status=422)["errors"][0]["field"] == "row_id"


def test_what_is_referred_to_is_not_deleted(api: Api) -> None:
    ids = {name: api("POST", f"/api/v1/{name}/", example, status=201)["id"] for name, example in EXAMPLES.items()}
    refused = api("DELETE", f"/api/v1/channels/{ids['channels']}", status=409)
    assert (refused["code"], "campaigns, contacts" in refused["message"]) == ("in_use", True)
    for name in reversed(EXAMPLES):
        assert api("DELETE", f"/api/v1/{name}/{ids[name]}", status=204) is None
        assert api("DELETE", f"/api/v1/{name}/{ids[name]}", status=404)


def test_a_contact_goes_with_its_states_but_not_with_an_opportunity(api: Api) -> None:
    made = api("POST", "/api/v1/contacts/", {"manychat_id": "MC12345", "last_state": "Nuevo"}, status=201)
    now = datetime.now(timezone.utc)
    opportunity = {"manychat_id": "MC12345", "state": {"stage_id": 17}}
    event = accept(EventType.OPPORTUNITY, opportunity, received_at=now, source="odoo")
    apply(api, record, event)
    assert api("DELETE", f"/api/v1/contacts/{made['id']}", status=409)["code"] == "in_use"
    alone = api("POST", "/api/v1/contacts/", {"manychat_id": "MC2", "last_state": "Nuevo"}, status=201)
    api("DELETE", f"/api/v1/contacts/{alone['id']}", status=204)


# --- What the chat writes and what the API writes ------------------------------------------------------------------


def test_an_event_from_before_the_call_does_not_overwrite_it(api: Api) -> None:
    apply(api, apply_contacts, contact_event(-2, nombre_lead="Juan", ultimo_estado="Nuevo"))
    (row,) = api("GET", "/api/v1/contacts/?manychat_id=MC12345", status=200)["items"]
    api("PATCH", f"/api/v1/contacts/{row['id']}", {"first_name": "Juan Carlos", "phone": None}, status=200)
    said = {"nombre_lead": "J.", "whatsapp": "+1", "email_lead": "juan@example.com", "ultimo_estado": "Cotiza"}
    apply(api, apply_contacts, contact_event(-1, **said))
    now = api("GET", f"/api/v1/contacts/{row['id']}", status=200)
    assert (now["first_name"], now["phone"]) == ("Juan Carlos", None)
    # Of these the call said nothing, so the newest event that does counts.
    assert (now["email"], now["last_state"]) == ("juan@example.com", "Cotiza")


def test_an_event_from_after_the_call_overwrites_it(api: Api) -> None:
    row = api("POST", "/api/v1/contacts/", {"manychat_id": "MC12345", "first_name": "Juan"}, status=201)
    apply(api, apply_contacts, contact_event(1, nombre_lead="Juan Carlos"))
    assert api("GET", f"/api/v1/contacts/{row['id']}", status=200)["first_name"] == "Juan Carlos"


def test_a_call_makes_no_event_newer_that_was_stale_before(api: Api) -> None:
    apply(api, apply_contacts, contact_event(3, nombre_lead="Del futuro"))  # a bot's clock is ahead
    (row,) = api("GET", "/api/v1/contacts/", status=200)["items"]
    api("PATCH", f"/api/v1/contacts/{row['id']}", {"first_name": "Por la API"}, status=200)
    apply(api, apply_contacts, contact_event(2, nombre_lead="Viejo"))
    assert api("GET", f"/api/v1/contacts/{row['id']}", status=200)["first_name"] == "Por la API"


def test_what_an_event_named_first_is_completed_here(api: Api) -> None:
    now = datetime.now(timezone.utc)
    payload = {"manychat_id": "MC12345", "campaign_id": 85, "comercial_id": 700}
    apply(api, apply_campaign_events, accept(EventType.CAMPAIGN_ASSIGNMENT, payload, received_at=now, source="odoo"))
    assert api("GET", "/api/v1/campaigns/85", status=200)["name"] is None
    assert api("PATCH", "/api/v1/campaigns/85", {"name": "Invierno"}, status=200)["name"] == "Invierno"
    assert api("POST", "/api/v1/campaigns/", {"id": 85}, status=409)["code"] == "duplicate"
    assert api("GET", "/api/v1/advisors/?role=commercial", status=200)["items"][0]["id"] == 700
    assert api("POST", "/api/v1/advisors/", EXAMPLES["advisors"], status=201)["id"] not in (700, 0)
    (row,) = api("GET", "/api/v1/campaign-contacts/?manychat_id=MC12345", status=200)["items"]
    assert (row["campaign_id"], row["commercial_advisor_id"]) == (85, 700)
    assert api("GET", f"/api/v1/campaign-contacts/{row['id']}", status=200) == row


def test_a_state_set_by_hand_is_part_of_the_states_history(api: Api) -> None:
    row = api("POST", "/api/v1/contacts/", {"manychat_id": "MC1", "last_state": "Nuevo"}, status=201)
    api("PATCH", f"/api/v1/contacts/{row['id']}", {"last_state": "Cotiza"}, status=200)
    api("PATCH", f"/api/v1/contacts/{row['id']}", {"last_state": "Cotiza"}, status=200)
    with api.context.engine.connect() as connection:
        states = connection.exec_driver_sql("SELECT state, category, event_id FROM contact_states ORDER BY id").all()
    assert states == [("Nuevo", "api", None), ("Cotiza", "api", None)]


# --- Lists ---------------------------------------------------------------------------------------------------------


def pages(api: Api, path: str) -> list[list[dict[str, Any]]]:
    found, cursor = [], ""
    while True:
        page = api("GET", path + cursor, status=200)
        found.append(page["items"])
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


@pytest.mark.parametrize("sort", ["id", "-id", "updated_at", "-updated_at"])
def test_pages_hold_every_row_once_in_order(api: Api, sort: str) -> None:
    for number in range(7):
        api("POST", "/api/v1/contacts/", {"manychat_id": f"MC{number}"}, status=201)
    api("PATCH", "/api/v1/contacts/2", {"first_name": "Ana"}, status=200)
    found = pages(api, f"/api/v1/contacts/?limit=3&sort={sort}")
    assert [len(page) for page in found] == [3, 3, 1]
    rows = [row for page in found for row in page]
    field = sort.removeprefix("-")
    assert rows == sorted(rows, key=lambda row: (row[field], row["id"]), reverse=sort.startswith("-"))
    assert {row["id"] for row in rows} == set(range(1, 8))


def test_rows_written_at_the_same_moment_are_not_lost_between_pages(api: Api) -> None:
    for number in range(5):
        api("POST", "/api/v1/contacts/", {"manychat_id": f"MC{number}"}, status=201)
    with api.context.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE contacts SET updated_at = '2026-01-01 00:00:00.000000'")
    found = pages(api, "/api/v1/contacts/?limit=2&sort=-updated_at")
    assert [row["id"] for page in found for row in page] == [5, 4, 3, 2, 1]


def test_lists_are_filtered(api: Api) -> None:
    api("POST", "/api/v1/channels/", {"name": "Facebook"}, status=201)
    api("POST", "/api/v1/contacts/", {"manychat_id": "MC1", "last_state": "Nuevo", "channel_id": 1}, status=201)
    api("POST", "/api/v1/contacts/", {"manychat_id": "MC2", "last_state": "Cotiza"}, status=201)
    (second,) = api("GET", "/api/v1/contacts/?manychat_id=MC2", status=200)["items"]

    def ids(query: str) -> list[str]:
        return [row["manychat_id"] for row in api("GET", f"/api/v1/contacts/?{query}", status=200)["items"]]

    assert ids("state=Cotiza") == ["MC2"]
    assert ids("channel=%20facebook") == ids("channel_id=1") == ["MC1"]
    assert ids("channel=Instagram") == []
    assert ids(f"updated_since={second['updated_at']}") == ["MC2"]
    assert ids("state=Nuevo&channel=Facebook&updated_since=2026-01-01") == ["MC1"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("sort=name", "sort"),
        ("manychat=1", "manychat"),
        ("manychat_id=", "manychat_id"),
        ("updated_since=ayer", "updated_since"),
        ("cursor=x", "cursor"),
        ("cursor=%20%00", "cursor"),
        ("cursor=W10", "cursor"),
        ("cursor=WyJpZCIsICJ4IiwgMV0", "cursor"),
        ("cursor=WyJpZCIsIHRydWUsIHRydWVd", "cursor"),  # ["id", true, true]
        ("cursor=WyJpZCIsIDEsIDIxNDc0ODM2NDhd", "cursor"),  # ["id", 1, 2147483648]
        ("limit=1&limit=2", "limit"),
    ],
)
def test_a_bad_parameter_is_refused_naming_it(api: Api, query: str, field: str) -> None:
    refused = api("GET", f"/api/v1/contacts/?{query}", status=422)
    assert [error["field"] for error in refused["errors"]] == [field]


def test_the_filter_of_outcomes_knows_every_outcome() -> None:
    assert get_args(audit.Outcome) == ("open", *(outcome.value for outcome in EventOutcome))


def test_a_cursor_belongs_to_its_order(api: Api) -> None:
    for number in range(3):
        api("POST", "/api/v1/contacts/", {"manychat_id": f"MC{number}"}, status=201)
    cursor = api("GET", "/api/v1/contacts/?limit=1&sort=updated_at", status=200)["next_cursor"]
    assert api("GET", f"/api/v1/contacts/?sort=id&cursor={cursor}", status=422)["errors"][0]["field"] == "cursor"

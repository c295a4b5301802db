"""schemathesis: requests made up from the API's own description, against the real application, SQLite and Azurite.

SCHEMATHESIS_EXAMPLES sets how many for each operation; few in the suite, since each takes a while.
"""

from __future__ import annotations

import os
from datetime import datetime, timezone
from functools import partial

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis.checks import CHECKS

from bridge.contract.event import accept
from bridge.contract.payloads import EventType
from bridge.store.audit import ReceivedEvent, begin
from bridge.store.campaigns import apply_campaign_events
from bridge.store.contacts import apply_contacts
from bridge.store.engine import in_transaction
from bridge.store.opportunities import record

from .api import KEYS, Api

TRIES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "4"))
#: Not asked for: these two want a schema to say all that is accepted and nothing else. Our contract takes more than its
#: schema tells (numbers as text, "" for nothing) and less (an id that no row has, a date_end before its date_start).
UNASKED = {"negative_data_rejection", "positive_data_acceptance"}

#: What writes an event of each type.
APPLYING = {
    EventType.CONTACT: apply_contacts,
    EventType.CAMPAIGN_ASSIGNMENT: apply_campaign_events,
    EventType.CAMPAIGN_CONTACT: apply_campaign_events,
    EventType.OPPORTUNITY: record,
}

# Dates from before 1970 are refused, and nothing sends leap seconds.
_moments = st.integers(86_400, 250_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, timezone.utc))
schemathesis.openapi.format("date-time", _moments.map(lambda moment: moment.isoformat()))


def test_whatever_is_sent_the_answer_is_one_that_the_description_knows(api: Api) -> None:
    # Each check without a key would soon be answered 429, and another check wants 401.
    api.context.throttle.TRIES = 1_000_000
    schema = schemathesis.openapi.from_asgi("/openapi.json", api.client.app)
    checks = [check for check in CHECKS.get_all() if check.__name__ not in UNASKED]
    assert len(checks) > 5
    operations = [operation.ok() for operation in schema.get_all_operations()]
    assert len(operations) > 30
    tried = 0
    for operation in operations:

        @hypothesis.settings(
            max_examples=TRIES,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(case=operation.as_strategy())
        def ask(case: schemathesis.Case) -> None:
            nonlocal tried
            tried += 1
            case.call_and_validate(headers={"X-API-KEY": KEYS["write"]}, checks=checks)

        ask()
    print(f"{tried} requests to {len(operations)} operations, {len(checks)} checks each")


def test_rows_are_as_the_description_says(api: Api) -> None:
    now = datetime.now(timezone.utc)
    for event_type, apply in APPLYING.items():
        event = accept(event_type, event_type.spec.example, received_at=now, source="odoo")
        in_transaction(api.context.engine, partial(begin, received=[ReceivedEvent(event, event_type.queue, now)]))
        in_transaction(api.context.engine, partial(apply, events=[event]))
    schema = schemathesis.openapi.from_asgi("/openapi.json", api.client.app)
    checks = [check for check in CHECKS.get_all() if check.__name__ == "response_schema_conformance"]
    for name in ("contacts", "channels", "campaigns", "advisors", "campaign-contacts", "opportunities", "audit"):
        path = f"/api/v1/{name}/"
        (item, *_) = api("GET", path, status=200)["items"]
        one, field = (f"{path}{{event_id}}", "event_id") if name == "audit" else (f"{path}{{row_id}}", "id")
        parameter = one.rsplit("{", 1)[1].rstrip("}")
        for case in (schema[path]["GET"].Case(), schema[one]["GET"].Case(path_parameters={parameter: item[field]})):
            answer = case.call_and_validate(headers={"X-API-KEY": KEYS["read"]}, checks=checks)
            assert answer.status_code == 200


def test_the_description_has_examples_errors_and_the_key(api: Api) -> None:
    described = api("GET", "/openapi.json", key=None, status=200)
    assert described["components"]["securitySchemes"]["APIKeyHeader"]["name"] == "X-API-KEY"
    schemas = described["components"]["schemas"]
    assert {"Error", "Opportunity", "NewContact"} <= schemas.keys()
    # What is sent and what is answered may have one name in Python, and must not take each other's place here.
    assert "canal_entrada" in schemas["ContactEvent"]["properties"]
    assert "channel_id" in schemas["Contact"]["properties"]
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            if path in ("/health", "/metrics"):
                continue
            assert operation["security"] == [{"APIKeyHeader": []}], (method, path)
            assert {"401", "403", "429", "503"} <= operation["responses"].keys(), (method, path)
            body = operation.get("requestBody")
            if body:
                content = body["content"]["application/json"]
                name = content["schema"]["$ref"].rsplit("/", 1)[-1]
                assert "example" in content or "example" in described["components"]["schemas"][name], (method, path)
    assert api.client.get("/docs").status_code == 200


@pytest.mark.parametrize("path", ["/api/v1/contacts/", "/api/v1/nothing", "/nothing", "/api/v1/contacts/1/2"])
def test_unknown_addresses_and_methods_are_answered_in_our_shape(api: Api, path: str) -> None:
    refused = api("TRACE", path)
    assert refused.status_code in (404, 405)
    assert refused.json().keys() == {"status", "code", "message", "errors"}
    if refused.status_code == 405:
        assert refused.headers["Allow"] == "GET, POST"

"""What the API's /metrics tells of requests to it."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from bridge.contract.payloads import WEBHOOKS, EventType

from .api import Api

CONTACT = EventType.CONTACT.route
#: (labels' values, number), as a sample of the counters that these tests are about.
Counts = dict[tuple[str, ...], float]


def counted(api: Api, name: str, *labels: str) -> Counts:
    """The samples of ``name`` by the values of ``labels``."""
    families = text_string_to_metric_families(api("GET", "/metrics", key=None).text)
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return {tuple(sample.labels[label] for label in labels): sample.value for sample in samples}


def risen(before: Counts, after: Counts) -> Counts:
    """The process is that of all these tests: what others have counted before is none of ours."""
    return {labels: value - before.get(labels, 0) for labels, value in after.items() if value > before.get(labels, 0)}


def requests(api: Api) -> Counts:
    return counted(api, "miasalud_http_request_seconds_count", "method", "route", "status")


def webhooks(api: Api) -> Counts:
    return counted(api, "miasalud_webhook_requests_total", "type", "answer")


def test_requests_are_counted_by_route_and_no_persons_id_becomes_a_label(api: Api) -> None:
    before = requests(api)
    api("GET", "/api/v1/contacts/4711", status=404)
    api("GET", "/api/v1/contacts/4712", status=404)
    api("GET", "/api/v1/contacts?manychat_id=MC4713", status=200)
    api("POST", "/api/v1/contacts/", {"manychat_id": "MC4714"}, status=201)
    api("GET", "/api/v1/contacts/", key=None, status=401)
    assert risen(before, requests(api)) == {
        ("GET", "/api/v1/contacts/{row_id}", "404"): 2,
        ("GET", "/api/v1/contacts/", "200"): 1,
        ("POST", "/api/v1/contacts/", "201"): 1,
        ("GET", "/api/v1/contacts/", "401"): 1,
    }
    assert "471" not in "".join("".join(labels) for labels in requests(api))


def test_what_strangers_make_up_is_one_series(api: Api) -> None:
    before = requests(api)
    for number in range(5):
        api("GET", f"/made/up/{number}", status=404)
        api(f"MADEUP{number}", "/api/v1/contacts/", status=405)
    assert risen(before, requests(api)) == {("GET", "other", "404"): 5, ("other", "/api/v1/contacts/", "405"): 5}


def test_who_supervises_is_not_counted(api: Api) -> None:
    before = requests(api)
    for path in ("/health", "/metrics"):
        api("GET", path, key=None)
    assert risen(before, requests(api)) == {}


def test_webhooks_are_counted_by_type_and_answer(api: Api) -> None:
    def send(body: Any, **options: Any) -> None:
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        api(*CONTACT, body, headers=headers, **{"key": "webhook", **options})

    before = webhooks(api)
    # So that an alert on their rise has a value to rise from.
    assert before.keys() >= {(kind.value, answer) for kind in WEBHOOKS for answer in ("accepted", "unavailable")}
    send({"manychat_id": "MC1"})
    send({"manychat_id": "MC1"}, headers={"X-Dry-Run": "1"})
    send({})
    send(b"{")
    send(b"{" + b" " * 40_000)
    send(b"{}", headers={"Content-Type": "text/plain"})
    send(b"{}", key="mck_wrong")
    send(b"{}", key="read")
    answers = (
        "accepted",
        "valid",
        "invalid",
        "not_json",
        "too_large",
        "unsupported_media_type",
        "unauthorized",
        "forbidden",
    )
    assert risen(before, webhooks(api)) == {("contact", answer): 1 for answer in answers}

"""``X-Request-Id`` in every answer of the API, and ``traceparent`` on the way to the queue."""

from __future__ import annotations

import re
from typing import Any

import pytest

from bridge.contract.event import decode
from bridge.contract.payloads import CONTACT_QUEUE
from bridge.queue import Queue

from .api import Api

WEBHOOK = "/api/v1/manychat/webhook/contact"
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("method", "path", "body", "key", "status"),
    [
        ("POST", WEBHOOK, {"manychat_id": "MC1"}, "webhook", 200),
        ("POST", WEBHOOK, {}, "webhook", 422),
        ("POST", WEBHOOK, b"{", "webhook", 415),
        ("POST", WEBHOOK, {"manychat_id": "MC1"}, None, 401),
        ("POST", WEBHOOK, {"manychat_id": "MC1"}, "read", 403),
        ("DELETE", WEBHOOK, None, "webhook", 405),
        ("GET", "/api/v1/nothing", None, "read", 404),
        ("GET", "/", None, None, 404),
        ("GET", "/health", None, None, 200),
        ("HEAD", "/health", None, None, 200),
        ("GET", "/metrics", None, "read", 200),
        ("GET", "/api/v1/contacts/", None, "read", 200),
        ("GET", "/api/v1/contacts/?limit=x", None, "read", 422),
        ("GET", "/api/v1/contacts/999", None, "read", 404),
    ],
)
def test_every_answer_has_the_id_of_its_request(
    api: Api, method: str, path: str, body: Any, key: str | None, status: int
) -> None:
    own = api(method, path, body, key=key, headers={"X-Request-Id": "req-7"})
    assert (own.status_code, own.headers.get_list("X-Request-Id")) == (status, ["req-7"])
    made = {api(method, path, body, key=key).headers["X-Request-Id"] for _ in range(2)}
    assert len(made) == 2
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in made)


def test_an_odd_id_is_replaced(api: Api) -> None:
    for odd in ("a b", "x" * 200, "mck_secret-secret"):
        answered = api("GET", "/health", headers={"X-Request-Id": odd}).headers["X-Request-Id"]
        assert re.fullmatch("[0-9a-f]{32}", answered)


def test_the_answer_names_the_trace_of_the_event_that_the_queue_carries(api: Api, queues: dict[str, Queue]) -> None:
    named = f"00-{TRACE}-{SPAN}-01"
    first = api("POST", WEBHOOK, {"manychat_id": "MC1"}, key="webhook", headers={"traceparent": named})
    second = api("POST", WEBHOOK, {"manychat_id": "MC2"}, key="webhook", headers={"traceparent": "nonsense"})
    events = {
        event.manychat_id: event
        for message in queues[CONTACT_QUEUE].receive(32, 30)
        for event in [decode(message.content, queue=CONTACT_QUEUE, inserted_at=message.inserted_at)]
    }
    assert events["MC1"].traceparent == named
    assert first.headers["X-Request-Id"] == TRACE
    assert second.headers["X-Request-Id"] == events["MC2"].trace_id == second.json()["event_id"][:32]

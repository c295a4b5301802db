"""Whatever is sent to the webhooks is answered in our shape, and does no harm to the good events beside it."""

import json
from http.client import HTTPConnection
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bridge.contract.payloads import WEBHOOKS
from tests.world import World

ROUTES = [each.route for each in WEBHOOKS]
FIELDS = [
    "manychat_id", "first_name", "phone", "channel", "entry_date", "medical_advisor_id", "state", "stage_id", "stage",
    "summary", "date", "nombre_lead", "datetime_actual", "campaign_id", "comercial_id", "last_state",
]  # fmt: skip
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=40)  # lone surrogates and control characters included
    | st.sampled_from(
        ["", "0", "17", "{{user_id}}", "2026-02-30T00:00:00Z", "9999-12-31T23:59:59-12:00", "=1+1", "<b>"]
    )
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6),
    max_leaves=12,
)
payloads = st.dictionaries(st.sampled_from(FIELDS), values, max_size=8)
json_bodies = payloads.map(lambda payload: json.dumps(payload).encode())
bodies = json_bodies | st.binary(max_size=200) | st.sampled_from([b"", b"{}", b"[]", b"null", b"\xef\xbb\xbf{}"])
headers = st.dictionaries(
    st.sampled_from(
        ["Idempotency-Key", "X-Dry-Run", "Content-Encoding", "Accept-Language", "X-Forwarded-For", "Cookie"]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30),
    max_size=3,
)

fuzzing = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow],
)


def send(world: World, method: str, path: str, body: bytes, extra: dict[str, str]) -> tuple[int, bytes]:
    """Past the requests library, which would not send some of this."""
    connection = HTTPConnection(world.stack.odoo_url.removeprefix("http://"), timeout=30)
    try:
        sent = {"Content-Type": "application/json", "X-API-KEY": world.stack.webhook_key, **extra}
        connection.request(
            method, path, body=body, headers={name: text.encode("latin-1") for name, text in sent.items()}
        )
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_every_body_gets_an_answer_in_our_shape(world: World) -> None:
    @fuzzing
    @given(st.sampled_from(ROUTES), bodies, headers)
    def fuzz(route: tuple[str, str], body: bytes, extra: dict[str, str]) -> None:
        status, content = send(world, *route, body, extra)
        answer: dict[str, Any] = json.loads(content)
        if status == 200:
            assert answer["event_id"]
        else:
            assert status in (400, 422), (status, content)
            assert answer.keys() == {"status", "code", "message", "errors"}
        assert b"Traceback" not in content

    fuzz()
    good = world.chat()
    assert world.settled(good.enters(17)) == ["created"]


def test_every_key_that_is_none_gets_no_further(world: World) -> None:
    @settings(fuzzing, max_examples=60)
    @given(st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60))
    def fuzz(key: str) -> None:
        status, content = send(world, *ROUTES[0], b"{}", {"X-API-KEY": key})
        assert status in (401, 429), (status, content)
        assert json.loads(content)["status"] == "error"

    fuzz()
    assert world.settled(world.chat().enters(17)) == ["created"]  # a valid key is never slowed down


def test_tricks_with_the_path_lead_nowhere(world: World) -> None:
    for path in (
        "/api/v1/manychat/webhook/../webhook/contact",
        "/api/v1/manychat/webhook/%2e%2e/contact",
        "//api/v1/manychat/webhook/contact",
        "/api/v1/manychat/webhook/contact/",
        "/api/v1/manychat/webhook/nothing",
    ):
        status, content = send(world, "POST", path, b"{}", {})
        assert 300 <= status < 500, (path, status)
        assert b"Traceback" not in content

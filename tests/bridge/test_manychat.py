"""The client of ManyChat's API: what each answer means, and what it never does. ManyChat is a stand-in."""

from __future__ import annotations

import ast
import io
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from bridge import manychat_answers
from bridge.errors import ManyChatMisconfigured, ManyChatRefused, ManyChatStopped, ManyChatUnavailable
from bridge.manychat import ManyChat

from ..manychat_stand_in import TOKEN, ManyChatStandIn

ROOT = Path(__file__).parents[2]
TOO_MANY = b"<html><title>Too many requests</title>You are being rate limited: too many requests.</html>"


def error_of(call: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        call()
    return caught.value


def after(stand_in: ManyChatStandIn, *trouble: Any) -> Exception:
    """What the client makes of an answer."""
    stand_in.troubles = [trouble]
    return error_of(lambda: ManyChat(TOKEN, stand_in.url).add_tag("1001", 21))


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (403, TOO_MANY, ManyChatStopped),
        (200, TOO_MANY, ManyChatStopped),
        (403, {"status": "error", "message": "Rate limit exceeded"}, ManyChatStopped),
        (403, {"message": "API rate limit"}, ManyChatStopped),
        (429, b"", ManyChatStopped),
        (503, TOO_MANY, ManyChatUnavailable),
        (403, b"<html>Forbidden</html>", ManyChatMisconfigured),
        (403, {"status": "error", "message": "Permission denied"}, ManyChatMisconfigured),
        (200, b"", ManyChatUnavailable),
        (200, b"<html>Maintenance</html>", ManyChatUnavailable),
        (200, b"[" * 100_000, ManyChatUnavailable),
        (200, b"\xff\xfe\xfd", ManyChatUnavailable),
        (200, {}, ManyChatUnavailable),
        (302, b"", ManyChatUnavailable),
        (307, {"status": "success"}, None),
        (200, {"status": "error"}, ManyChatRefused),
        (200, {"status": "error", "message": None, "details": []}, ManyChatRefused),
        (200, {"status": "error", "message": {"text": ["?"]}, "details": "?"}, ManyChatRefused),
        (200, {"status": "error", "details": {"messages": [{"message": "Wrong token"}]}}, ManyChatMisconfigured),
    ],
)
def test_each_form_of_an_answer_has_one_meaning(
    manychat: ManyChatStandIn,
    status: int,
    body: Any,
    error: type[Exception] | None,
) -> None:
    manychat.troubles = [(status, body)]
    call = ManyChat(TOKEN, manychat.url).add_tag
    if error is None:
        call("1001", 21)
    else:
        assert type(error_of(lambda: call("1001", 21))) is error
    assert len(manychat.calls) == 1


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("User Field not found", "missing"),
        ("Custom User Field with id 12 does not exist", "missing"),
        ("Validation error for field subscriber_id: Subscriber does not exist", "unknown_person"),
        ("User not found", "unknown_person"),
        ("Tags not found", "missing"),
        ("Field value is invalid", "refused"),
        ("The value of the field has an invalid type", "refused"),
        ("Contact 12324 has opted out", "refused"),
        # Those for one-time notifications are tokens too.
        ("Notification token is used", "refused"),
        ("Another token of this contact is active", "refused"),
        ("The last interaction was over 24 hours ago", "window_closed"),
    ],
)
def test_a_refusal_is_about_what_it_names(manychat: ManyChatStandIn, message: str, code: str) -> None:
    error = after(manychat, 400, {"status": "error", "message": message})
    assert isinstance(error, ManyChatRefused)
    assert error.code == code


def in_an_hour() -> str:
    return format_datetime(datetime.now(timezone.utc) + timedelta(hours=1), usegmt=True)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("30", 30), (in_an_hour, 3600), ("0", None), ("-1", None), ("\u00b2", None), ("soon", None), ("9" * 30, None)],
)
def test_the_pause_that_an_answer_names_is_kept(
    manychat: ManyChatStandIn,
    header: str | Callable[[], str],
    seconds: float | None,
) -> None:
    error = after(manychat, 429, b"", header() if callable(header) else header)
    assert isinstance(error, ManyChatStopped)
    assert error.seconds == pytest.approx(seconds, abs=5) if seconds else error.seconds is None


def test_an_answer_without_end_is_given_up(manychat: ManyChatStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manychat_answers, "MOST_BYTES", 2000)
    error = after(manychat, 200, json.dumps({"status": "success", "data": "x" * 3000}).encode())
    assert type(error) is ManyChatUnavailable


def test_words_that_sql_cannot_store_are_left_out(manychat: ManyChatStandIn) -> None:
    error = after(manychat, 400, {"status": "error", "message": "No\0 puede\ud800 ser 🩺"})
    assert isinstance(error, ManyChatRefused)
    assert error.message == "No puede? ser 🩺"


def test_the_token_stands_in_no_error(manychat: ManyChatStandIn) -> None:
    quoting = {"status": "error", "message": f"Wrong token {TOKEN}"}
    errors = [after(manychat, status, quoting) for status in (200, 400, 401, 429)]
    manychat.stop()
    errors.append(error_of(lambda: ManyChat(TOKEN, manychat.url).add_tag("1001", 21)))
    errors.append(error_of(lambda: ManyChat(f"{TOKEN}\n", manychat.url).add_tag("1001", 21)))
    for error in errors:
        said = f"{error!r} {error} {error.__cause__!r}"
        assert TOKEN not in said


def test_proxies_and_certificates_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid:3128")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "company.pem"))
    seen: list[dict[str, Any]] = []

    def send(_: object, request: requests.PreparedRequest, **how: Any) -> requests.Response:
        seen.append(how)
        response = requests.Response()
        response.status_code, response.raw = 200, io.BytesIO(b'{"status": "success"}')
        return response

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
    made = ManyChat(TOKEN)
    made.add_tag("1001", 21)
    made.send_flow("1001", "content1")
    assert [how["verify"] for how in seen] == [str(tmp_path / "company.pem")] * 2
    assert [how["proxies"]["https"] for how in seen] == ["http://proxy.invalid:3128"] * 2


def test_a_flow_starts_over_a_connection_of_its_own(manychat: ManyChatStandIn) -> None:
    made = ManyChat(TOKEN, manychat.url)
    for _ in range(2):
        made.add_tag("1001", 21)
        made.send_flow("1001", "content1")
    assert len(manychat.ports["addTag"]) == 1
    assert len(manychat.ports["sendFlow"]) == 2
    assert not manychat.ports["addTag"] & manychat.ports["sendFlow"]


def texts(path: Path) -> Iterator[str]:
    """The texts of a module that are no docstrings."""
    tree = ast.parse(path.read_text())
    docs = {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docs:
            yield node.value


def test_no_module_knows_the_calls_that_delete_a_tag_for_everyone_or_make_people() -> None:
    modules = [path for folder in ("bridge", "miasalud_crm", "deploy") for path in (ROOT / folder).rglob("*.py")]
    modules = [path for path in modules if "tests" not in path.parts]
    assert len(modules) > 200
    forbidden = ("page/removetag", "createsubscriber", "updatesubscriber", "page/createtag", "createcustomfield")
    found = {
        (path.name, text) for path in modules for text in texts(path) if any(name in text.lower() for name in forbidden)
    }
    assert found == set()
    # Nor is a name put together.
    calls = {text for path in modules for text in texts(path) if text.startswith("/fb/")}
    assert calls == {
        "/fb/subscriber/setCustomField", "/fb/subscriber/setCustomFields", "/fb/subscriber/addTag",
        "/fb/subscriber/removeTag", "/fb/sending/sendFlow", "/fb/subscriber/getInfo", "/fb/page/getInfo",
        "/fb/page/getCustomFields", "/fb/page/getTags", "/fb/",
    }  # fmt: skip

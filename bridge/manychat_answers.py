"""What ManyChat's API answers, read. Loaded into Odoo too.

Its documentation does not say what comes back for a missing field or beyond a limit. So there the text decides, and
what is not understood counts as a refusal of this one call. An error is known by ``status``, whatever HTTP says. Of an
answer without JSON only what it says of too many requests counts: it may come from a server between.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

import requests

from .errors import ManyChatMisconfigured, ManyChatRefused, ManyChatStopped, ManyChatUnavailable

#: Bytes of the longest answer: some thousand tags or fields.
MOST_BYTES = 8 * 2**20
#: Seconds without calls after an answer that says that ManyChat takes no more of them for a day.
STOPPED_SECONDS = 24 * 3600

#: Narrow: a person may have blocked the bot, and a value may be beyond a limit of its own.
_STOPPED = re.compile(
    r"\b(rate|requests?|calls?|quer(y|ies))\b.{0,20}\blimit|\blimit\b.{0,20}\b(requests?|calls?|quer(y|ies))\b"
    r"|too many (requests|calls|queries)|throttl|\b(requests?|calls|api)\b.{0,30}\b(blocked|suspended|stopped)\b",
    re.IGNORECASE,
)
_A_DAY = re.compile(r"24\s*h|one day|a day|blocked|suspend", re.IGNORECASE)
#: Narrow: other refusals speak of tokens too, such as those for one-time notifications.
_WRONG_TOKEN = re.compile(
    r"\b(wrong|invalid|bad|expired|unknown|no|missing)\b.{0,12}\b(access |api.?|bearer )?(token|key|credentials?)\b"
    r"|\b(api.?key|(access|api|bearer) token|^token)\b.{0,20}(wrong|invalid|expired|missing|not)"
    r"|unauthori[sz]ed|not authori[sz]ed",
    re.IGNORECASE,
)
_PASSING = re.compile(r"internal|temporar|try again|unavailable|timed? ?out", re.IGNORECASE)
#: Codes of the API's own text for what a person cannot get more than a day after they wrote.
_WINDOW_CODES = (3011, 3031)
_IS_MISSING = r"(not (exist|found)|n.t (exist|found)|invalid(?! (type|value|format)))"
#: What is missing is named last before that: “User Field not found” is about a field.
_NO_OTHER = r"((?!\b(subscriber|contact|user|field|tag|flow|automation|value|type)s?\b).)*"
#: What a refusal means, by its text: the first that fits. Odoo's addon knows these codes.
_CODES = {
    "window_closed": (
        r"\b(24|twenty.four).{0,3}h(ours?|rs?)?\b|message (tag|window)|outside.*window|window.*(closed|expired)"
    ),
    "unknown_person": rf"\b(subscriber|contact|user)\b{_NO_OTHER}{_IS_MISSING}",
    "missing": rf"\b(field|tag|flow|automation)s?\b{_NO_OTHER}{_IS_MISSING}",
}


class Session(requests.Session):
    """A session that follows no redirect.

    ``allow_redirects=False`` alone still reads the whole body of one, and fails at an address in it that is none.
    """

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


def read_body(response: requests.Response, until: float) -> bytes:
    """The body of an answer that was asked for with ``stream=True``.

    :param until: the moment, by the monotonic clock, at which it must be there
    :raises ManyChatUnavailable: it is too long, or takes too long
    :raises requests.RequestException: it ends in the middle
    """
    body = bytearray()
    # In small parts: an answer may trickle.
    for part in response.iter_content(512):
        body += part
        if len(body) > MOST_BYTES:
            raise ManyChatUnavailable("its answer is too long")
        if time.monotonic() > until:
            raise ManyChatUnavailable("its answer takes too long")
    return bytes(body)


def read_data(response: requests.Response, body: bytes) -> Any:
    """The ``data`` of an answer.

    :param body: of ``response``
    :raises ManyChatMisconfigured: the token is not accepted
    :raises ManyChatStopped: ManyChat takes no calls for a while
    :raises ManyChatUnavailable: it has a fault, or what it says means nothing
    :raises ManyChatRefused: this call is not possible; another one may be
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    status, text = response.status_code, _text_of(answer)
    if _is_error(answer) and answer.get("code") in _WINDOW_CODES:
        raise ManyChatRefused("window_closed", text[:500])
    said = text if _is_error(answer) else "" if answer or status >= 500 else body[:2000].decode(errors="replace")
    if status == 429 or _STOPPED.search(said):
        raise ManyChatStopped("it takes no more calls for now", _pause(response, said), text[:500])
    if status in (401, 403) or (_is_error(answer) and _WRONG_TOKEN.search(text)):
        raise ManyChatMisconfigured("it does not accept the token: check BRIDGE_MANYCHAT_API_TOKEN", text[:500])
    if status >= 500 or not isinstance(answer, dict) or "status" not in answer:
        raise ManyChatUnavailable(f"it answers HTTP {status}" + ("" if answer else " without JSON"))
    if status >= 400 or _is_error(answer):
        raise ManyChatRefused(_code(text) or ("passing" if _PASSING.search(text) else "refused"), text[:500])
    return answer.get("data")


def _is_error(answer: Any) -> bool:
    return isinstance(answer, dict) and answer.get("status") != "success"


def _text_of(answer: Any) -> str:
    """What an answer says: its message, and those of ``details.messages``, or whatever stands there."""
    if not isinstance(answer, dict):
        return ""
    details = answer.get("details")
    messages = details.get("messages") if isinstance(details, dict) else None
    if isinstance(messages, list) and all(isinstance(each, dict) for each in messages):
        parts = [each.get("message") for each in messages]
    else:
        parts = [json.dumps(details, ensure_ascii=False)] if details else []
    text = " ".join(str(part) for part in (answer.get("message"), *parts) if part)
    # As SQL can store it.
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _code(text: str) -> str | None:
    return next((code for code, pattern in _CODES.items() if re.search(pattern, text, re.IGNORECASE)), None)


def _pause(response: requests.Response, text: str) -> float | None:
    """Seconds for which ManyChat says that it takes no calls; ``None`` if it does not say."""
    after = response.headers.get("Retry-After", "").strip()
    seconds = 0.0
    if re.fullmatch(r"[0-9]{1,9}", after):
        seconds = float(after)
    elif after:
        # The other form that HTTP has (RFC 9110, 10.2.3).
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            seconds = (parsedate_to_datetime(after) - datetime.now(timezone.utc)).total_seconds()
    if seconds > 0:
        return seconds
    return float(STOPPED_SECONDS) if _A_DAY.search(text) else None

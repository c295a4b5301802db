"""Client of ManyChat's API: the few calls that write a decision to one person, and those that read what exists.

Sources, as stored in 2026: the API's own text (``https://api.manychat.com/swagger``: bearer token, names of the calls
and their arguments, a limit for each call, answers of HTTP 200 and 400 with ``status``, codes of what cannot be sent)
and ``https://help.manychat.com/hc/en-us/articles/14959510331420`` (the token; beyond a limit ManyChat may take no calls
for 24 hours). See :mod:`bridge.store.manychat_slots` for the limits. For a wrong token others have seen HTTP 401.

Neither says what comes back for a missing field or beyond a limit. So there the text decides, and
what is not understood counts as a refusal of this one call. An error is known by ``status``, whatever HTTP says. Of an
answer without JSON only what it says of too many requests counts: it may come from a server between.

Two calls are left out on purpose: ``/fb/page/removeTag`` deletes a tag for everyone, and ``createSubscriber`` makes
people. ``/fb/subscriber/removeTag`` takes a tag from one person only.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import ConnectTimeout

from . import metrics, progress, spans
from .errors import ManyChatMisconfigured, ManyChatRefused, ManyChatStopped, ManyChatUnavailable

URL = "https://api.manychat.com"
#: Seconds to connect, and to get an answer.
CONNECT_SECONDS = 5
READ_SECONDS = 15
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
    r"(wrong|invalid|bad|expired|unknown|no|missing).{0,12}\b(access |api.?|bearer )?(token|key|credentials?)\b"
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


class ManyChat:
    """The API of one ManyChat account. May be used by several threads at once.

    Each method makes one request, never repeats it, and raises:

    * :class:`ManyChatUnavailable`: no answer, or none that says anything; ``unsent`` if the request cannot have arrived
    * :class:`ManyChatMisconfigured`: the token is not accepted
    * :class:`ManyChatStopped`: ManyChat takes no calls for a while
    * :class:`ManyChatRefused`: this call is not possible; another one may be
    """

    def __init__(self, token: str, url: str = URL, *, read_seconds: float = READ_SECONDS):
        self._url = url.rstrip("/")
        self._read_seconds = read_seconds
        self._new_session = partial(_session, token, self._url)
        self._http = self._new_session()

    def set_fields(self, manychat_id: str, values: Mapping[int, str | int]) -> None:
        """Set custom fields of a person. A second call changes nothing.

        :param values: by the field's id; an empty text empties the field
        """
        person = _number(manychat_id)
        if len(values) == 1:
            [(field_id, value)] = values.items()
            body: dict[str, Any] = {"subscriber_id": person, "field_id": field_id, "field_value": value}
            self._post("/fb/subscriber/setCustomField", body)
            return
        fields = [{"field_id": field_id, "field_value": value} for field_id, value in values.items()]
        self._post("/fb/subscriber/setCustomFields", {"subscriber_id": person, "fields": fields})

    def add_tag(self, manychat_id: str, tag_id: int) -> None:
        """Give a person a tag. A second call changes nothing."""
        self._post("/fb/subscriber/addTag", {"subscriber_id": _number(manychat_id), "tag_id": tag_id})

    def remove_tag(self, manychat_id: str, tag_id: int) -> None:
        """Take a tag from a person; it stays everyone else's. A second call changes nothing."""
        self._post("/fb/subscriber/removeTag", {"subscriber_id": _number(manychat_id), "tag_id": tag_id})

    def send_flow(self, manychat_id: str, flow_ns: str) -> None:
        """Start a flow for a person. Each call starts it: the caller notes it before the call.

        By a connection of its own: over one that something between has forgotten there would be no answer, and then
        the call may not be repeated.
        """
        body = {"subscriber_id": _number(manychat_id), "flow_ns": flow_ns}
        with self._new_session() as http:
            self._post("/fb/sending/sendFlow", body, http)

    def get_person(self, manychat_id: str) -> dict[str, Any]:
        """``getInfo``: what ManyChat has of a person, ``custom_fields`` and ``tags`` among it."""
        data = self._get("/fb/subscriber/getInfo", {"subscriber_id": manychat_id})
        return data if isinstance(data, dict) else {}

    def get_fields(self) -> list[dict[str, Any]]:
        """The custom fields of the account: ``id``, ``name``, ``type`` of each."""
        return _list(self._get("/fb/page/getCustomFields"))

    def get_tags(self) -> list[dict[str, Any]]:
        """The tags of the account: ``id``, ``name`` of each."""
        return _list(self._get("/fb/page/getTags"))

    def get_account(self) -> dict[str, Any]:
        """Whose account it is: ``name``, ``id``. The smallest question, to see whether calls are possible."""
        data = self._get("/fb/page/getInfo")
        return data if isinstance(data, dict) else {}

    def close(self) -> None:
        self._http.close()

    def _get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        return self._ask("GET", path, params=dict(query or {}))

    def _post(self, path: str, body: Mapping[str, Any], http: requests.Session | None = None) -> None:
        data = json.dumps(body).encode()
        self._ask("POST", path, http, data=data, headers={"Content-Type": "application/json"})

    def _ask(self, method: str, path: str, http: requests.Session | None = None, **request: Any) -> Any:
        progress.mark()
        started, result = time.monotonic(), "unavailable"
        began = datetime.now(timezone.utc)
        try:
            answer = _data(*self._send(http or self._http, method, path, **request))
            result = "ok"
        except ManyChatRefused:
            result = "refused"
            raise
        except ManyChatStopped:
            result = "stopped"
            raise
        else:
            return answer
        finally:
            name = path.rsplit("/", 1)[1]
            metrics.MANYCHAT.labels(name, result).observe(time.monotonic() - started)
            spans.record_step("ManyChat", began, failed=result != "ok", method=name, result=result)

    def _send(self, http: requests.Session, method: str, path: str, **request: Any) -> tuple[requests.Response, bytes]:
        until = time.monotonic() + CONNECT_SECONDS + self._read_seconds
        try:
            with http.request(
                method,
                self._url + path,
                timeout=(CONNECT_SECONDS, self._read_seconds),
                allow_redirects=False,
                stream=True,
                **request,
            ) as response:
                return response, _body(response, until)
        except ConnectTimeout:
            raise ManyChatUnavailable("it does not accept connections", unsent=True) from None
        except requests.Timeout:
            raise ManyChatUnavailable(f"it did not answer within {self._read_seconds:g} seconds") from None
        except requests.RequestException as error:
            # urllib3 says so if there was no connection over which anything was sent.
            unsent = "NewConnectionError" in repr(error) or "NameResolutionError" in repr(error)
            raise ManyChatUnavailable(f"it cannot be reached ({type(error).__name__})", unsent=unsent) from None


def _session(token: str, url: str) -> requests.Session:
    http = requests.Session()
    http.mount(url, HTTPAdapter(pool_maxsize=16, max_retries=0))
    http.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    # Proxies and certificates are those of the environment. A .netrc file must not replace the token.
    found = http.merge_environment_settings(url, {}, None, None, None)
    http.proxies, http.verify, http.trust_env = found["proxies"], found["verify"], False
    http.headers["Authorization"] = f"Bearer {token}"
    return http


def _body(response: requests.Response, until: float) -> bytes:
    """The body of an answer.

    :param until: the moment, by the monotonic clock, at which it must be there
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


def _data(response: requests.Response, body: bytes) -> Any:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    status, text = response.status_code, _text_of(answer)
    if _is_error(answer) and answer.get("code") in _WINDOW_CODES:
        raise ManyChatRefused("window_closed", text[:500])
    said = text if _is_error(answer) else "" if answer or status >= 500 else body[:2000].decode(errors="replace")
    if status == 429 or _STOPPED.search(said):
        raise ManyChatStopped("it takes no more calls for now", _pause(response, said))
    if status in (401, 403) or (_is_error(answer) and _WRONG_TOKEN.search(text)):
        raise ManyChatMisconfigured("it does not accept the token: check BRIDGE_MANYCHAT_API_TOKEN")
    if status >= 500 or not isinstance(answer, dict) or "status" not in answer:
        raise ManyChatUnavailable(f"it answers HTTP {status}" + ("" if answer else " without JSON"))
    if status >= 400 or _is_error(answer):
        raise ManyChatRefused(_code(text) or ("passing" if _PASSING.search(text) else "refused"), text[:500])
    return answer.get("data")


def _number(manychat_id: str) -> int | str:
    # The API's text says integer. JSON's numbers have no limit here, so an id above 2^53 stays exact.
    return int(manychat_id) if re.fullmatch(r"[1-9][0-9]{0,18}", manychat_id) else manychat_id


def _list(data: Any) -> list[dict[str, Any]]:
    return [each for each in data if isinstance(each, dict)] if isinstance(data, list) else []


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

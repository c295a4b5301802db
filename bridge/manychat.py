"""Client of ManyChat's API: the few calls that write a decision to one person, and those that read what exists.

Sources, as stored in 2026: the API's own text (``https://api.manychat.com/swagger``: bearer token, names of the calls
and their arguments, a limit for each call, answers of HTTP 200 and 400 with ``status``, codes of what cannot be sent)
and ``https://help.manychat.com/hc/en-us/articles/14959510331420`` (the token; beyond a limit ManyChat may take no calls
for 24 hours). See :mod:`bridge.store.manychat_slots` for the limits.

Neither says what comes back for a wrong token, for a missing field or beyond a limit. So there the text decides, and
what is not understood counts as a refusal of this one call. An error is known by ``status``, whatever HTTP says.

Two calls are left out on purpose: ``/fb/page/removeTag`` deletes a tag for everyone, and ``createSubscriber`` makes
people. ``/fb/subscriber/removeTag`` takes a tag from one person only.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from datetime import datetime, timezone
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
#: What a refusal means, by its text: the first that fits. Odoo's addon knows these codes.
_CODES = {
    "window_closed": r"(24|twenty.four).{0,3}h|message (tag|window)|outside.*window|window.*(closed|expired)",
    "unknown_person": r"\b(subscriber|contact|user)\b.*(not (exist|found)|n.t (exist|found)|invalid)",
    "missing": r"\b(field|tag|flow|automation)\b.*(not (exist|found)|n.t (exist|found)|invalid)",
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
        self._http = requests.Session()
        self._http.mount(self._url, HTTPAdapter(pool_maxsize=16, max_retries=0))
        self._http.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        # A .netrc file must not replace the token.
        self._http.trust_env = False
        self._http.proxies = requests.utils.get_environ_proxies(self._url)
        self._http.headers["Authorization"] = f"Bearer {token}"

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
        """Start a flow for a person. Each call starts it: the caller notes it before the call."""
        self._post("/fb/sending/sendFlow", {"subscriber_id": _number(manychat_id), "flow_ns": flow_ns})

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

    def _post(self, path: str, body: Mapping[str, Any]) -> None:
        data = json.dumps(body).encode()
        self._ask("POST", path, data=data, headers={"Content-Type": "application/json"})

    def _ask(self, method: str, path: str, **request: Any) -> Any:
        progress.mark()
        started, result = time.monotonic(), "unavailable"
        began = datetime.now(timezone.utc)
        try:
            answer = self._data(self._send(method, path, **request))
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

    def _send(self, method: str, path: str, **request: Any) -> requests.Response:
        try:
            return self._http.request(
                method,
                self._url + path,
                timeout=(CONNECT_SECONDS, self._read_seconds),
                allow_redirects=False,
                **request,
            )
        except ConnectTimeout:
            raise ManyChatUnavailable("it does not accept connections", unsent=True) from None
        except requests.Timeout:
            raise ManyChatUnavailable(f"it did not answer within {self._read_seconds:g} seconds") from None
        except requests.RequestException as error:
            # urllib3 says so if there was no connection over which anything was sent.
            unsent = "NewConnectionError" in repr(error) or "NameResolutionError" in repr(error)
            raise ManyChatUnavailable(f"it cannot be reached ({type(error).__name__})", unsent=unsent) from None

    def _data(self, response: requests.Response) -> Any:
        try:
            answer = response.json()
        except ValueError:
            answer = None
        status, text = response.status_code, _text_of(answer)
        if _is_error(answer) and answer.get("code") in _WINDOW_CODES:
            raise ManyChatRefused("window_closed", text[:500])
        if status == 429 or (_is_error(answer) and _STOPPED.search(text)):
            raise ManyChatStopped("it takes no more calls for now", _pause(response, text))
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
    return " ".join(str(part) for part in (answer.get("message"), *parts) if part)


def _code(text: str) -> str | None:
    return next((code for code, pattern in _CODES.items() if re.search(pattern, text, re.IGNORECASE)), None)


def _pause(response: requests.Response, text: str) -> float | None:
    """Seconds for which ManyChat says that it takes no calls; ``None`` if it does not say."""
    after = response.headers.get("Retry-After", "")
    if after.isdigit():
        return float(after)
    return float(STOPPED_SECONDS) if _A_DAY.search(text) else None

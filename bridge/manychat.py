"""Client of ManyChat's API: the few calls that write a decision to one person, and those that read what exists.

Sources, as stored in 2026: the API's own text (``https://api.manychat.com/swagger``: bearer token, names of the calls
and their arguments, a limit for each call, answers of HTTP 200 and 400 with ``status``, codes of what cannot be sent)
and ``https://help.manychat.com/hc/en-us/articles/14959510331420`` (the token; beyond a limit ManyChat may take no calls
for 24 hours). See :mod:`bridge.store.manychat_slots` for the limits. For a wrong token others have seen HTTP 401.

What the answers mean: :mod:`.manychat_answers`.

Two calls are left out on purpose: ``/fb/page/removeTag`` deletes a tag for everyone, and ``createSubscriber`` makes
people. ``/fb/subscriber/removeTag`` takes a tag from one person only.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import ConnectTimeout

from . import manychat_answers, metrics, progress, spans
from .errors import ManyChatRefused, ManyChatStopped, ManyChatUnavailable

URL = "https://api.manychat.com"
#: Seconds to connect, and to get an answer.
CONNECT_SECONDS = 5
READ_SECONDS = 15


class ManyChat:
    """The API of one ManyChat account. May be used by several threads at once.

    Each method makes one request, never repeats it, and raises:

    * :class:`ManyChatUnavailable`: no answer, or none that says anything; ``unsent`` if the request cannot have arrived
    * :class:`bridge.errors.ManyChatMisconfigured`: the token is not accepted
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
            answer = manychat_answers.read_data(*self._send(http or self._http, method, path, **request))
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
                return response, manychat_answers.read_body(response, until)
        except ConnectTimeout:
            raise ManyChatUnavailable("it does not accept connections", unsent=True) from None
        except requests.Timeout:
            raise ManyChatUnavailable(f"it did not answer within {self._read_seconds:g} seconds") from None
        except requests.RequestException as error:
            # urllib3 says so if there was no connection over which anything was sent.
            unsent = "NewConnectionError" in repr(error) or "NameResolutionError" in repr(error)
            raise ManyChatUnavailable(f"it cannot be reached ({type(error).__name__})", unsent=unsent) from None


def _session(token: str, url: str) -> requests.Session:
    http = manychat_answers.Session()
    http.mount(url, HTTPAdapter(pool_maxsize=16, max_retries=0))
    http.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    # Proxies and certificates are those of the environment. A .netrc file must not replace the token.
    found = http.merge_environment_settings(url, {}, None, None, None)
    http.proxies, http.verify, http.trust_env = found["proxies"], found["verify"], False
    http.headers["Authorization"] = f"Bearer {token}"
    return http


def _number(manychat_id: str) -> int | str:
    # The API's text says integer. JSON's numbers have no limit here, so an id above 2^53 stays exact.
    return int(manychat_id) if re.fullmatch(r"[1-9][0-9]{0,18}", manychat_id) else manychat_id


def _list(data: Any) -> list[dict[str, Any]]:
    return [each for each in data if isinstance(each, dict)] if isinstance(data, list) else []

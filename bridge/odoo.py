"""Client of Odoo: ``/jsonrpc`` on 18, ``/json/2`` on 19 and later, over one HTTP session.

There is one error for each way to mend it: :class:`OdooUnavailable` (wait), :class:`OdooMisconfigured` (an operator
must act; also an outage, since no event is at fault) and :class:`OdooRefused` (Odoo raised an exception in the call).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from . import metrics, odoo_faults, progress, spans
from .contract.fields import format_datetime
from .errors import OdooMisconfigured, OdooRefused, OdooTimeout, OdooUnavailable
from .odoo_answers import HeartbeatAnswer, PastMove, StatesAnswer

#: Seconds to connect, and to get the answer to a batch (a batch of 32 takes well under one).
CONNECT_SECONDS = 5
READ_SECONDS = 55
#: First Odoo version whose /json/2 we use; /jsonrpc is deprecated from there on.
JSON2_VERSION = 19


class Odoo:
    """The bridge's user in one Odoo database. May be used by several threads at once."""

    def __init__(self, url: str, database: str, login: str, api_key: str):
        self.url = url.rstrip("/")
        self.database = database
        self.login = login
        self._api_key = api_key
        self._http = requests.Session()
        self._http.mount(self.url, HTTPAdapter(pool_maxsize=16, max_retries=0))
        # No cookies: a session that Odoo opened for one call must not decide the database or user of the next.
        self._http.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._lock = threading.Lock()
        self._version: int | None = None
        self._uid: int | None = None

    def apply(self, events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """``crm.lead.manychat_apply``: create or move the opportunities of ``events`` (envelopes).

        :return: one result for each, in order: ``event_id``, ``status``, ``lead_id``, ``stage_before``,
            ``stage_after``, ``code``, ``message``
        :raises OdooUnavailable:
        :raises OdooRefused: the call as a whole failed; a single bad event only fails its own result
        """
        return self._results(self._call("crm.lead", "manychat_apply", events=list(events)), events)

    def heartbeat(
        self, name: str, version: str, stuck: Sequence[str] = (), write_back: str | None = None
    ) -> HeartbeatAnswer:
        """``manychat.bridge.heartbeat``: show Odoo that a bridge is alive.

        :param stuck: queues whose consumer stands still
        :param write_back: one of :class:`bridge.contract.outcomes.WriteBackState`, if Odoo asks for it
        :raises OdooUnavailable:
        :raises OdooRefused:
        """
        # Named only if there are any: an older addon does not know the argument, and then counts the bridge as silent.
        more: dict[str, Any] = {"stuck": list(stuck)} if stuck else {}
        if write_back:
            more["write_back"] = write_back
        answer = self._call("manychat.bridge", "heartbeat", name=name, version=version, **more)
        return HeartbeatAnswer.of(answer)

    def record_refusals(self, refusals: Sequence[dict[str, Any]]) -> None:
        """``manychat.bridge.record_refusals``: report how often the standby refused requests.

        :param refusals: one for each row of ``standby_refusals``, as the RPC method takes them
        :raises OdooUnavailable:
        :raises OdooRefused:
        """
        self._call("manychat.bridge", "record_refusals", refusals=list(refusals))

    def record_write_back(self, results: Sequence[dict[str, Any]]) -> None:
        """``crm.lead.manychat_record_write_back``: report what ManyChat answered to decisions.

        :param results: ``manychat_id``, ``event_id``, ``code`` (empty: ManyChat took it), ``message``, ``at``
        :raises OdooUnavailable:
        :raises OdooRefused:
        """
        self._call("crm.lead", "manychat_record_write_back", results=list(results))

    def record_outcomes(self, outcomes: Sequence[dict[str, Any]]) -> set[str]:
        """``manychat.event.record_outcomes``: report the outcomes of events.

        :param outcomes: one for each event, as the RPC method takes them
        :return: ids of events that another transaction held: to be reported again
        :raises OdooUnavailable:
        :raises OdooRefused:
        """
        answer = self._call("manychat.event", "record_outcomes", outcomes=list(outcomes))
        if not isinstance(answer, dict) or not isinstance(answer.get("busy"), list):
            raise OdooRefused("bad_answer", "manychat.event.record_outcomes did not answer with what it did.")
        return set(answer["busy"])

    def get_active(self) -> list[dict[str, Any]]:
        """``manychat.bridge.get_active``: the bridges that sent Odoo a heartbeat lately.

        :return: ``name``, ``version``, ``seconds`` (since the last heartbeat) and ``stuck`` (queues whose consumer
            stands still) of each, newest first
        :raises OdooUnavailable:
        :raises OdooRefused:
        """
        answer = self._call("manychat.bridge", "get_active")
        return list(answer) if isinstance(answer, list) else []

    def get_ended(self) -> list[dict[str, Any]]:
        """``manychat.bridge.get_ended``: the bridges that do not run any more, at most 100.

        :return: ``name``, ``version``, ``seconds`` (since the last heartbeat) and ``stopped`` (it has signed off; else
            it was killed) of each, newest first; empty from an older addon, which does not say
        :raises OdooUnavailable:
        """
        try:
            answer = self._call("manychat.bridge", "get_ended")
        except (OdooMisconfigured, OdooRefused):
            return []
        return list(answer) if isinstance(answer, list) else []

    def get_refusals(self) -> dict[str, int] | None:
        """``manychat.bridge.get_refusals``: what Odoo's webhooks refused in the last 24 hours.

        :return: ``refused``, ``warned`` and ``wrong_keys``, each a number; ``None`` from an older addon, which does not
            say
        :raises OdooUnavailable:
        """
        try:
            answer = self._call("manychat.bridge", "get_refusals")
        except (OdooMisconfigured, OdooRefused):
            return None
        return {str(name): int(count) for name, count in answer.items()} if isinstance(answer, dict) else None

    def sign_off(self, name: str) -> None:
        """``manychat.bridge.sign_off``: show Odoo that a bridge ends.

        :param name: as in :meth:`heartbeat`
        :raises OdooUnavailable:
        :raises OdooRefused:
        """
        self._call("manychat.bridge", "sign_off", name=name)

    def get_history(self, *, event_id: str = "", manychat_id: str = "") -> list[dict[str, Any]]:
        """``manychat.event.get_history``: Odoo's event log of one event, or of one person, without payloads.

        :param event_id: whole, or its beginning
        :return: newest first, at most 50
        :raises OdooUnavailable:
        :raises OdooRefused:
        """
        answer = self._call("manychat.event", "get_history", event_id=event_id, manychat_id=manychat_id)
        return list(answer) if isinstance(answer, list) else []

    def get_overdue(self) -> list[dict[str, Any]]:
        """``manychat.event.get_overdue``: the events that have been on their queue for long.

        :return: ``event_id``, ``type``, ``manychat_id``, ``retries``, ``queued_at`` of each, oldest first
        :raises OdooUnavailable:
        :raises OdooRefused:
        """
        answer = self._call("manychat.event", "get_overdue")
        return list(answer) if isinstance(answer, list) else []

    def send_again(self, event_ids: Sequence[str]) -> set[str]:
        """``manychat.event.send_again``: have Odoo put events on their queues again.

        :return: ids of those that go again; the others are not on their queue any more
        :raises OdooUnavailable:
        :raises OdooRefused:
        """
        return set(self._call("manychat.event", "send_again", event_ids=list(event_ids)) or ())

    def get_finished(self, since: datetime, after: str = "") -> list[dict[str, Any]]:
        """``manychat.event.get_finished``: the events that Odoo has finished, with their contents.

        :param since: only events received then or later
        :param after: id of the last event of the page before; empty for the first page
        :return: envelopes, oldest first; empty after the last page
        :raises OdooUnavailable:
        :raises OdooRefused:
        """
        return list(self._call("manychat.event", "get_finished", since=format_datetime(since), after=after) or ())

    def get_states(self, *, after: int = 0, limit: int = 0, manychat_ids: Sequence[str] = ()) -> StatesAnswer:
        """``crm.lead.manychat_get_states``: opportunities as Odoo has them.

        :param after: of the page before
        :param limit: persons in a page
        :param manychat_ids: only these persons, in one page
        :raises OdooUnavailable: also an older addon, which does not know the method
        :raises OdooRefused:
        """
        which = {"manychat_ids": list(manychat_ids)} if manychat_ids else {"after": after, "limit": limit}
        answer = self._call("crm.lead", "manychat_get_states", **which)
        if not isinstance(answer, dict) or not isinstance(answer.get("states"), list):
            raise OdooRefused("bad_answer", "crm.lead.manychat_get_states did not answer with states.")
        return StatesAnswer.of(answer)

    def get_stage_history(self, manychat_ids: Sequence[str]) -> list[PastMove]:
        """``crm.lead.manychat_get_stage_history``: the moves of these persons' opportunities that SQL may lack.

        :raises OdooUnavailable:
        :raises OdooRefused:
        """
        answer = self._call("crm.lead", "manychat_get_stage_history", manychat_ids=list(manychat_ids))
        if not isinstance(answer, list):
            raise OdooRefused("bad_answer", "crm.lead.manychat_get_stage_history did not answer with moves.")
        return [move for each in answer if (move := PastMove.of(each))]

    def erase(self, manychat_id: str) -> dict[str, Any]:
        """``manychat.event.erase``: empty the payloads of a person in Odoo's event log.

        :return: ``events`` and ``rejections`` (how many), ``lead_ids`` (the person's opportunities, which stay)
        :raises OdooUnavailable:
        :raises OdooRefused:
        """
        answer = self._call("manychat.event", "erase", manychat_id=manychat_id)
        if not isinstance(answer, dict):
            raise OdooRefused("bad_answer", "manychat.event.erase did not answer with what it did.")
        return answer

    def probe(self) -> None:
        """Find out whether :meth:`apply` works, with an empty batch.

        :raises OdooUnavailable: also if Odoo refuses, since no event is at fault
        """
        try:
            self.apply([])
        except OdooRefused as error:
            raise OdooMisconfigured(f"it refuses even an empty batch ({error.name}): see Odoo's log") from None

    def version(self) -> int:
        """The major version of Odoo. It is read once.

        :raises OdooUnavailable:
        """
        if self._version is None:
            answer = self._jsonrpc("/web/webclient/version_info", {})
            try:
                self._version = int(answer["server_version_info"][0])
            except (KeyError, TypeError, IndexError, ValueError):
                raise OdooMisconfigured("the server there is not Odoo: check BRIDGE_ODOO_URL") from None
        return self._version

    def close(self) -> None:
        self._http.close()

    def _results(self, results: Any, events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """``results``, if there is one for each event.

        :raises OdooRefused: there is not
        """
        if not isinstance(results, list) or [
            result.get("event_id") if isinstance(result, dict) else None for result in results
        ] != [event["id"] for event in events]:
            raise OdooRefused("bad_answer", "manychat_apply did not answer with one result for each event.")
        return results

    def _call(self, model: str, method: str, **arguments: Any) -> Any:
        # An empty batch is a probe: its own label, because it is faster than a batch of events.
        with _timed("probe" if arguments.get("events") == [] else method):
            return self._request(model, method, arguments)

    def _request(self, model: str, method: str, arguments: dict[str, Any]) -> Any:
        if self.version() >= JSON2_VERSION:
            return self._json2(model, method, arguments)
        uid = self._authenticate()
        arguments_18 = [self.database, uid, self._api_key, model, method, [], arguments]
        try:
            return self._jsonrpc("/jsonrpc", {"service": "object", "method": "execute_kw", "args": arguments_18})
        except OdooMisconfigured:
            # The user may have been created again, with another id.
            self._uid = None
            raise

    def _authenticate(self) -> int:
        with self._lock:
            if self._uid is None:
                arguments = [self.database, self.login, self._api_key, {}]
                uid = self._jsonrpc("/jsonrpc", {"service": "common", "method": "authenticate", "args": arguments})
                if not uid:
                    raise OdooMisconfigured(odoo_faults.misconfigured("odoo.exceptions.AccessDenied"))
                self._uid = int(uid)
            return self._uid

    def _jsonrpc(self, path: str, parameters: dict[str, Any]) -> Any:
        status, answer = self._post(path, {"jsonrpc": "2.0", "method": "call", "id": None, "params": parameters}, {})
        if status >= 400 or not isinstance(answer, dict):
            raise odoo_faults.of_status(status)
        if "error" in answer:
            error = answer["error"] if isinstance(answer["error"], dict) else {}
            data = error.get("data")
            # A fault without data did not reach the method: the database or the path does not exist.
            if not isinstance(data, dict):
                raise OdooMisconfigured(odoo_faults.misconfigured("werkzeug.exceptions.NotFound"))
            raise odoo_faults.of_exception(data)
        return answer.get("result")

    def _json2(self, model: str, method: str, arguments: dict[str, Any]) -> Any:
        headers = {"Authorization": f"bearer {self._api_key}", "X-Odoo-Database": self.database}
        status, answer = self._post(f"/json/2/{model}/{method}", arguments, headers)
        if status >= 400:
            # A fault of our code has its exception's name. A proxy in between, or Odoo before our code, sends none.
            if isinstance(answer, dict) and answer.get("name") and status not in (401, 403):
                raise odoo_faults.of_exception(answer)
            raise odoo_faults.of_status(status)
        return answer

    def _post(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> tuple[int, Any]:
        """Post JSON.

        :return: HTTP status, and the JSON of the answer (``None`` without JSON)
        """
        progress.mark()
        try:
            response = self._http.post(
                self.url + path,
                data=json.dumps(body).encode(),
                headers={"Content-Type": "application/json", **headers},
                timeout=(CONNECT_SECONDS, READ_SECONDS),
                # A redirected POST becomes a GET, and the API key would go to another server.
                allow_redirects=False,
            )
        except requests.ReadTimeout:
            raise OdooTimeout(f"no answer within {READ_SECONDS} seconds") from None
        except requests.Timeout:
            raise OdooUnavailable("no connection in time") from None
        except requests.ConnectionError as error:
            refused = "refused" in str(error).lower()
            raise OdooUnavailable("connection refused" if refused else "connection failed") from None
        except requests.RequestException as error:
            raise OdooMisconfigured(f"{type(error).__name__}: check BRIDGE_ODOO_URL") from None
        if 300 <= response.status_code < 400:
            target = urlsplit(response.headers.get("Location", ""))
            raise OdooMisconfigured(
                f"it redirects to {target.scheme}://{target.hostname}{target.path}: check BRIDGE_ODOO_URL"
                if target.hostname
                else f"it redirects to {target.path}: check BRIDGE_ODOO_URL"
            )
        try:
            return response.status_code, response.json()
        except ValueError:
            # HTML: the page of a proxy, or of Odoo while its database is down.
            if response.status_code < 400:
                raise OdooMisconfigured("the server there is not Odoo: check BRIDGE_ODOO_URL") from None
            return response.status_code, None


@contextmanager
def _timed(method: str) -> Iterator[None]:
    """Time a call to Odoo by its result."""
    started, result = time.monotonic(), "unavailable"
    began = datetime.now(timezone.utc)
    try:
        yield
        result = "ok"
    except OdooRefused:
        result = "refused"
        raise
    finally:
        metrics.RPC.labels(method, result).observe(time.monotonic() - started)
        spans.record_step("RPC", began, failed=result != "ok", method=method, result=result)

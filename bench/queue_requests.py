"""Plain signed requests to a queue: what sends and takes messages with the least a client can cost.

The signature is Azure's Shared Key: https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from email.utils import format_datetime
from urllib.parse import parse_qsl, quote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

#: Requests at once, for filling and for emptying.
AT_ONCE = 4
_VERSION = "2021-12-02"


class QueueRequests:
    """One queue. Each thread has a connection of its own."""

    def __init__(self, connection_string: str, name: str) -> None:
        parts = dict(part.split("=", 1) for part in connection_string.strip(";").split(";"))
        address = urlsplit(parts["QueueEndpoint"])
        self._host, self._account = address.netloc, parts["AccountName"]
        self._key = base64.b64decode(parts["AccountKey"])
        self._path = f"{address.path}/{name}"
        self._local = threading.local()

    def create(self) -> None:
        self._request("PUT", "", accepted=(201, 204))

    def put(self, content: str) -> None:
        body = f"<QueueMessage><MessageText>{escape(content)}</MessageText></QueueMessage>".encode()
        self._request("POST", "/messages?messagettl=-1", body, accepted=(201,))

    def put_all(self, contents: Sequence[str]) -> None:
        self.create()
        self._at_once(self.put, contents)

    def receive(self, count: int) -> list[tuple[str, str, str]]:
        """Id, pop receipt and content of up to 32 messages."""
        answer = self._request("GET", f"/messages?numofmessages={count}&visibilitytimeout=60", accepted=(200,))
        return [
            (
                message.findtext("MessageId", ""),
                message.findtext("PopReceipt", ""),
                message.findtext("MessageText", ""),
            )
            for message in ElementTree.fromstring(answer)
        ]

    def delete(self, message: tuple[str, str, str]) -> None:
        self._request("DELETE", f"/messages/{message[0]}?popreceipt={quote(message[1], safe='')}", accepted=(204,))

    def receive_and_delete(self) -> int:
        """Empty the queue, several requests at once.

        :return: how many messages there were
        """
        return sum(self._at_once(lambda _: self._take_all(), range(AT_ONCE)))

    def _take_all(self) -> int:
        taken = 0
        while page := self.receive(32):
            for message in page:
                self.delete(message)
            taken += len(page)
        return taken

    def length(self) -> int:
        """Of the messages, hidden ones included."""
        self._request("GET", "?comp=metadata", accepted=(200,))
        return int(self._local.headers["x-ms-approximate-messages-count"])

    def clear(self) -> None:
        self._request("DELETE", "/messages", accepted=(204, 404))

    def _at_once(self, call: Callable[..., int | None], arguments: Iterable[object]) -> list[int]:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return [done or 0 for done in pool.map(call, arguments)]

    def _request(self, method: str, target: str, body: bytes = b"", *, accepted: Sequence[int]) -> bytes:
        try:
            answer = self._ask(method, target, body)
        except (http.client.RemoteDisconnected, ConnectionError):
            del self._local.connection  # the server ends connections that rest, and may have been started anew
            answer = self._ask(method, target, body)
        content = answer.read()
        if answer.status not in accepted:
            raise RuntimeError(f"{method} {target}: {answer.status} {content[:300]!r}")
        self._local.headers = answer.headers
        return content

    def _ask(self, method: str, target: str, body: bytes) -> http.client.HTTPResponse:
        if not hasattr(self._local, "connection"):
            self._local.connection = http.client.HTTPConnection(self._host, timeout=60)
        connection: http.client.HTTPConnection = self._local.connection
        connection.request(method, self._path + target, body or None, self._signed(method, target, body))
        return connection.getresponse()

    def _signed(self, method: str, target: str, body: bytes) -> dict[str, str]:
        path, _, query = target.partition("?")
        date = format_datetime(datetime.now(timezone.utc), usegmt=True)
        kind = "application/xml" if body else ""
        resource = f"/{self._account}{self._path}{path}"
        resource += "".join(f"\n{name}:{value}" for name, value in sorted(parse_qsl(query)))
        length = str(len(body)) if body else ""
        fields = [
            method,
            "",
            "",
            length,
            "",
            kind,
            "",
            "",
            "",
            "",
            "",
            "",
            f"x-ms-date:{date}",
            f"x-ms-version:{_VERSION}",
        ]
        digest = hmac.new(self._key, "\n".join([*fields, resource]).encode(), hashlib.sha256).digest()
        signature = base64.b64encode(digest).decode()
        headers = {"x-ms-date": date, "x-ms-version": _VERSION}
        headers["Authorization"] = f"SharedKey {self._account}:{signature}"
        return headers | ({"Content-Type": kind} if kind else {})

"""Requests to one queue of a storage account: signed, sent over connections that stay open, repeated once.

Microsoft's SDK spends about a millisecond of CPU on a request, and 18 MB and 0.2 s on being imported; this a quarter of
that. The protocol: https://learn.microsoft.com/rest/api/storageservices/queue-service-rest-api. Loaded into Odoo too.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import ssl
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate, mktime_tz, parsedate_tz
from typing import Any
from urllib.parse import quote, urlsplit

import urllib3
from urllib3.util import Retry, Timeout
from urllib3.util.ssl_ import create_urllib3_context

from .. import __version__
from .login import Login

#: Old enough for each Azurite that is in use; tokens need 2017-11-09.
#: https://learn.microsoft.com/rest/api/storageservices/previous-azure-storage-service-versions
VERSION = "2021-12-02"
#: Seconds before a request is repeated.
RETRY_SECONDS = 0.2
#: Seconds. A service that asks for more patience gets it from the caller, who waits out an outage anyway.
MOST_PATIENCE = 1
#: Connections that stay open. More are opened when more threads need them, and then closed.
CONNECTIONS = 16
#: Statuses after which another try may help, beside those from 500 on.
_BUSY = {408, 429}
#: “Not implemented” and “version not supported” are the same the next time.
_FINAL = {501, 505}
_NOT_REPEATED = Retry(total=False, redirect=False)
#: The request has not been sent.
_NOT_REACHED = (
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ProxyError,
)
# urllib3 logs each address at its lowest level. With a SAS, the address is a secret.
logging.getLogger("urllib3.connectionpool").addFilter(lambda record: "sig=" not in record.getMessage())


class Failure(Exception):
    """A request failed."""


class NoAnswer(Failure):
    """Nothing came back, or not all.

    :ivar reached: whether the service may have done what it was asked for
    :ivar is_name_unknown: whether the host does not exist
    """

    def __init__(self, error: Exception):
        super().__init__()
        self.reached = not isinstance(error, _NOT_REACHED)
        signs = ("NameResolutionError", "Name or service not known", "Failed to resolve")
        self.is_name_unknown = any(sign in repr(error) for sign in signs)


class Refused(Failure):
    """The service answered, and did not do what it was asked for; or its answer cannot be read.

    :ivar status: of HTTP
    :ivar code: the service's own word for it
        (https://learn.microsoft.com/rest/api/storageservices/queue-service-error-codes), or empty
    :ivar seconds_apart: how far this machine's clock is from the service's
    """

    def __init__(self, status: int, code: str = "", seconds_apart: float = 0):
        super().__init__()
        self.status = status
        self.code = code
        self.seconds_apart = seconds_apart


@dataclass
class Answer:
    """What the service sent. Names of ``headers`` may be written in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def may_change(self) -> bool:
        """Whether the same request may get another answer soon."""
        return self.status in _BUSY or (self.status >= 500 and self.status not in _FINAL)

    def code(self) -> str:
        if code := self.headers.get("x-ms-error-code"):
            return code
        found = re.search(rb"<Code>(\w+)</Code>", self.body)
        return found[1].decode() if found else ""

    def seconds_apart(self) -> float:
        """How far this machine's clock is from the service's; 0 if it does not say."""
        said = parsedate_tz(self.headers.get("Date", ""))
        return abs(time.time() - mktime_tz(said)) if said else 0


class Sender:
    """Sends requests to one queue. May be used by several threads at once, and in a process that was forked."""

    def __init__(self, url: str, login: Login, *, connect_seconds: float, read_seconds: float, retries: int):
        """Open no connection yet.

        :param url: of the queue
        :param connect_seconds: how long a connection may take
        :param read_seconds: how long the service may be silent
        :param retries: how often a failed request is repeated
        """
        self.url = url
        self.login = login
        self._timeout = Timeout(connect=connect_seconds, read=read_seconds)
        self._retries = retries
        self._path = urlsplit(url).path
        self._process = 0

    def send(
        self,
        method: str,
        path: str = "",
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        *,
        repeatable: bool = True,
    ) -> Answer:
        """Send one request, and repeat it if that may help.

        :param path: below the queue
        :param query: by name in lower case
        :param repeatable: whether the service may do twice what it is asked for
        :raises NoAnswer:
        :raises Refused:
        :raises QueueUnavailable: no identity logs in
        """
        for left in range(self._retries, -1, -1):
            pause = RETRY_SECONDS
            try:
                answer = self._send_authorized(method, self._path + path, query or {}, body)
            except NoAnswer as error:
                if not left or (error.reached and not repeatable):
                    raise
            else:
                pause = max(pause, _patience(answer))
                if not left or not repeatable or not answer.may_change() or pause > MOST_PATIENCE:
                    break
            time.sleep(pause)
        if not 200 <= answer.status < 300:
            raise Refused(answer.status, answer.code(), answer.seconds_apart())
        return answer

    def _send_authorized(self, method: str, path: str, query: Mapping[str, str], body: bytes | None) -> Answer:
        answer = self._send(method, path, query, body)
        if answer.status == 401 and self.login.renew(answer.headers.get("WWW-Authenticate", "")):
            answer = self._send(method, path, query, body)
        return answer

    def _send(self, method: str, path: str, query: Mapping[str, str], body: bytes | None) -> Answer:
        headers = {
            "User-Agent": f"miasalud-bridge/{__version__}",
            # By this name the account's logs have the request.
            "x-ms-client-request-id": str(uuid.uuid4()),
            "x-ms-date": formatdate(usegmt=True),
            "x-ms-version": VERSION,
        }
        if body is not None:
            headers["Content-Type"] = "application/xml"
        self.login.authorize(method, path, query, headers, len(body or b""))
        parts = [f"{name}={quote(value, safe='')}" for name, value in query.items()]
        target = "?".join(filter(None, [path, "&".join(filter(None, [*parts, self.login.query]))]))
        try:
            response = self._urlopen()(
                method, target, body=body, headers=headers, retries=_NOT_REPEATED, redirect=False
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise NoAnswer(error) from None
        return Answer(response.status, response.headers, response.data)

    def _urlopen(self) -> Any:
        """What sends a request over the connections of this process. A forked one must not use its parent's."""
        if self._process != os.getpid():
            self._pool, self._prefix = _pool(self.url, self._timeout)
            self._process = os.getpid()
        if not self._prefix:
            return self._pool.urlopen
        return lambda method, target, **options: self._pool.urlopen(method, self._prefix + target, **options)

    def close(self) -> None:
        """Close the connections. The next request opens others."""
        if self._process == os.getpid():
            self._process = 0
            (self._pool.clear if self._prefix else self._pool.close)()


def _patience(answer: Answer) -> float:
    """Seconds after which the service wants to be asked again; 0 if it does not say."""
    try:
        return float(_NOT_REPEATED.parse_retry_after(answer.headers.get("Retry-After", "0")))
    except (urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
        return 0


def _pool(url: str, timeout: Timeout) -> tuple[Any, str]:
    """Connections to the host of ``url``, and what stands before a path there.

    Proxies and certificates are those that ``requests`` finds in the environment: HTTPS_PROXY, HTTP_PROXY, NO_PROXY,
    REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE.
    """
    import requests
    from requests.utils import DEFAULT_CA_BUNDLE_PATH

    found = requests.Session().merge_environment_settings(url, {}, False, None, None)
    address = urlsplit(url)
    options: dict[str, Any] = {"timeout": timeout}
    if address.scheme == "https":
        options["ssl_context"] = _ssl_context(DEFAULT_CA_BUNDLE_PATH if found["verify"] is True else found["verify"])
    proxy = found["proxies"].get(address.scheme) or found["proxies"].get("all")
    origin = f"{address.scheme}://{address.netloc}"
    if not proxy:
        return urllib3.connection_from_url(origin, maxsize=CONNECTIONS, **options), ""
    # The adapter knows all forms of a proxy's address, passwords in it, and SOCKS.
    return requests.adapters.HTTPAdapter(pool_maxsize=CONNECTIONS).proxy_manager_for(proxy, **options), origin


@functools.cache
def _ssl_context(certificates: str) -> ssl.SSLContext:
    """For all connections of the process: to read the certificates takes some milliseconds and a megabyte."""
    context = create_urllib3_context()
    context.load_verify_locations(**{"capath" if os.path.isdir(certificates) else "cafile": certificates})
    return context

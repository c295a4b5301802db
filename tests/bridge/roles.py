"""STANDS IN FOR AZURE'S ROLES, which Azurite does not know: passes requests on to it, or refuses them as Azure does."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

from .entra import Certificate

#: Azure's built-in roles, and what they may do of the requests below.
#: https://learn.microsoft.com/azure/storage/queues/queues-auth-abac-attributes
ROLES = {
    "Storage Queue Data Contributor": {"read", "create", "add", "update", "process"},
    "Storage Queue Data Message Processor": {"process"},
    "Storage Queue Data Message Sender": {"add"},
    "Storage Queue Data Reader": {"read"},
}
_REQUESTS = (
    ("GET", r"/[^/]+/[^/?]+\?.*comp=metadata", "read"),
    ("GET", r"/[^/]+/[^/]+/messages\?.*peekonly", "read"),
    ("PUT", r"/[^/]+/[^/?]+(\?|$)", "create"),
    ("POST", r"/[^/]+/[^/]+/messages", "add"),
    ("PUT", r"/[^/]+/[^/]+/messages/", "update"),
    ("GET", r"/[^/]+/[^/]+/messages", "process"),
    ("DELETE", r"/[^/]+/[^/]+/messages/", "process"),
)


class Gateway:
    """
    :ivar roles: of the identity
    :ivar answer: to each request, in place of Azurite's: a status and Azure's word
    """

    def __init__(self, upstream: str, certificate: Certificate, *roles: str):
        self.roles = list(roles)
        self.answer: tuple[int, str] | None = None
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, upstream, str(certificate.certificate)))
        self.server.daemon_threads = True
        self.server.socket = certificate.context.wrap_socket(self.server.socket, server_side=True)
        self.account_url = f"https://127.0.0.1:{self.server.server_address[1]}/tests"

    def refusal(self, method: str, path: str) -> tuple[int, str] | None:
        """What Azure would say instead."""
        if self.answer:
            return self.answer
        right = next(right for verb, form, right in _REQUESTS if verb == method and re.match(form, path))
        if any(right in ROLES[role] for role in self.roles):
            return None
        return 403, "AuthorizationPermissionMismatch"


def _handler(gateway: Gateway, upstream: str, bundle: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._pass_on()

        def do_POST(self) -> None:
            self._pass_on()

        def do_PUT(self) -> None:
            self._pass_on()

        def do_DELETE(self) -> None:
            self._pass_on()

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if refusal := gateway.refusal(self.command, self.path):
                status, code = refusal
                text = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>No.</Message></Error>'
                self._answer(status, text.encode(), {"x-ms-error-code": code, "Content-Type": "application/xml"})
                return
            headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            address = upstream.rsplit("/", 1)[0] + self.path
            answer = requests.request(self.command, address, headers=headers, data=body, verify=bundle, timeout=30)
            kept = {
                name: value
                for name, value in answer.headers.items()
                if name.lower() not in ("transfer-encoding", "connection", "keep-alive", "content-length")
            }
            self._answer(answer.status_code, answer.content, kept)

        def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@contextmanager
def gateway(upstream: str, certificate: Certificate, *roles: str) -> Iterator[Gateway]:
    """A running one in front of ``upstream``, an account's URL."""
    running = Gateway(upstream, certificate, *roles)
    threading.Thread(target=running.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield running
    running.server.shutdown()
    running.server.server_close()

"""STANDS IN FOR THE QUEUE SERVICE where it must misbehave as Azurite never does, and for a proxy on the way to it."""

from __future__ import annotations

import base64
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = base64.b64encode(b"a key of thirty-two bytes, or so").decode()


@dataclass
class Reply:
    """
    :ivar status: 0 closes the connection without an answer
    :ivar length: that the answer claims to have; default: its own
    """

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None


@dataclass
class Seen:
    """A request that came in over the ``connection``-th connection."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int


class Service:
    """Answers one after the other of ``replies``, and repeats the last one."""

    def __init__(self, *replies: Reply):
        self.replies = list(replies)
        self.seen: list[Seen] = []
        self.connections = 0
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_address[1]}"

    @property
    def connection_string(self) -> str:
        return f"AccountName=acct;AccountKey={KEY};QueueEndpoint=http://{self.address}/acct"

    def next(self) -> Reply:
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


def _connect(one: socket.socket, other: socket.socket) -> None:
    """Pass on what either sends, until one closes."""
    ends = {one: other, other: one}
    while True:
        for end in select.select(list(ends), [], [])[0]:
            data = end.recv(65536)
            if not data:
                return
            ends[end].sendall(data)


def _handler(service: Service) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            service.connections += 1
            self.number = service.connections

        def handle_one_request(self) -> None:
            # Any method: each is answered alike.
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            if self.command == "CONNECT":
                self._tunnel()
                return
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            service.seen.append(Seen(self.command, self.path, dict(self.headers), body, self.number))
            self._answer(service.next())

        def _answer(self, reply: Reply) -> None:
            is_whole = reply.status and reply.length is None
            self.close_connection = not is_whole or reply.headers.get("Connection") == "close"
            if not reply.status:
                return
            self.send_response_only(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.status != 204:
                self.send_header("Content-Length", str(len(reply.body) if reply.length is None else reply.length))
            self.end_headers()
            self.wfile.write(reply.body)

        def _tunnel(self) -> None:
            service.seen.append(Seen("CONNECT", self.path, dict(self.headers), b"", self.number))
            host, port = self.path.rsplit(":", 1)
            self.close_connection = True
            with socket.create_connection((host, int(port))) as upstream:
                self.send_response(200)
                self.end_headers()
                _connect(self.connection, upstream)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@contextmanager
def service(*replies: Reply) -> Iterator[Service]:
    """A running one."""
    running = Service(*replies)
    threading.Thread(target=running.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield running
    running.server.shutdown()
    running.server.server_close()

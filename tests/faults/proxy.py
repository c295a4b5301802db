"""A proxy between the bridges and one HTTP server, which can hold, delay or cut what passes at a chosen moment.

Nothing in the product knows of it. It understands just enough HTTP to know a request from the next one on the same
connection, so that a test can stop the world between two steps: "Odoo has answered, and the bridge does not know".
"""

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from deploy.local import ports

_CHUNK = 65536
_LENGTH = re.compile(rb"^content-length:\s*(\d+)", re.IGNORECASE | re.MULTILINE)
PASS, CUT = "pass", "cut"


@dataclass
class Passing:
    """What is passing: a whole request, or a piece of the answer to it.

    :ivar port: the client's end of the connection, by which its process can be found
    """

    port: int
    request: bytes
    answer: bytes | None = None


#: Looks at what passes and says PASS or CUT. It may take its time: what passes is held meanwhile.
Rule = Callable[[Passing], str]


@dataclass
class Trap:
    """Holds the first thing that matches until it is told what to do with it."""

    matches: Callable[[Passing], bool]
    caught: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    prey: Passing | None = None
    verdict: str = CUT
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, passing: Passing) -> str:
        if not self.matches(passing):
            return PASS
        with self._lock:
            if self.prey is not None:
                return PASS
            self.prey = passing
        self.caught.set()
        self.released.wait()
        return self.verdict

    def release(self, verdict: str) -> None:
        self.verdict = verdict
        self.released.set()


class Proxy:
    """Listens on a loopback port of its own and passes on to ``target``'s, which may change and need not be there."""

    def __init__(self, target: Callable[[], int]) -> None:
        self._target = target
        self._rules: list[Rule] = []
        self._server = socket.create_server((ports.HOST, ports.choose()), reuse_port=False)
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    @contextlib.contextmanager
    def under(self, rule: Rule) -> Iterator[None]:
        """Everything passes ``rule`` for as long as the block lasts."""
        self._rules.append(rule)
        try:
            yield
        finally:
            self._rules.remove(rule)
            if isinstance(rule, Trap):
                rule.released.set()

    def _judge(self, passing: Passing) -> str:
        return CUT if any(rule(passing) == CUT for rule in list(self._rules)) else PASS

    def _accept(self) -> None:
        while True:
            try:
                client, _address = self._server.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        port = client.getpeername()[1]
        with client, contextlib.suppress(OSError), socket.create_connection((ports.HOST, self._target())) as server:
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            current = Passing(port, b"")
            back = threading.Thread(target=self._carry_answers, args=[server, client, current], daemon=True)
            back.start()
            for request in _requests(client):
                current.request = request
                if self._judge(Passing(port, request)) == CUT:
                    break
                server.sendall(request)
            _shut(server, client)
            back.join()

    def _carry_answers(self, server: socket.socket, client: socket.socket, current: Passing) -> None:
        with contextlib.suppress(OSError):
            while chunk := server.recv(_CHUNK):
                if self._judge(Passing(current.port, current.request, chunk)) == CUT:
                    break
                client.sendall(chunk)
        _shut(server, client)


def _requests(client: socket.socket) -> Iterator[bytes]:
    """The whole requests that come over one connection, one after the other."""
    buffer = b""
    while True:
        while b"\r\n\r\n" not in buffer:
            chunk = client.recv(_CHUNK)
            if not chunk:
                return
            buffer += chunk
        head = buffer.index(b"\r\n\r\n") + 4
        length = _LENGTH.search(buffer, 0, head)
        end = head + (int(length[1]) if length else 0)
        while len(buffer) < end:
            chunk = client.recv(_CHUNK)
            if not chunk:
                return
            buffer += chunk
        yield buffer[:end]
        buffer = buffer[end:]


def _shut(*sockets: socket.socket) -> None:
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)

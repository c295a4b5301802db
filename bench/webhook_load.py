"""Clients that post one request after the other, each over a connection of its own, as ManyChat's do."""

from __future__ import annotations

import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from deploy.local.ports import HOST


@dataclass
class Load:
    """What came of it.

    :ivar seconds: from the first request to the last answer
    :ivar taken: of each answer, in seconds
    :ivar sent: what each accepted request was about, in the order of the answers
    :ivar refused: the first lines of other answers
    """

    seconds: float = 0.0
    taken: list[float] = field(default_factory=list)
    sent: list[Any] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def quantile_ms(self, share: float) -> float:
        """Milliseconds within which that share of the answers came."""
        ordered = sorted(self.taken)
        return 1000 * ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def request(url: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> bytes:
    """A whole POST request, ready to be sent."""
    content = json.dumps(body).encode()
    address = urlsplit(url)
    head = [f"POST {address.path} HTTP/1.1", f"Host: {address.netloc}", "Connection: close"]
    head += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    head += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + content


def post(port: int, content: bytes) -> bytes:
    """Send a request, and return the whole answer."""
    with socket.create_connection((HOST, port), timeout=120) as connection:
        connection.sendall(content)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


def is_ok(answer: bytes) -> bool:
    return answer.split(b" ", 2)[1:2] == [b"200"]


def send(
    port: int,
    clients: int,
    make: Callable[[int], tuple[Any, bytes]],
    *,
    seconds: float | None = None,
    count: int | None = None,
) -> Load:
    """Send requests until the time is over, or until there were ``count``.

    :param make: what the request with this number is about, and the request
    """
    load, lock, numbers = Load(), threading.Lock(), _numbers(count)
    began = time.perf_counter()

    def client() -> None:
        for number in numbers:
            about, content = make(number)
            sent = time.perf_counter()
            if seconds is not None and sent - began > seconds:
                return
            try:
                answer = post(port, content)
            except OSError as error:
                answer = repr(error).encode()
            taken = time.perf_counter() - sent
            with lock:
                if is_ok(answer):
                    load.taken.append(taken)
                    load.sent.append(about)
                else:
                    load.refused.append(answer[:200].decode(errors="replace"))

    threads = [threading.Thread(target=client, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    load.seconds = time.perf_counter() - began
    return load


class _numbers(Iterator[int]):  # noqa: N801 - a generator that several threads may ask
    def __init__(self, count: int | None) -> None:
        self._all = iter(range(count)) if count is not None else itertools.count()

    def __next__(self) -> int:
        return next(self._all)  # one bytecode, so threads do not meet in it

"""systemd's watchdog: the bridge gives it signs of life, and none while a consumer stands still."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge import progress
from bridge.progress import Watch
from bridge.worker import watchdog

from .conftest import PATIENCE, Cli, eventually
from .program import Program


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket on which systemd hears its services."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(PATIENCE)
        yield listening


def variables(systemd: socket.socket, seconds: float) -> dict[str, str]:
    """What systemd sets for a unit with ``WatchdogSec``, but the process id."""
    return {"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": str(int(seconds * 1e6))}


def test_a_bridge_gives_signs_of_life_again_and_again(cli: Cli, systemd: socket.socket, tmp_path: Path) -> None:
    bridge = Program(["run"], {**cli.environment, **variables(systemd, 0.3)}, tmp_path)
    try:
        assert [systemd.recv(100) for _ in range(5)] == [b"WATCHDOG=1"] * 5
    finally:
        bridge.terminate()
        assert bridge.wait(PATIENCE) == 0


def test_a_bridge_that_stands_still_gives_none(systemd: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch()
    consumer = watch.add("contact")
    signs = watchdog.make_thread(watch, variables(systemd, 0.3))
    assert signs is not None
    signs.start()
    try:
        assert systemd.recv(100) == b"WATCHDOG=1"
        monkeypatch.setattr(progress, "STANDSTILL_SECONDS", -1.0)

        def is_silent() -> bool:
            systemd.setblocking(False)
            for _ in range(100):
                try:
                    systemd.recv(100)
                except BlockingIOError:
                    break
            systemd.settimeout(1.0)
            try:
                return not systemd.recv(100)
            except TimeoutError:
                return True

        eventually(is_silent, "the signs end")
        monkeypatch.setattr(progress, "STANDSTILL_SECONDS", 120.0)
        consumer.mark()
        systemd.settimeout(PATIENCE)
        assert systemd.recv(100) == b"WATCHDOG=1"
    finally:
        signs.close()
        signs.join()


@pytest.mark.parametrize(
    "environment",
    [{}, {"NOTIFY_SOCKET": "/nowhere"}, {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}],
    ids=["no systemd", "no watchdog", "another process's"],
)
def test_without_a_watchdog_there_is_no_thread(environment: dict[str, str]) -> None:
    assert os.getpid() != 1
    assert watchdog.make_thread(Watch(), environment) is None

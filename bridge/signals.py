"""What signals mean to the commands that run until they are stopped.

SIGTERM, SIGINT (Ctrl-C), SIGHUP (the terminal or the SSH session ends) and SIGQUIT stop them in order. `nohup` makes a
process ignore SIGHUP, and then it stays ignored. SIGUSR1 and SIGUSR2 mean nothing, and end nothing.
"""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

log = structlog.get_logger()


def stop_signals() -> list[signal.Signals]:
    """The signals that stop this process, without SIGHUP if it was started to outlive its terminal."""
    return [
        number
        for number in _known("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP")
        if number.name != "SIGHUP" or signal.getsignal(number) is not signal.SIG_IGN
    ]


def ignore_meaningless() -> None:
    """Ignore signals that would end the process without a word."""
    for number in _known("SIGUSR1", "SIGUSR2"):
        signal.signal(number, signal.SIG_IGN)


def _known(*names: str) -> list[signal.Signals]:
    # Windows has fewer.
    return [signal.Signals[name] for name in names if name in signal.Signals.__members__]


def stop_on_signals() -> threading.Event:
    """An event that the signals set.

    A thread sets it, and not the signal handler. A handler interrupts the main thread anywhere, also where that holds
    the lock of the event or of the log, and would then wait for this lock for ever.
    """
    stop = threading.Event()
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    # The interpreter writes the number of each signal there by itself. If the buffer is full, enough signals came.
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    ignore_meaningless()
    for number in stop_signals():
        signal.signal(number, lambda *_: None)
    threading.Thread(target=_set_on_signal, args=[stop, reader, writer], name="signals", daemon=True).start()
    return stop


def _set_on_signal(stop: threading.Event, reader: socket.socket, _writer: socket.socket) -> None:
    """Set ``stop`` at the first signal.

    :param _writer: stays open as long as the thread runs
    """
    while number := reader.recv(1):
        if not stop.is_set():
            log.info("stopping", signal=signal.Signals(number[0]).name)
            stop.set()


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Let the signals interrupt the block as Ctrl-C does, so that the terminal gets its screen and cursor back."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    ignore_meaningless()
    before = {number: signal.signal(number, interrupt) for number in stop_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

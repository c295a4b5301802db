"""``python -m bridge run``."""

from __future__ import annotations

import signal
import socket
import sys
import threading

import structlog

from ..worker import process
from .console import Queues, load_settings, queue_names

log = structlog.get_logger()


def run(queue: Queues = None) -> None:
    """Receive events from the queues and apply them, until stopped (Ctrl-C or SIGTERM).

    Run as many bridges as the load needs, on one machine or many. While SQL, Odoo or the queue is down, a bridge waits,
    and it goes on by itself. A stop finishes the events in hand.
    """
    sys.exit(process.run(load_settings(), queue_names(queue), stop_on_signals()))


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set.

    A thread sets it, and not the signal handler. A handler interrupts the main thread anywhere, also where that holds
    the lock of the event or of the log, and would then wait for this lock for ever.
    """
    stop = threading.Event()
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    # The interpreter writes the number of each signal there by itself. If the buffer is full, enough signals came.
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
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

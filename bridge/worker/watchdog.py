"""Signs of life for systemd. Its unit kills and restarts a bridge that gives none for ``WatchdogSec``.

The protocol is that of sd_notify(3): a datagram to the socket that ``NOTIFY_SOCKET`` names. Without systemd, or without
``WatchdogSec``, nothing happens.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from functools import partial

import structlog

from ..progress import Watch
from .periodic import PeriodicThread

log = structlog.get_logger()

#: Signs within the time that systemd waits for one.
SIGNS = 3


def make_thread(watch: Watch, environment: Mapping[str, str] = os.environ) -> PeriodicThread | None:
    """The thread that gives the signs as long as no consumer of ``watch`` stands still.

    :return: None if systemd waits for none from this process
    """
    address, microseconds = environment.get("NOTIFY_SOCKET"), environment.get("WATCHDOG_USEC", "")
    # A process that systemd's process started has inherited the variables.
    own = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    if not (address and microseconds.isdigit() and own):
        return None
    interval = int(microseconds) / 1e6 / SIGNS
    return PeriodicThread("watchdog", partial(_give_sign, watch, address), interval, at_once=True)


def _give_sign(watch: Watch, address: str) -> None:
    if stuck := watch.standing_still():
        log.critical("stands_still", queues=sorted(stuck))
        return
    # "@" is how systemd writes the first byte of an address outside the file system.
    path = f"\0{address[1:]}" if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
        connection.sendto(b"WATCHDOG=1", path)

"""Telling Odoo that a bridge is alive, so that its users see when none is; and hearing what they gave up there."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Mapping

import structlog

from .. import __version__
from ..errors import OdooRefused, Outage
from ..log import kind
from ..odoo import Odoo

log = structlog.get_logger()

#: Seconds between two signs of life: agreed with the addon, which calls a bridge silent after minutes.
INTERVAL = 30
#: The same after one that failed: Odoo just back should not call us silent for longer than need be.
INTERVAL_FAILING = 5


class Heartbeat(threading.Thread):
    """Calls ``manychat.bridge.heartbeat`` until closed. A failure is said once, and matters to nobody else."""

    def __init__(self, odoo: Odoo, on_discarded: Callable[[Mapping[str, int]], None], interval: float = INTERVAL):
        """
        :param on_discarded: takes what :meth:`bridge.odoo.Odoo.heartbeat` returns, unless that is nothing
        :param interval: seconds
        """
        super().__init__(name="heartbeat", daemon=True)
        self._odoo = odoo
        self._on_discarded = on_discarded
        self._interval = interval
        self._closing = threading.Event()

    def close(self) -> None:
        """Send no more; a beat under way is not waited for."""
        self._closing.set()

    def run(self) -> None:
        name = f"{socket.gethostname()}/{os.getpid()}"
        failing = False
        while True:
            try:
                discarded = self._odoo.heartbeat(name, __version__)
                if discarded:
                    self._on_discarded(discarded)
            except (Outage, OdooRefused) as error:
                if not failing:
                    log.warning("heartbeat_failing", error=kind(error))
                failing = True
            else:
                if failing:
                    log.info("heartbeat_resumed")
                failing = False
            if self._closing.wait(min(self._interval, INTERVAL_FAILING) if failing else self._interval):
                return

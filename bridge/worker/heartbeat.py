"""The heartbeat: shows Odoo that a bridge is alive, and brings back what Odoo users decided."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from .. import __version__
from ..contract.agreements import HEARTBEAT_INTERVAL
from ..odoo import HeartbeatAnswer, Odoo
from ..progress import Watch

#: Seconds between two heartbeats.
INTERVAL = HEARTBEAT_INTERVAL.total_seconds()
#: The same after a failed heartbeat, so that an Odoo that is back does not count the bridge as silent for long.
FAILING_INTERVAL = 5


def send_heartbeat(odoo: Odoo, watch: Watch, take: Callable[[HeartbeatAnswer], None]) -> None:
    """Call ``manychat.bridge.heartbeat``.

    :param watch: the consumers: a bridge with one that stands still does not count as alive
    :param take: gets what Odoo answers
    :raises bridge.errors.Outage: Odoo is down
    :raises bridge.errors.OdooRefused:
    """
    take(odoo.heartbeat(f"{socket.gethostname()}/{os.getpid()}", __version__, sorted(watch.standing_still())))

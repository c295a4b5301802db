"""The heartbeat: shows Odoo that a bridge is alive, and that it ends; and brings back what Odoo users decided."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable

from .. import __version__
from ..contract.agreements import HEARTBEAT_INTERVAL
from ..errors import OdooRefused, Outage
from ..odoo import Odoo
from ..odoo_answers import HeartbeatAnswer
from ..progress import Watch
from .write_back.readiness import WriteBackReport

#: Seconds between two heartbeats.
INTERVAL = HEARTBEAT_INTERVAL.total_seconds()
#: The same after a failed heartbeat, so that an Odoo that is back does not count the bridge as silent for long.
FAILING_INTERVAL = 5
#: Seconds that a process waits at its end until Odoo knows of it. Without that, Odoo counts it as silent later.
SIGN_OFF_SECONDS = 3.0


def process_name() -> str:
    """The name under which Odoo knows this process."""
    return f"{socket.gethostname()}/{os.getpid()}"


def send_heartbeat(
    odoo: Odoo,
    watch: Watch,
    take: Callable[[HeartbeatAnswer], None],
    write_back: WriteBackReport | None = None,
) -> None:
    """Call ``manychat.bridge.heartbeat``.

    :param watch: the consumers: a bridge with one that stands still does not count as alive
    :param take: gets what Odoo answers
    :param write_back: whether this process can write to ManyChat; ``None``: it never does
    :raises bridge.errors.Outage: Odoo is down
    :raises bridge.errors.OdooRefused:
    """
    state = write_back.state() if write_back else None
    answer = odoo.heartbeat(process_name(), __version__, sorted(watch.standing_still()), state and state.value)
    if write_back:
        write_back.take(answer)
    take(answer)


def sign_off(odoo: Odoo, heartbeats: threading.Thread) -> None:
    """Tell Odoo that this process ends, so that it does not count as running until its heartbeat is missed.

    :param heartbeats: the thread that sends them, closed: one under way would revive the process
    """

    def work() -> None:
        heartbeats.join()
        with contextlib.suppress(Outage, OdooRefused):
            odoo.sign_off(process_name())

    # A daemon: an Odoo that does not answer must not keep the process from ending.
    telling = threading.Thread(target=work, name="sign_off", daemon=True)
    telling.start()
    telling.join(SIGN_OFF_SECONDS)

"""``python -m bridge run``."""

from __future__ import annotations

import sys

from .console import load_settings
from .queues import Queues, queue_names


def run(queue: Queues = None) -> None:
    """Receive events from the queues and apply them, until stopped (Ctrl-C, SIGTERM, SIGHUP or SIGQUIT).

    Run as many bridges as the load needs, on one machine or many. While SQL, Odoo or the queue is down, a bridge waits,
    and it goes on by itself. A stop finishes the events in hand.
    """
    from ..signals import stop_on_signals
    from ..worker import process

    sys.exit(process.run(load_settings(), queue_names(queue), stop_on_signals()))

"""Odoo's cron threads, which run the relay: without them, every event would wait for ever.

When PostgreSQL restarts, Odoo 18 without workers loses them: ``ThreadedServer.cron_thread`` ends with the connection
on which it listens, and Odoo does not start it again. Odoo 19 and servers with workers do.
"""

import logging
import threading

from odoo.service import server
from odoo.tools import config

_logger = logging.getLogger(__name__)
_lock = threading.Lock()


def restart_if_dead():
    """Start this server's cron threads again if they have died."""
    running = server.server
    if not isinstance(running, server.ThreadedServer) or not config["max_cron_threads"]:
        return
    with _lock:
        if running.httpd and not any(thread.name.startswith("odoo.service.cron.") for thread in threading.enumerate()):
            _logger.warning("Odoo's cron threads have died, as they do when PostgreSQL restarts. Starting them again.")
            running.cron_spawn()

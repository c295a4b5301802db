"""A thread that does the work of our scheduled actions while Odoo runs none.

They may be archived, ``max_cron_threads`` may be 0, or the server that runs them may be down. Webhooks and heartbeats
notice it and start the thread after their commit: events then go on, and a user is alerted.
"""

import logging
import threading
import time

from odoo import SUPERUSER_ID, api, sql_db
from odoo.modules.registry import Registry

_logger = logging.getLogger(__name__)

#: Seconds between two runs of the jobs that need not run for each event.
MINUTE = 60

_lock = threading.Lock()
_running = {}  # database → whether to run once more: something was committed meanwhile
_checked = {}  # database → moment (time.monotonic) of the last run of the other jobs


def run_after_commit(cr):
    """Do the work of the jobs after the commit of ``cr``: at most one thread for each database of this process."""
    # A cursor of a test over HTTP never commits, and all cursors of its process are one.
    if isinstance(cr, sql_db.Cursor):
        database = cr.dbname
        cr.postcommit.add(lambda: _start(database))


def _start(database):
    with _lock:
        is_running = database in _running
        _running[database] = is_running
        if not is_running:
            threading.Thread(target=_run, args=[database], name="manychat-jobs", daemon=True).start()


def _run(database):
    while True:
        try:
            with Registry(database).cursor() as cr:
                env = api.Environment(cr, SUPERUSER_ID, {})
                env["manychat.event"]._cron_relay()
                if time.monotonic() - _checked.get(database, -MINUTE) >= MINUTE:
                    _checked[database] = time.monotonic()
                    env["manychat.stage.alias"]._cron_release()
                    env["manychat.alert"]._cron_check()
                    env["manychat.waiting"]._cron_waiting()
                    env["manychat.resend"]._cron_resend()
                    env["manychat.event"]._cron_retention()
        except Exception as error:
            # The next webhook or heartbeat starts it again.
            _logger.warning("The work of the scheduled actions failed: %s", type(error).__name__)
        with _lock:
            if not _running[database]:
                del _running[database]
                return
            _running[database] = False

"""A thread that sends what a transaction has left in the outbox: in the same process, as soon as it has committed.

The scheduled action of the relay is the net: each minute it takes what a process left that was killed. While Odoo runs
no scheduled actions (they may be archived, ``max_cron_threads`` may be 0, or the server that runs them may be down),
the thread does the work of our other ones too: events go on, and a user is alerted.
"""

import logging
import threading
import time

from odoo import SUPERUSER_ID, api, sql_db
from odoo.modules.registry import Registry

from bridge.errors import BadQueueAccount

from . import cron_threads

_logger = logging.getLogger(__name__)

#: The scheduled action.
RELAY_JOB = "miasalud_crm.cron_relay"
#: Seconds before the second round, before the third, and so on, of a thread that is woken again and again: a single
#: event goes at once, and under load a round takes together what has come meanwhile.
PAUSES = (0.01, 0.02, 0.05, 0.1, 0.2)
#: Seconds before each new try while the queue or the database cannot be used; before all later ones, the last of them.
WAITS = (1, 2, 5, 10)
#: Tries while the database cannot be used: it may be gone for good.
TRIES = 6
#: Seconds between two looks at the scheduled actions.
MINUTE = 60

_lock = threading.Lock()
_threads = {}  # database → the thread
_woken = set()  # databases with commits for which their thread has not looked yet
_looked = {}  # database → moment (time.monotonic) of the last look at the scheduled actions


def wake_after_commit(cr):
    """Wake the thread of this database after the commit of ``cr``. It costs no query."""
    # A cursor of a test over HTTP never commits, and all cursors of its process are one.
    if isinstance(cr, sql_db.Cursor):
        database = cr.dbname
        cr.postcommit.add(lambda: wake(database))


def wake(database):
    """Start the thread, or let the running one look again: each process has one at most for each database."""
    with _lock:
        _woken.add(database)
        # Asked, because no thread survives a fork.
        if database in _threads and _threads[database].is_alive():
            return
        thread = threading.Thread(target=_run, args=[database], name="manychat-relay", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            # The event is committed, and the answer must say so.
            _logger.error("The relay's thread does not start (%s). The scheduled action sends the events.", error)
        else:
            _threads[database] = thread


def _run(database):
    threading.current_thread().dbname = database  # for Odoo's log
    rounds = failed = 0
    while True:
        _woken.discard(database)
        try:
            works = _work(database)
        except Exception as error:
            _logger.warning("The relay's thread failed: %s", type(error).__name__)
            works = failed + 1 >= TRIES
        failed = 0 if works else failed + 1
        with _lock:
            if works and database not in _woken:
                del _threads[database]
                return
        rounds += 1
        pauses, number = (WAITS, failed) if failed else (PAUSES, rounds)
        time.sleep(pauses[min(number, len(pauses)) - 1])


def _work(database):
    """Send what waits.

    :return bool: whether that worked; if not, events wait for the queue
    """
    with Registry(database).cursor() as cr:
        env = api.Environment(cr, SUPERUSER_ID, {})
        try:
            works = env["manychat.event"]._relay()
        except BadQueueAccount:
            # No new try mends it. The server that runs the scheduled actions may have other settings.
            env["manychat.event"]._leave_to_job()
            works = True
        if time.monotonic() - _looked.get(database, -MINUTE) >= MINUTE:
            _looked[database] = time.monotonic()
            _look_at_jobs(env)
        return works


def _look_at_jobs(env):
    cron_threads.restart_if_dead()
    if env["ir.cron"]._manychat_stopped([RELAY_JOB]):
        env["manychat.stage.alias"]._cron_release()
        env["manychat.alert"]._cron_check()
        env["manychat.waiting"]._cron_waiting()
        env["manychat.resend"]._cron_resend()
        env["manychat.event"]._cron_retention()

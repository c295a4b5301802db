"""The Azure queues as the addon uses them: filled by the relay, watched by health route, checklist and settings."""

import logging
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

from bridge.contract.payloads import DEAD_LETTER_QUEUE, QUEUES
from bridge.errors import (
    BadQueueAccount,
    ConfigurationError,
    QueueDenied,
    QueueMissing,
    QueueRightMissing,
    QueueUnavailable,
)
from bridge.queue import Queue
from bridge.queue.account import choose, is_url

from . import configuration

# The SDK would write two lines about each request.
logging.getLogger("azure").setLevel(logging.WARNING)

#: Messages sent at once. A send waits for the network nearly all its time. Each thread takes 72 MB of the address space
#: that Odoo's ``limit_memory_soft`` counts.
RELAY_CONNECTIONS = 4
#: Seconds. A longer wait would hold the cron worker while Azure is down.
READ_TIMEOUT = 5
#: Seconds after which an idle connection is not used again: firewalls and load balancers forget it without a word,
#: Azure's after four minutes, and a put over it would wait for its time-out.
#: https://learn.microsoft.com/azure/load-balancer/load-balancer-tcp-reset
IDLE = 60
#: Largest age in seconds of a report. Pages that follow the state ask every few seconds, in several browsers.
FRESH = 5

_lock = threading.Lock()
_latest = {}  # account → (moment by time.monotonic, report): the latest report only


class Queues:
    """The Azure queues, over a few connections that stay open.

    :ivar work: whether the latest puts arrived
    """

    def __init__(self, account):
        """
        :param account: see :func:`queue_account`
        :raises BadQueueAccount: it is no account, or a library is missing that it needs
        """
        self.work = True
        self._used = time.monotonic()
        self._queues = {
            # Without retries: the cron job is the retry.
            name: Queue(account, name, read_seconds=READ_TIMEOUT, retries=0)
            for name in (*QUEUES.values(), DEAD_LETTER_QUEUE)
        }
        self.pool = ThreadPoolExecutor(RELAY_CONNECTIONS, thread_name_prefix="manychat-relay")

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.pool.shutdown()
        for queue in self._queues.values():
            queue.close()

    def put(self, queue, content):
        """Put ``content`` on ``queue``, and create the queue if it does not exist.

        :raises MessageRefused: the queue takes no message like this
        :raises QueueUnavailable: the queue service cannot be used
        """
        self._used = time.monotonic()
        try:
            self._queues[queue].send_or_create(content)
        except QueueUnavailable:
            self._queues[queue].close()  # the next put goes over a new connection
            raise

    def close_idle(self):
        """Close the connections if none was used lately."""
        if time.monotonic() - self._used > IDLE:
            for queue in self._queues.values():
                queue.close()

    def depths(self):
        """The approximate number of messages by queue. A queue of events that does not exist is created.

        :raises QueueRightMissing: it may not be created; or another right is missing
        :raises QueueUnavailable: the queue service cannot be used
        """
        return dict(zip(self._queues, self.pool.map(_depth, self._queues.values()), strict=True))


def kept_queues(account):
    """The queues of ``account``. Their connections stay open from one run of the relay to the next.

    :raises BadQueueAccount: see :class:`Queues`
    """
    queues = _kept(account, os.getpid())  # no process inherits threads or connections
    queues.close_idle()
    return queues


@lru_cache(maxsize=1)
def _kept(account, _process):
    return Queues(account)


def _depth(queue):
    try:
        return queue.depth()
    except QueueMissing:
        # As its first event would. Odoo puts nothing on that of dead letters.
        if queue.name != DEAD_LETTER_QUEUE:
            queue.create()
        return 0


def is_neutralized(env):
    """Whether the database is a neutralized copy, made by ``odoo neutralize`` or by the database manager."""
    return bool(env["ir.config_parameter"].sudo().get_param("database.is_neutralized"))


def queue_account(env):
    """Where the queues are: a connection string, or the URL of an account; empty if neither is set.

    It is a setting of the server, so a copy of the database on the same server has it, too. A neutralized copy gets
    none: its events must not reach the production queue.

    :raises BadQueueAccount: both are set, or one is wrong
    """
    if is_neutralized(env):
        return ""
    names = configuration.QUEUE_SETTINGS
    try:
        return choose(*map(configuration.get, names), names)
    except ConfigurationError as error:
        raise BadQueueAccount(str(error)) from None


def queue_report(env):
    """Ask the queue service. This takes some seconds at most, see :data:`READ_TIMEOUT`.

    :return dict: ``status``: ``ok``, ``neutralized`` (the database is a copy that uses no queue), ``not_configured``,
        ``refused`` (the key or the identity is not accepted), ``not_allowed`` (it lacks a right), ``malformed`` (the
        setting itself is wrong) or ``unreachable``; with ``ok`` also ``depth``: messages by queue; with the last four
        also ``error``: what went wrong, and ``login``: ``key`` or ``identity``
    """
    login = "key"
    try:
        account = queue_account(env)
        if not account:
            return {"status": "neutralized" if is_neutralized(env) else "not_configured"}
        login = "identity" if is_url(account) else "key"
        with Queues(account) as queues:
            return {"status": "ok", "depth": queues.depths()}
    except QueueRightMissing as error:
        return {"status": "not_allowed", "error": str(error), "login": login}
    except QueueDenied as error:
        return {"status": "refused", "error": str(error), "login": login}
    except QueueUnavailable as error:
        return {"status": "unreachable", "error": str(error), "login": login}
    except BadQueueAccount as error:
        return {"status": "malformed", "error": str(error), "login": login}


def recent_queue_report(env):
    """The latest :func:`queue_report`, if it is at most :data:`FRESH` seconds old; else a new one.

    While one request waits for a queue that does not answer, the other requests get the report from before.
    """
    try:
        account = queue_account(env)
    except BadQueueAccount:
        account = ""
    if not account:
        return queue_report(env)
    asked, report = _latest.get(account, (None, None))
    if report and time.monotonic() - asked < FRESH:
        return report
    if not _lock.acquire(blocking=report is None):
        return report
    try:
        asked, report = _latest.get(account, (None, None))
        if not report or time.monotonic() - asked >= FRESH:
            report = queue_report(env)
            _latest.clear()  # do not keep an old secret
            _latest[account] = (time.monotonic(), report)
        return report
    finally:
        _lock.release()

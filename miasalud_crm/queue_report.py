"""How the queue is doing, for everybody who asks: the health route, the checklist, the settings' button."""

import threading
import time

from azure.core.exceptions import AzureError, ClientAuthenticationError

from bridge.events import CAMPAIGN_QUEUE, CONTACT_QUEUE, DEAD_LETTER_QUEUE, OPPORTUNITY_QUEUE

from . import configuration
from .models.manychat_event import Queues

#: Pages that follow the state ask every few seconds, and in several browsers: this old an answer, in seconds, will do.
FRESH = 5

_lock = threading.Lock()
_latest = {}  # connection string → (moment by time.monotonic, report); the one asked last


def queue_report():
    """Ask the queue service, which takes as long as :class:`Queues` waits for it at most (some seconds).

    :return dict: ``status``: ``ok``, ``not_configured``, ``refused`` (the key in the connection string is wrong),
        ``malformed`` (the connection string itself is) or ``unreachable``; with ``ok`` also ``depth``: messages by
        queue; else ``error``: the name of what went wrong
    """
    connection_string = configuration.get("queue_connection_string")
    if not connection_string:
        return {"status": "not_configured"}
    try:
        with Queues(connection_string) as queues:
            names = (CONTACT_QUEUE, CAMPAIGN_QUEUE, OPPORTUNITY_QUEUE, DEAD_LETTER_QUEUE)
            return {"status": "ok", "depth": dict(zip(names, queues.pool.map(queues.depth, names), strict=True))}
    except ClientAuthenticationError as error:
        return {"status": "refused", "error": type(error).__name__}
    except AzureError as error:
        return {"status": "unreachable", "error": type(error).__name__}
    except ValueError as error:
        return {"status": "malformed", "error": type(error).__name__}


def recent_queue_report():
    """Like :func:`queue_report`, but at most :data:`FRESH` seconds old instead of new.

    While one request waits for a queue that does not answer, the others get what was known before.
    """
    connection_string = configuration.get("queue_connection_string")
    asked, report = _latest.get(connection_string, (None, None))
    if report and time.monotonic() - asked < FRESH:
        return report
    if not _lock.acquire(blocking=report is None):
        return report
    try:
        asked, report = _latest.get(connection_string, (None, None))
        if not report or time.monotonic() - asked >= FRESH:
            report = queue_report()
            _latest.clear()  # keeps no old secret
            _latest[connection_string] = (time.monotonic(), report)
        return report
    finally:
        _lock.release()

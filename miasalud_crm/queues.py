"""The Azure queues, as the relay fills them, and how they are doing, for the health route, checklist and settings."""

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.storage.queue import QueueServiceClient

from bridge.contract.payloads import CAMPAIGN_QUEUE, CONTACT_QUEUE, DEAD_LETTER_QUEUE, OPPORTUNITY_QUEUE

from . import configuration

#: Puts under way at once. A put waits for the network nearly all its time.
RELAY_CONNECTIONS = 8
#: Seconds. The SDK's own defaults would hold the cron worker for 85 s when Azure is down.
CONNECT_TIMEOUT, READ_TIMEOUT = 3, 5
#: Pages that follow the state ask every few seconds, and in several browsers: this old an answer, in seconds, will do.
FRESH = 5

_lock = threading.Lock()
_latest = {}  # connection string → (moment by time.monotonic, report); the one asked last


class Queues:
    """The Azure queues, over a few connections kept open for one run of the relay."""

    def __init__(self, connection_string):
        self.pool = ThreadPoolExecutor(RELAY_CONNECTIONS, thread_name_prefix="manychat-relay")
        self._service = QueueServiceClient.from_connection_string(
            connection_string,
            retry_total=0,  # the cron job is the retry
            connection_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
        )
        self._clients = {}

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.pool.shutdown()
        self._service.close()

    def put(self, queue, content):
        """Put ``content`` on ``queue``, for ever (time-to-live −1), creating the queue if it is missing."""
        client = self._clients.get(queue) or self._clients.setdefault(queue, self._service.get_queue_client(queue))
        try:
            client.send_message(content, time_to_live=-1)
        except ResourceNotFoundError:
            with contextlib.suppress(ResourceExistsError):
                client.create_queue()
            client.send_message(content, time_to_live=-1)

    def depth(self, queue):
        """About how many messages are on ``queue``; 0 if it does not exist yet.

        :raises AzureError: the queue service does not answer
        """
        try:
            return self._service.get_queue_client(queue).get_queue_properties().approximate_message_count
        except HttpResponseError as error:
            if error.status_code == 404:
                return 0
            raise


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

"""Requests without a valid key, counted in memory first: a flood of them must not become a flood of writes.

The first one is written at once, so that people see it. Those that follow within seconds are written together, by a
timer or by the next one.
"""

import logging
import threading
import time
from collections import OrderedDict

from odoo import SUPERUSER_ID, api, fields, sql_db
from odoo.modules.registry import Registry

_logger = logging.getLogger(__name__)

#: Seconds between two writes of a process.
INTERVAL = 2.0
#: Different counts that wait for a write. What comes beyond them is counted without its address and its prefix.
MOST = 200

_FAILED = "Requests without a valid key could not be counted: %s"

_lock = threading.Lock()
_waiting = {}  # database → OrderedDict of counts: see `note`
_written = {}  # database → moment (time.monotonic) of the last write
_timers = {}  # database → the running timer


def note(database, address, path, reason, prefix="", key_name=""):
    """Count one request, in memory.

    :param str address: of the client, as Odoo knows it
    :param str reason: a value of ``manychat.wrong.key.reason``
    :param str prefix: the beginning of the key, or ""
    :param str key_name: name of the key that has this beginning, or ""
    """
    now = fields.Datetime.to_string(fields.Datetime.now())
    with _lock:
        counts = _waiting.setdefault(database, OrderedDict())
        what = (now[:10], address, prefix, reason)
        if what not in counts and len(counts) >= MOST and not key_name:
            what = (now[:10], "", "", reason)
        count = counts.setdefault(what, {"count": 0, "first_at": now, "key_name": key_name})
        count["count"] += 1
        count.update(last_at=now, path=path)


def write_if_due(cr):
    """Write what waits, now or, if that happened a moment ago, in a moment.

    :param cr: of a request that has written nothing
    """
    with _lock:
        is_due = time.monotonic() - _written.get(cr.dbname, -INTERVAL) >= INTERVAL
    if is_due:
        cr.rollback()  # the statement sees what other processes wrote since this request began
        try:
            write(api.Environment(cr, SUPERUSER_ID, {}))
        except Exception as error:  # the bot gets its 401 whatever becomes of the count
            cr.rollback()
            _logger.warning(_FAILED, type(error).__name__)
    elif isinstance(cr, sql_db.Cursor):  # all cursors of a test over HTTP are one
        _write_later(cr.dbname)


def write(env):
    """Write all that waits. What cannot be written now, because another process is writing, waits on."""
    database = env.cr.dbname
    with _lock:
        counts = _waiting.pop(database, None)
        _written[database] = time.monotonic()
    if not counts:
        return
    rows = [
        {"day": day, "address": address, "prefix": prefix, "reason": reason, **count}
        for (day, address, prefix, reason), count in counts.items()
    ]
    if not env["manychat.wrong.key"]._add(rows):
        _keep(database, counts)


def forget():
    """Forget everything, for tests."""
    with _lock:
        _waiting.clear()
        _written.clear()


def _keep(database, counts):
    with _lock:
        waiting = _waiting.setdefault(database, OrderedDict())
        for what, count in counts.items():
            newer = waiting.setdefault(what, {**count, "count": 0})
            newer["count"] += count["count"]
            newer["first_at"] = min(newer["first_at"], count["first_at"])


def _write_later(database):
    with _lock:
        if database not in _timers:
            timer = _timers[database] = threading.Timer(INTERVAL, _write_now, [database])
            timer.daemon = True
            timer.start()


def _write_now(database):
    with _lock:
        _timers.pop(database, None)
    try:
        with Registry(database).cursor() as cr:
            write(api.Environment(cr, SUPERUSER_ID, {}))
    except Exception as error:
        _logger.warning(_FAILED, type(error).__name__)
    with _lock:
        is_waiting = bool(_waiting.get(database))
    if is_waiting:
        _write_later(database)

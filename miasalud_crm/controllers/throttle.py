"""Slows down callers who guess keys. Whoever has a valid key never comes here: a refused event is a patient lost."""

import math
import threading
import time
from collections import OrderedDict, deque

#: Wrong keys that an address may try within :data:`WINDOW` seconds, in each Odoo worker.
TRIES = 10
WINDOW = 60
#: Addresses remembered; of more than that the ones longest silent are forgotten, so that memory stays small.
ADDRESSES = 10_000

_wrong_keys = OrderedDict()  # address → moments (monotonic seconds) of its latest wrong keys
_lock = threading.Lock()


def wrong_key(address):
    """Count one wrong key of ``address``.

    In memory and not in the database: an attacker's requests must not become writes. A library would be one more
    package beside Odoo's pinned ones, for these few lines.

    :return int: 0, or the seconds after which the address may try again
    """
    now = time.monotonic()
    with _lock:
        moments = _wrong_keys.setdefault(address, deque(maxlen=TRIES))
        _wrong_keys.move_to_end(address)
        if len(_wrong_keys) > ADDRESSES:
            _wrong_keys.popitem(last=False)
        if len(moments) == TRIES and now - moments[0] < WINDOW:
            return math.ceil(WINDOW - (now - moments[0]))
        moments.append(now)
        return 0


def forget():
    """Start anew, for tests."""
    with _lock:
        _wrong_keys.clear()

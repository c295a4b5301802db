"""A brake on guessing keys, for both webhooks."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict, deque


class Throttle:
    """Slow down addresses that send wrong keys. Requests with a valid key never come here: each one is a patient.

    In memory, because an attacker's requests must not become writes to a database. A library would be one more package
    beside Odoo's pinned ones.
    """

    #: Wrong keys that an address may try within :data:`WINDOW` seconds, in each process.
    TRIES = 10
    WINDOW = 60
    #: Addresses remembered. The one that was silent longest is forgotten first, so that memory stays small.
    ADDRESSES = 10_000

    def __init__(self) -> None:
        # address → moments (monotonic seconds) of its latest wrong keys
        self._wrong_keys: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def wrong_key(self, address: str) -> int:
        """Count one wrong key of ``address``.

        :return: 0, or the seconds after which the address may try again
        """
        now = time.monotonic()
        with self._lock:
            moments = self._wrong_keys.setdefault(address, deque(maxlen=self.TRIES))
            self._wrong_keys.move_to_end(address)
            if len(self._wrong_keys) > self.ADDRESSES:
                self._wrong_keys.popitem(last=False)
            if len(moments) == self.TRIES and now - moments[0] < self.WINDOW:
                return math.ceil(self.WINDOW - (now - moments[0]))
            moments.append(now)
            return 0

    def forget(self) -> None:
        """Forget every address, for tests."""
        with self._lock:
            self._wrong_keys.clear()

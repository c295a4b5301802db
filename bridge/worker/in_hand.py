"""The people whose events a process has in hand: it works on those of one person in one batch at a time.

Two batches with events of one person would meet in Odoo, on one opportunity. Odoo would apply the one and answer
``retry`` for the other; for a new person it would try to create the opportunity twice. Between processes that is how it
goes. Within one process the later batch waits for the earlier one instead, with the events of that person only.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager

#: Seconds that a batch waits for another one. A batch of 32 takes less; one that takes longer must not hold up others.
PATIENCE = 1.0


class PeopleInHand:
    """The people of the batches of one queue. Its consumers share it."""

    def __init__(self) -> None:
        self._released = threading.Condition()
        self._people: set[str] = set()

    @contextmanager
    def claim(self, people: Collection[str]) -> Iterator[set[str]]:
        """Claim those of ``people`` that no other batch has, until the block ends.

        Wait for the first ones if others have them all. The caller has claimed nothing else, so that two callers can
        never wait for each other.

        :return: the claimed ones; none if others have them all for long
        """
        with self._released:
            self._released.wait_for(lambda: set(people) - self._people, PATIENCE)
            mine = set(people) - self._people
            self._people |= mine
        try:
            yield mine
        finally:
            with self._released:
                self._people -= mine
                self._released.notify_all()

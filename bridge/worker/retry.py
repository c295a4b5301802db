"""When a failed event is tried again, and when it is given up.

An outage is no failure (see ``bridge.circuit_breaker``); only what is the event's own fault comes here.
"""

from __future__ import annotations

import random

from ..results import Failure

#: Seconds before the second attempt; doubles with each further one, up to the last value.
FIRST_DELAY = 2
LAST_DELAY = 300
#: Seconds before an event comes again that others' work kept from being applied.
POSTPONED_DELAY = 1


def is_given_up(failure: Failure, attempts: int, max_attempts: int) -> bool:
    """
    :param attempts: made so far, this one included
    """
    return failure.permanent or attempts >= max_attempts


def delay(attempts: int) -> int:
    """Seconds until the next attempt: exponential, and random, so that what failed together does not return together.

    :param attempts: made so far
    """
    full = min(FIRST_DELAY * 2 ** (attempts - 1), LAST_DELAY)
    return max(1, round(random.uniform(full / 2, full)))  # noqa: S311 (not for security)

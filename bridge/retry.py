"""Every back-off of the bridge by name, as a tenacity wait policy; and when a failed event is given up.

An outage is not a failure of the event (see :mod:`bridge.circuit_breaker`): it never counts as an attempt.
"""

from __future__ import annotations

from tenacity import (
    RetryCallState,
    Retrying,
    wait_chain,
    wait_exponential,
    wait_fixed,
    wait_random,
    wait_random_exponential,
)
from tenacity.wait import wait_base

from .contract.agreements import FIRST_RETRY, LAST_RETRY
from .results import Failure

#: Seconds before the second attempt of a failed event. Doubles with each further attempt, up to the last value.
FIRST_DELAY = FIRST_RETRY.total_seconds()
LAST_DELAY = LAST_RETRY.total_seconds()
#: A failed event. Half of the delay is random, so that events that failed together do not return together.
FAILED_EVENT = wait_exponential(multiplier=FIRST_DELAY / 2, max=LAST_DELAY / 2) + wait_random_exponential(
    multiplier=FIRST_DELAY / 2, max=LAST_DELAY / 2
)
#: Seconds before an event comes again that met a conflict in Odoo.
CONFLICT_DELAY = 1

#: Between two calls to Odoo, when another transaction there holds the same opportunities. Milliseconds: if Odoo itself
#: repeated its transaction, it would sleep for seconds, and block one of its workers meanwhile.
ODOO_CONFLICT = wait_random(0.020, 0.200)
#: After so many calls the events go back to the queue for :data:`CONFLICT_DELAY`. With all its pauses that takes half
#: a second, and another batch holds its opportunities for less.
ODOO_CONFLICT_CALLS = 6
#: The same for events that come from no queue.
ODOO_CONFLICT_LAST_CALLS = 20
#: Between two calls to Odoo that broke off while Odoo answers empty calls. One broken call says little (Odoo recycled a
#: worker), and a short fault of a proxy must not use up an event's attempts.
ODOO_BROKEN_CALL = wait_exponential(multiplier=0.3)
ODOO_BROKEN_CALLS = 3

#: Between two probes of a dependency that is down. Random, so that several bridges do not all call a server at the
#: moment when it comes up.
PROBE = wait_random_exponential(multiplier=0.5, max=30)
#: Before the first probe of a dependency that failed right after a successful probe.
RELAPSE = wait_exponential(multiplier=1, max=30)

#: Between two runs of a SQL transaction that met another one on the same rows. Each conflict means that the other one
#: committed: of eight that write one row under SNAPSHOT, one gets through and seven run again. So 25 runs can be too
#: few for one of them (7/8 to the power of 25 is 4 %); 150 all fail once in hundreds of millions.
SQL_CONFLICT = wait_random_exponential(multiplier=0.010, max=0.250)
SQL_CONFLICT_RUNS = 150
#: Between two runs of a SQL transaction that met a transient fault of the server. A longer fault is an outage.
SQL_TRANSIENT = wait_chain(wait_fixed(0.2), wait_fixed(1.0), wait_fixed(3.0))
SQL_TRANSIENT_RUNS = 4


def seconds(policy: wait_base, attempt: int) -> float:
    """Pause after an attempt, for callers that do not wait by tenacity.

    :param attempt: number of the attempt, from 1
    """
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = attempt
    return float(policy(state))


def delay(attempts: int) -> int:
    """Seconds until the next attempt of a failed event.

    :param attempts: made so far
    """
    return max(1, round(seconds(FAILED_EVENT, attempts)))


def is_given_up(failure: Failure, attempts: int, max_attempts: int) -> bool:
    """Whether the event is not tried again.

    :param attempts: made so far, this one included
    """
    return failure.permanent or attempts >= max_attempts

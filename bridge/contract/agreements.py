"""Times that the bridge and the addon agree on. The alert rules for Prometheus hold some of the same values."""

from __future__ import annotations

from datetime import timedelta

#: A bridge tells Odoo this often that it is alive.
HEARTBEAT_INTERVAL = timedelta(seconds=30)
#: A bridge without a heartbeat for this long does not count as running: in the checklist, in ``status``, in the health
#: report and in the alert rules. Four intervals, so that a slow answer of Odoo or one lost call means nothing.
SILENT_AFTER = 4 * HEARTBEAT_INTERVAL
#: An event that has waited for this long is stuck. Events need less than a second on a quiet system.
STUCK_AFTER = timedelta(minutes=5)
#: Time until the second attempt of a failed event, at the latest. It doubles with each further attempt, up to the last.
FIRST_RETRY = timedelta(seconds=2)
LAST_RETRY = timedelta(minutes=5)


def retry_within(attempts: int) -> timedelta:
    """Time until the next attempt of a failed event, at the latest. Half of it is random.

    :param attempts: made so far, from 1
    """
    doubled = min(max(attempts, 1) - 1, 30)  # more would overflow, and is the last one for long
    return min(FIRST_RETRY * (1 << doubled), LAST_RETRY)

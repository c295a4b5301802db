"""Whether this process can write to ManyChat: the heartbeat tells Odoo, for its administrators to see."""

from __future__ import annotations

from ...circuit_breaker import CircuitBreaker
from ...contract.outcomes import WriteBackState
from ...errors import ManyChatMisconfigured, ManyChatStopped
from ...odoo_answers import HeartbeatAnswer
from ...write_back import SETTING


class WriteBackReport:
    """What the next heartbeat says."""

    def __init__(self, breaker: CircuitBreaker | None):
        """:param breaker: of ManyChat; ``None``: this process has no token"""
        self._breaker = breaker
        self._is_asked = False

    def take(self, answer: HeartbeatAnswer) -> None:
        """See whether Odoo asks: an older addon has no such setting, and does not know the argument."""
        self._is_asked = SETTING in answer.settings

    def state(self) -> WriteBackState | None:
        """The state for the next heartbeat; ``None`` if Odoo does not ask."""
        if not self._is_asked:
            return None
        if self._breaker is None:
            return WriteBackState.NO_TOKEN
        outage = self._breaker.outage
        if outage is None:
            return WriteBackState.READY
        if isinstance(outage, ManyChatMisconfigured):
            return WriteBackState.WRONG_TOKEN
        return WriteBackState.STOPPED if isinstance(outage, ManyChatStopped) else WriteBackState.UNREACHABLE

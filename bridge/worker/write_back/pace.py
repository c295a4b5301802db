"""Calls to ManyChat, one after the other: each takes its turn among those of all bridges."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import sqlalchemy as sa
import structlog

from ... import progress
from ...contract.fields import format_datetime
from ...errors import ManyChatRefused, ManyChatStopped, ManyChatUnavailable
from ...manychat import ManyChat
from ...store import manychat_slots
from ...store.engine import in_transaction

log = structlog.get_logger()

P = ParamSpec("P")
T = TypeVar("T")

#: Seconds by which a call may be late for its slot. A later one takes a new one, or calls would crowd: 8 calls a second
#: that are late by a quarter of a second at most stay below 10.
LATE = 0.15


class Stopping(ManyChatUnavailable):
    """The bridge stops: no further call is made."""


class PacedManyChat:
    """ManyChat at the pace that all bridges keep together. May be used by several threads at once."""

    def __init__(self, client: ManyChat, engine: sa.Engine, per_second: float, stop: threading.Event):
        """
        :param per_second: calls of all bridges together
        :param stop: once it is set, no further call is made
        """
        self.client = client
        self._engine = engine
        self._per_second = per_second
        self._stop = stop
        #: Seconds that the last slot took to get: for so long it is not known when exactly its time comes.
        self._took = 0.0
        #: Pauses after which ManyChat has not yet taken a call.
        self._stops = 0

    def call(self, method: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Make one call when its time has come.

        :param method: of the client
        :raises ManyChatUnavailable: also while ManyChat takes no calls; then none is made
        :raises ManyChatRefused:
        :raises bridge.errors.StoreUnavailable: SQL is down: no call may be made without its turn
        """
        self.wait()
        return self.now(method, *arguments, **named)

    def now(self, method: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Make the call for which :meth:`wait` has just waited."""
        try:
            answer = method(*arguments, **named)
        except ManyChatStopped as stopped:
            until = in_transaction(self._engine, manychat_slots.pause, stopped.seconds, str(stopped))
            log.error("manychat_stopped", until=format_datetime(until))
            raise
        if self._stops:
            self._stops = 0
            in_transaction(self._engine, manychat_slots.succeeded)
        return answer

    def wait(self) -> float:
        """Wait for a turn.

        :return: its moment, for :meth:`is_over`
        :raises ManyChatStopped: ManyChat takes no calls at present
        :raises Stopping: the bridge stops meanwhile
        """
        while True:
            asked_at, allowed = time.monotonic(), self._took
            # Far from SQL the slots must lie farther apart.
            slot = in_transaction(self._engine, manychat_slots.take, self._per_second / (1 + allowed))
            if slot.paused_until:
                until = format_datetime(slot.paused_until)
                raise ManyChatStopped(f"it takes no calls until {until}", None)
            progress.mark()
            self._stops = slot.stops
            self._took = time.monotonic() - asked_at
            if self._stop.wait(slot.wait):
                raise Stopping("the bridge stops", unsent=True)
            turn = asked_at + allowed + slot.wait
            if not self.is_over(turn):
                return turn

    def is_over(self, turn: float) -> bool:
        """Whether it is too late for a call at that turn."""
        return time.monotonic() - turn > LATE

    def probe(self) -> None:
        """Find out whether ManyChat takes calls.

        It has a limit of its own, so its success does not say that ManyChat takes writes again.

        :raises ManyChatUnavailable:
        """
        self.wait()
        self._stops = 0
        try:
            self.now(self.client.get_account)
        except ManyChatRefused as refusal:
            # It takes calls, unless it says itself that the fault may pass.
            if refusal.code == "passing":
                raise ManyChatUnavailable("it answers with an error", unsent=True) from None

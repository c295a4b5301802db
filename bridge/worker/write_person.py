"""Write one person's newest state to ManyChat: fields, tags, and the flow of a stage.

What ManyChat has already is not sent again. Fields and tags may be written twice; a flow may not, and is noted in SQL
before the call. A refusal of one call keeps none of the others from being made.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
import structlog

from .. import metrics
from ..errors import ManyChatRefused, ManyChatUnavailable
from ..store import database_clock, manychat_echoes, manychat_flows
from ..store.engine import in_transaction, read
from ..store.manychat_writes import LEASE, Claim
from ..write_back import Rules, Values
from .manychat_pace import PacedManyChat

log = structlog.get_logger()

#: A flow speaks of now: one that could not start for so long is not started any more.
FLOW_WITHIN = timedelta(hours=24)
#: Seconds of a lease that must be left for a call: it may take as long as connecting and reading may.
CALL_TAKES = 25
#: ManyChat's words for refusals that we make ourselves.
_OURS = {
    "too_many_flows": "100 flows were started for this person within an hour.",
    "flow_late": "The flow could not be started for 24 hours. It is not started any more.",
    manychat_flows.UNKNOWN: "ManyChat gave no answer: it is not known whether the flow started.",
}


class LeaseEnds(Exception):
    """The rest must wait: another bridge may write to this person soon."""


class PersonWriter:
    """One claim at work.

    :ivar sent: what ManyChat has by now, as far as is known
    :ivar refused: the first refusal: code and ManyChat's words
    """

    def __init__(self, manychat: PacedManyChat, engine: sa.Engine, claim: Claim, claimed_at: float):
        """:param claimed_at: by the monotonic clock, before the lease began"""
        self._manychat = manychat
        self._engine = engine
        self._claim = claim
        self._until = claimed_at + LEASE - CALL_TAKES
        self.sent: Values = dict(claim.sent)
        self.refused: tuple[str, str] | None = None

    def write(self, rules: Rules, *, gives_up: bool) -> int:
        """Make the calls that are missing.

        :param gives_up: count a fault that may pass as a refusal: it did not pass for long
        :return: how many values were written
        :raises bridge.errors.Outage: ManyChat or SQL is down: ``sent`` says how far it got
        :raises LeaseEnds:
        """
        before = dict(self.sent)
        wanted = rules.values(self._claim.state)
        changes = {key: value for key, value in wanted.items() if self.sent.get(key) != value}
        # A tag that we never gave is not ours to take away.
        changes = {key: value for key, value in changes.items() if value is not False or self.sent.get(key)}
        fields = {key: value for key, value in changes.items() if key.startswith("field:")}
        if fields:
            if rules.has_stage(fields):
                claim = self._claim
                in_transaction(self._engine, manychat_echoes.expect, claim.manychat_id, claim.state, claim.as_of)
            self._set_fields(fields, gives_up)
        for key in sorted(changes.keys() - fields.keys()):
            self._set_tag(key, bool(changes[key]), gives_up)
        self._start_flow(rules, gives_up)
        return sum(self.sent.get(key) != before.get(key) for key in self.sent)

    def _set_fields(self, fields: Values, gives_up: bool) -> None:
        values: dict[int, Any] = {_id(key): value for key, value in fields.items()}
        person = self._claim.manychat_id
        try:
            self._call(self._manychat.client.set_fields, person, values)
        except ManyChatRefused as refusal:
            if len(fields) == 1 or refusal.code == "unknown_person":
                self._refuse(refusal, gives_up)
                return
            # One of them may be missing: the others are written.
            for key, value in fields.items():
                self._set_fields({key: value}, gives_up)
        else:
            self.sent.update(fields)

    def _set_tag(self, key: str, has_it: bool, gives_up: bool) -> None:
        client = self._manychat.client
        try:
            self._call(client.add_tag if has_it else client.remove_tag, self._claim.manychat_id, _id(key))
        except ManyChatRefused as refusal:
            self._refuse(refusal, gives_up)
        else:
            self.sent[key] = has_it

    def _start_flow(self, rules: Rules, gives_up: bool) -> None:
        claim, flow = self._claim, rules.flow(self._claim.state)
        event_id, wanted_at = claim.flow_event_id, claim.flow_wanted_at
        if flow is None or event_id is None or wanted_at is None or self.refused_for_good():
            return
        self._require_time()
        # Before the note: a bridge that is killed while it waits has started nothing.
        self._manychat.wait()
        if read(self._engine, database_clock.now) - wanted_at > FLOW_WITHIN:
            obstacle: str | None = "flow_late"
        else:
            obstacle = in_transaction(self._engine, manychat_flows.note, event_id, claim.manychat_id, flow.ns)
        if obstacle == manychat_flows.STARTED:
            return
        if obstacle:
            self._note_refusal(obstacle, _OURS.get(obstacle, ""))
            return
        try:
            self._manychat.now(self._manychat.client.send_flow, claim.manychat_id, flow.ns)
        except ManyChatRefused as refusal:
            # Also a fault that may pass: it may have started nevertheless.
            in_transaction(self._engine, manychat_flows.settle, event_id, refusal.code)
            metrics.FLOWS.labels("refused").inc()
            self._note_refusal(refusal.code, refusal.message)
        except ManyChatUnavailable as outage:
            if outage.unsent:
                in_transaction(self._engine, manychat_flows.withdraw, event_id)
            else:
                metrics.FLOWS.labels("unknown").inc()
            raise
        else:
            in_transaction(self._engine, manychat_flows.settle, event_id, manychat_flows.STARTED)
            metrics.FLOWS.labels("started").inc()

    def refused_for_good(self) -> bool:
        """Whether ManyChat does not know the person: no further call makes sense."""
        return self.refused is not None and self.refused[0] == "unknown_person"

    def _call(self, method: Callable[..., None], *arguments: Any) -> None:
        if self.refused_for_good():
            return
        self._manychat.wait()
        # After the wait: it may have taken long.
        self._require_time()
        self._manychat.now(method, *arguments)

    def _require_time(self) -> None:
        if time.monotonic() > self._until:
            raise LeaseEnds

    def _refuse(self, refusal: ManyChatRefused, gives_up: bool) -> None:
        """:raises ManyChatRefused: it may pass, and is worth another attempt"""
        if refusal.code == "passing" and not gives_up:
            raise refusal
        self._note_refusal(refusal.code, refusal.message)

    def _note_refusal(self, code: str, message: str) -> None:
        # Only the code: ManyChat's words may quote what was sent.
        claim = self._claim
        about = {"event_id": claim.event_id, "trace_id": claim.trace_id, "manychat_id": claim.manychat_id}
        log.warning("manychat_refused", **about, code=code)
        self.refused = self.refused or (code, message)


def _id(key: str) -> int:
    return int(key.partition(":")[2])

"""Write one person's newest state to ManyChat: fields, tags, and the flow of a stage.

What ManyChat has already is not sent again. Fields and tags may be written twice; a flow may not, and is noted in SQL
before the call. A refusal of one call keeps none of the others from being made.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
import structlog

from ... import metrics
from ...contract.opportunity_state import Actor
from ...errors import ManyChatRefused, ManyChatUnavailable
from ...store import database_clock, manychat_echoes, manychat_flows, manychat_writes
from ...store.engine import in_transaction, read
from ...store.manychat_writes import LEASE, Claim
from ...write_back import Flow, Rules, Values
from .pace import PacedManyChat

log = structlog.get_logger()

#: A flow speaks of now: one that could not start for so long is not started any more.
FLOW_WITHIN = timedelta(hours=24)
#: Seconds of a lease that must be left for a call: it may take as long as connecting and reading may.
CALL_TAKES = 25
#: Words for refusals that we make ourselves.
_OURS = {
    "too_many_flows": "100 flows were started for this person within an hour.",
    "flow_late": "The flow could not be started for 24 hours. It is not started any more.",
    manychat_flows.UNKNOWN: "ManyChat gave no answer: it is not known whether the flow started.",
}


class LeaseEnds(Exception):
    """The rest must wait: another bridge may write to this person soon, or write-back was switched off."""


class PersonWriter:
    """One claim at work.

    :ivar sent: what ManyChat has by now; ``None`` of what it may have
    :ivar refused: the first refusal: code and ManyChat's words
    :ivar failed: ManyChat did not do the last call that was made
    """

    def __init__(self, manychat: PacedManyChat, engine: sa.Engine, claim: Claim, claimed_at: float):
        """:param claimed_at: by the monotonic clock, before the lease began"""
        self._manychat = manychat
        self._engine = engine
        self._claim = claim
        self._until = claimed_at + LEASE - CALL_TAKES
        self.sent: Values = dict(claim.sent)
        self.refused: tuple[str, str] | None = None
        self.failed = False

    def write(self, rules: Rules, *, gives_up: bool) -> bool:
        """Make the calls that are missing.

        :param gives_up: count a fault that may pass as a refusal: it did not pass for long
        :return: whether ManyChat took something
        :raises bridge.errors.Outage: ManyChat or SQL is down: ``sent`` says how far it got
        :raises LeaseEnds:
        """
        changes = self._changes(rules)
        if changes:
            self.sent.update(dict.fromkeys(changes))
            in_transaction(self._engine, self._begin)
        fields = {key: value for key, value in changes.items() if key.startswith("field:")}
        if fields:
            self._set_fields(rules, fields, gives_up)
        for key in sorted(changes.keys() - fields.keys()):
            if not self._is_unknown():
                self._set_tag(key, bool(changes[key]), gives_up)
        self._start_flow(rules, gives_up)
        return any(self.sent.get(key) == value for key, value in changes.items())

    def _changes(self, rules: Rules) -> Values:
        wanted = rules.values(self._claim.state)
        changes = {key: value for key, value in wanted.items() if self.sent.get(key) != value}
        # A tag that we never gave is not ours to take away.
        return {key: value for key, value in changes.items() if value is not False or key in self.sent}

    def _begin(self, connection: sa.Connection) -> None:
        """:raises LeaseEnds:"""
        if not manychat_writes.begin(connection, self._claim, self.sent):
            raise LeaseEnds

    def _expect_echo(self, connection: sa.Connection, stage: Collection[str]) -> None:
        claim = self._claim
        # Where it is not known what ManyChat has, it may have this already.
        changes = any(claim.sent.get(key, "") is not None for key in stage)
        by_chat = claim.by == Actor.CHAT
        about = (claim.manychat_id, claim.state, claim.as_of)
        manychat_echoes.expect(connection, *about, by_chat=by_chat, changes=changes)

    def _set_fields(self, rules: Rules, fields: Values, gives_up: bool) -> None:
        values: dict[int, Any] = {_id(key): value for key, value in fields.items()}
        person = self._claim.manychat_id
        try:
            turn = self._wait()
            if stage := rules.of_stage(fields):
                # After the wait, which may take long: an echo is recognised by the time since then.
                in_transaction(self._engine, self._expect_echo, stage)
                if self._manychat.is_over(turn):
                    self._wait()
            self._make(self._manychat.client.set_fields, person, values)
        except ManyChatRefused as refusal:
            if len(fields) == 1 or refusal.code == "unknown_person":
                self._refuse(refusal, gives_up)
                return
            # One of them may be missing: the others are written.
            for key, value in fields.items():
                if not self._is_unknown():
                    self._set_fields(rules, {key: value}, gives_up)
        else:
            self.sent.update(fields)

    def _set_tag(self, key: str, has_it: bool, gives_up: bool) -> None:
        client = self._manychat.client
        try:
            self._call(client.add_tag if has_it else client.remove_tag, self._claim.manychat_id, _id(key))
        except ManyChatRefused as refusal:
            self._refuse(refusal, gives_up)
            if has_it and key not in self._claim.sent:
                # It was never given, so it need not be taken away.
                del self.sent[key]
        else:
            self.sent[key] = has_it

    def _start_flow(self, rules: Rules, gives_up: bool) -> None:
        claim, flow = self._claim, rules.flow(self._claim.state)
        if flow is None or claim.flow_event_id is None or self._is_unknown():
            return
        # Before the note: a bridge that is killed while it waits has started nothing.
        turn = self._wait()
        obstacle = in_transaction(self._engine, self._note_flow, flow)
        if obstacle == manychat_flows.STARTED:
            return
        if obstacle:
            self._note_refusal(obstacle, _OURS.get(obstacle, ""))
            return
        self._send_flow(claim.flow_event_id, flow, turn)

    def _note_flow(self, connection: sa.Connection, flow: Flow) -> str | None:
        """Note that the flow is started now; or why it is not.

        :raises LeaseEnds: also if the person was erased meanwhile
        """
        claim = self._claim
        if not manychat_writes.begin(connection, claim, self.sent):
            raise LeaseEnds
        assert claim.flow_event_id
        assert claim.flow_wanted_at
        if database_clock.now(connection) - claim.flow_wanted_at > FLOW_WITHIN:
            return "flow_late"
        return manychat_flows.note(connection, claim.flow_event_id, claim.manychat_id, flow.ns)

    def _send_flow(self, event_id: str, flow: Flow, turn: float) -> None:
        try:
            # The note may have taken long.
            if self._manychat.is_over(turn):
                self._manychat.wait()
            self._make(self._manychat.client.send_flow, self._claim.manychat_id, flow.ns)
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

    def _is_unknown(self) -> bool:
        """Whether ManyChat does not know the person: no further call makes sense."""
        return self.refused is not None and self.refused[0] == "unknown_person"

    def _call(self, method: Callable[..., None], *arguments: Any) -> None:
        self._wait()
        self._make(method, *arguments)

    def _wait(self) -> float:
        """Wait for a turn; its moment."""
        turn = self._manychat.wait()
        # After the wait: it may have taken long.
        self._require_time()
        return turn

    def _make(self, method: Callable[..., None], *arguments: Any) -> None:
        self.failed = True
        self._manychat.now(method, *arguments)
        self.failed = False

    def _require_time(self) -> None:
        """:raises LeaseEnds:"""
        if time.monotonic() > self._until or not read(self._engine, manychat_writes.rules).enabled:
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

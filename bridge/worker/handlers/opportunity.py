"""Opportunity events: recorded in SQL as pending, applied by Odoo in one call per batch, then closed in SQL.

If the bridge is killed between two of these steps, the messages come again: SQL still says pending, and Odoo answers
with the original outcome of events that it has applied before.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from ... import retry
from ...contract.event import Event
from ...contract.opportunity_state import read_state
from ...contract.outcomes import APPLIED, ErrorCode
from ...contract.sentences import sentence
from ...errors import OdooMisconfigured, OdooRefused, OdooTimeout, OdooUnavailable
from ...odoo import Odoo
from ...results import Conflict, Done, Failure, Outcome
from ...store import audit, manychat_echoes, manychat_wishes, opportunities
from ...store.refusal import write_events
from ..write_back import wishes

#: Codes of errors that another attempt cannot mend. All others may pass (``refused``: Odoo raised an exception).
PERMANENT = {ErrorCode.UNMAPPED_STAGE, ErrorCode.INVALID}


class _BrokenCall(OdooRefused):
    """A call with events broke off, while Odoo answers an empty call: the events are at fault, not Odoo."""


def handle(engine: sa.Engine, odoo: Odoo, events: Sequence[Event]) -> dict[str, Outcome]:
    """Apply the batch.

    :raises bridge.errors.Outage: SQL or Odoo is down
    :raises OdooRefused: the call failed as a whole
    """
    events = write_events(engine, _record, events)
    by_id, outcomes = {event.id: event for event in events}, dict[str, Outcome]()
    for answered in _answers(odoo, events, retry.ODOO_CONFLICT_CALLS):
        # At once: the events that met a conflict may take a while.
        done = {key: (by_id[key], outcome) for key, outcome in answered.items() if isinstance(outcome, Done)}
        if done:
            write_events(engine, finish, done)
        outcomes |= answered
    return outcomes


def _record(connection: sa.Connection, events: Sequence[Event]) -> list[Event]:
    """Record the events as pending; the same events, with those marked that repeat what we wrote to ManyChat."""
    marked = manychat_echoes.recognise(connection, events)
    opportunities.record(connection, marked)
    return marked


def finish(connection: sa.Connection, done: Mapping[str, tuple[Event, Done]]) -> None:
    """Store what Odoo did with recorded events, by event id."""
    applied = {event_id: item for event_id, item in done.items() if item[1].status in APPLIED}
    opportunities.finish(connection, applied)
    manychat_wishes.want(connection, wishes.of_answers(applied.values()))
    audit.finish(connection, {event_id: outcome for event_id, (_, outcome) in done.items()})


def apply(odoo: Odoo, events: Sequence[Event]) -> dict[str, Outcome]:
    """Apply events that come from no queue: call Odoo until no event meets a conflict, or for the last time.

    :return: the outcomes by event id
    """
    outcomes: dict[str, Outcome] = {}
    for answered in _answers(odoo, events, retry.ODOO_CONFLICT_LAST_CALLS):
        outcomes |= answered
    return outcomes


def _answers(odoo: Odoo, events: Sequence[Event], calls: int) -> Iterator[dict[str, Outcome]]:
    """Call Odoo with ``events``, then again with those that met a conflict; the outcomes of each call.

    :param calls: how many at most
    """
    left = sorted(events, key=lambda event: event.order)
    for call in range(1, calls + 1):
        answered = {event.id: _outcome(result) for event, result in zip(left, _call(odoo, left), strict=True)}
        yield answered
        left = [event for event in left if isinstance(answered[event.id], Conflict)]
        if not left:
            return
        if call < calls:
            time.sleep(retry.seconds(retry.ODOO_CONFLICT, call))


def _call(odoo: Odoo, events: Sequence[Event]) -> list[dict[str, Any]]:
    """Have Odoo apply ``events``, and find out what is at fault if the call breaks off.

    After a broken call an empty one is made. If that fails too, it is an outage. If it succeeds, these very events are
    at fault: as an outage, one event that makes Odoo fail would hold up all others for ever.
    """

    def call() -> list[dict[str, Any]]:
        try:
            return odoo.apply([event.envelope() for event in events])
        except OdooUnavailable as error:
            odoo.probe()
            # A second call would take as long, or be as wrong.
            is_final = isinstance(error, (OdooTimeout, OdooMisconfigured))
            raise (OdooRefused if is_final else _BrokenCall)(type(error).__name__, str(error)) from None

    return Retrying(
        retry=retry_if_exception_type(_BrokenCall),
        wait=retry.ODOO_BROKEN_CALL,
        stop=stop_after_attempt(retry.ODOO_BROKEN_CALLS),
        reraise=True,
    )(call)


def _outcome(result: dict[str, Any]) -> Outcome:
    status = result.get("status")
    if status == "retry":
        return Conflict()
    if status in APPLIED:
        return Done(
            status,
            lead_id=result.get("lead_id") or None,
            stage_before=_text(result.get("stage_before"), 256),
            stage_after=_text(result.get("stage_after"), 256),
            state=read_state(result.get("state")),
        )
    code = _text(result.get("code"), 64) or ErrorCode.REFUSED.value
    if code == ErrorCode.DISCARDED:
        # An Odoo user discarded it while it was on its way: it is settled, and does not become a dead letter.
        return Done(audit.DISCARDED)
    message = _text(result.get("message"), 10_000) or sentence("Odoo gave no reason.")
    return Failure(code, message, permanent=code in PERMANENT)


def _text(value: Any, limit: int) -> str | None:
    """Odoo's text, cut to the size of our column. Odoo sends ``False`` for an empty text."""
    if not value:
        return None
    # SQL Server counts an emoji as two characters.
    return str(value).replace("\0", "").encode("utf-16-le", "replace")[: 2 * limit].decode("utf-16-le", "ignore")

"""The statements that change rows of ``audit``, each with the condition under which it may."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import and_, bindparam, case, func, not_, or_

from ..contract.outcomes import EventOutcome
from .batch_update import BatchUpdate
from .schema import audit

_A = audit.c
_DEAD_LETTERED, _DISCARDED = EventOutcome.DEAD_LETTERED.value, EventOutcome.DISCARDED.value
_ROW = _A.event_id == bindparam("this_event_id")
#: Not finished.
OPEN = _A.outcome.is_(None)
_NOW = bindparam("now", type_=_A.finished_at.type)

#: An event that the standby API accepted, and no bridge has received yet.
UNTRIED = and_(_A.attempts == sa.literal_column("0"), _A.tried_at.is_(None))


def _begin_again(new: Any) -> sa.Update:
    # A finished event stays finished, and one that was given up since it was looked up stays given up: another bridge
    # was faster. But an Odoo user's retry begins a new round: its attempts start at one, and an earlier discard no
    # longer counts.
    overruled = _A.retries < new.retries
    is_as_known = func.coalesce(_A.tried_at, _A.started_at) == new.begun_at
    is_known_dead = and_(_A.outcome == _DEAD_LETTERED, or_(is_as_known, overruled))
    return (
        audit.update()
        .where(
            _A.event_id == new.event_id,
            or_(OPEN, is_known_dead, and_(_A.outcome == _DISCARDED, overruled)),
        )
        .values(
            # Literals, because SQL Server cannot infer types in an expression of parameters only.
            attempts=case(
                (and_(OPEN, not_(overruled)), _A.attempts + sa.literal_column("1")), else_=sa.literal_column("1")
            ),
            retries=case((overruled, sa.cast(new.retries, _A.retries.type)), else_=_A.retries),
            attempt_in_progress=True,
            enqueued_at=case((UNTRIED, new.enqueued_at), else_=_A.enqueued_at),
            started_at=case((UNTRIED, _NOW), else_=_A.started_at),
            tried_at=_NOW,
            outcome=sa.null(),
            finished_at=sa.null(),
        )
    )


def _finish(new: Any) -> sa.Update:
    # Also an event that was given up or discarded meanwhile: it is applied now.
    is_unfinished = or_(OPEN, _A.outcome == _DEAD_LETTERED, _A.outcome == _DISCARDED)
    return (
        audit.update()
        .where(_A.event_id == new.event_id, is_unfinished)
        .values(
            outcome=new.outcome,
            attempt_in_progress=False,
            finished_at=_NOW,
            error_code=sa.null(),
            error=sa.null(),
            reported_at=new.reported_at,
            lead_id=new.lead_id,
            stage_before=new.stage_before,
            stage_after=new.stage_after,
        )
    )


def _fail(new: Any) -> sa.Update:
    return (
        audit.update()
        .where(_A.event_id == new.event_id, OPEN)
        .values(
            attempt_in_progress=False,
            error_code=new.error_code,
            error=new.error,
            outcome=new.outcome,
            finished_at=new.finished_at,
            reported_at=sa.null(),
        )
    )


def _mark_reported(new: Any) -> sa.Update:
    # Only if the row is as it was reported: a newer outcome is reported next.
    is_same = (_A.outcome == new.outcome, _A.retries == new.retries, _A.attempts == new.attempts)
    return audit.update().where(_A.event_id == new.event_id, *is_same).values(reported_at=_NOW)


def _types(*names: str) -> dict[str, sa.types.TypeEngine[Any]]:
    return {name: _A[name].type for name in names}


BEGIN_AGAIN = BatchUpdate(_begin_again, **_types("event_id", "retries", "enqueued_at"), begun_at=_A.tried_at.type)
FINISH = BatchUpdate(_finish, **_types("event_id", "outcome", "reported_at", "lead_id", "stage_before", "stage_after"))
FAIL = BatchUpdate(_fail, **_types("event_id", "error_code", "error", "outcome", "finished_at"))
MARK_REPORTED = BatchUpdate(_mark_reported, **_types("event_id", "outcome", "retries", "attempts"))
#: Only one of several concurrent reconciles claims the event, and none while a bridge may be handling it: each of them
#: sets ``tried_at``.
CLAIM = (
    audit.update()
    .where(_ROW, OPEN, func.coalesce(_A.tried_at, _A.started_at) < bindparam("cutoff", type_=_A.tried_at.type))
    .values(attempts=_A.attempts + 1, attempt_in_progress=True, tried_at=_NOW)
)
DISCARD = (
    audit.update()
    .where(_ROW, _A.outcome == _DEAD_LETTERED)
    .values(outcome=_DISCARDED, finished_at=_NOW, reported_at=None)
)
REPORT_AGAIN = audit.update().where(_A.outcome.is_not(None)).values(reported_at=sa.null())
RELEASE_ATTEMPT = (
    audit.update()
    .where(OPEN, _A.attempt_in_progress == sa.true(), _A.attempts > 0)
    .values(attempts=_A.attempts - 1, attempt_in_progress=False)
)

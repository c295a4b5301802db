"""Who is behind: ManyChat or SQL. What ManyChat shows of a person, judged by what SQL knows of it.

Neither the field of ManyChat nor its history has a date. So the question is what ManyChat showed *last, as far as SQL
knows*: what the newest event of the conversation said, or what we wrote, whichever came later. Three cases:

* ManyChat shows the opportunity's stage: both are the same, whatever came between.
* ManyChat shows what it showed last: it has not moved since, the opportunity has. SQL is ahead.
* ManyChat shows a third stage: a bot set it since, and no event said so. Its push was lost. ManyChat is ahead,
  unless a user of Odoo has decided since: then nothing says which of the two came later, and the user's decision stays.

What cannot be seen: a bot that set the same stage again that it had said before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from ...contract.fields import normalize_label
from ...contract.opportunity_state import Status
from ...contract.payloads import Opportunity
from ...stage_map import Stage, StageMap
from ...store import audit
from ...store.manychat_known import Known
from ..audited import event_of


class Found(str, Enum):
    """What a comparison found. The words are those of the report."""

    SAME = "same"
    #: ManyChat shows a stage that no event brought.
    PUSH_LOST = "push_lost"
    #: The same, and a user of Odoo has decided since: his decision stays.
    DISPUTED = "disputed"
    #: ManyChat shows a stage, and there is no opportunity, or it was deleted.
    NO_OPPORTUNITY = "no_opportunity"
    #: The opportunity has moved on, and ManyChat shows what it showed before.
    NOT_WRITTEN = "not_written"
    #: The event came, and was given up: a dead letter.
    NOT_APPLIED = "not_applied"
    #: ManyChat shows a stage that is neither in the stage map nor an alias.
    UNKNOWN_STAGE = "unknown_stage"
    #: It differs, and SQL does not know what ManyChat showed before.
    UNDECIDED = "undecided"
    #: The opportunity's stage is not in the stage map, so ManyChat cannot show it.
    UNMAPPED = "unmapped"
    #: An event or a write is under way, or was within the last minute.
    ON_ITS_WAY = "on_its_way"
    #: ManyChat does not know the person (any more).
    UNKNOWN_PERSON = "unknown_person"
    #: ManyChat refused to answer about this person.
    REFUSED = "refused"
    __str__ = str.__str__


@dataclass(frozen=True)
class Verdict:
    """What was found, and the moment until which SQL knows what ManyChat showed.

    :ivar last_at: a lost push came after it; ``None``: nothing is known
    """

    found: Found
    last_at: datetime | None = None


@dataclass(frozen=True)
class _Last:
    """What ManyChat showed last, as far as SQL knows.

    :ivar stage: ``None``: it is not known any more which
    :ivar given_up: it is an event that could not be applied
    """

    at: datetime
    stage: Stage | None
    given_up: bool = False


def judge(known: Known, value: Any, stages: StageMap, field_key: str, before: datetime, *, writes: bool) -> Verdict:
    """Compare one person.

    :param known: read from SQL after ManyChat answered
    :param value: of the field in ManyChat; ``None``: it is empty
    :param field_key: of that field, see :mod:`bridge.write_back`
    :param before: what came to SQL later than this may not have been in ManyChat's answer
    :param writes: write-back is on
    """
    shown, last = stages.meant(value), _last(known, stages, field_key)
    last_at = last.at if last else None
    is_open = known.has_opportunity and known.status != Status.DELETED
    wanted = known.stage_id if is_open and known.stage_id in stages.shown else None
    if known.is_pending:
        found = Found.ON_ITS_WAY
    elif shown is not None and wanted is not None and shown.odoo_id == wanted:
        found = Found.SAME
    elif (last_at and last_at > before) or (writes and known.is_unsent):
        found = Found.ON_ITS_WAY
    elif shown is None:
        found = Found.NOT_WRITTEN if wanted is not None and not _has_no_number(known, field_key) else Found.SAME
    elif last is not None and shown == last.stage:
        found = _unmoved(known, last, wanted, is_open=is_open)
    elif shown.odoo_id is None:
        # A number and a label that are both unknown may be the same stage.
        found = Found.NOT_APPLIED if last is not None and last.given_up else Found.UNKNOWN_STAGE
    else:
        found = _moved(known, last, is_open=is_open)
    return Verdict(found, last_at)


def _unmoved(known: Known, last: _Last, wanted: int | None, *, is_open: bool) -> Found:
    """ManyChat shows what it showed last, and that is not the opportunity's stage."""
    if last.given_up:
        return Found.NOT_APPLIED
    if wanted is not None:
        return Found.NOT_WRITTEN
    if not is_open:
        return Found.SAME
    # Before the first state of an opportunity comes from Odoo, SQL does not know where it is.
    return Found.UNDECIDED if known.stage_id is None else Found.UNMAPPED


def _moved(known: Known, last: _Last | None, *, is_open: bool) -> Found:
    """ManyChat shows a stage of the map that is neither the opportunity's nor what it showed last."""
    if not is_open:
        return Found.NO_OPPORTUNITY
    if last is None or last.stage is None:
        return Found.UNDECIDED
    return Found.DISPUTED if known.decided_at and known.decided_at > last.at else Found.PUSH_LOST


def _has_no_number(known: Known, field_key: str) -> bool:
    """Whether the field has numbers of stages, and this stage has none: then 0 was written."""
    return (known.sent or {}).get(field_key) in (0, "0")


def _last(known: Known, stages: StageMap, field_key: str) -> _Last | None:
    said = _said(known, stages)
    sent = (known.sent or {}).get(field_key)
    if known.sent_at and sent is not None and (said is None or known.sent_at > said.at):
        return _Last(known.sent_at, stages.meant(sent))
    return said


def _said(known: Known, stages: StageMap) -> _Last | None:
    """What the newest event said."""
    row = known.event
    if row is None:
        return None
    # A bot's clock may be ahead, and its push late.
    at, given_up = max(row.occurred_at, row.received_at), row.outcome in (audit.DEAD_LETTERED, audit.DISCARDED)
    event = event_of(row)
    if event is not None and isinstance(event.payload, Opportunity):
        state = event.payload.state
        return _Last(at, stages.said(state.stage, state.stage_id), given_up)
    # A purge has emptied its payload. It brought the opportunity where it still is?
    if known.stage_id in stages.shown and row.stage_after and _alike(row.stage_after, known.stage):
        return _Last(at, Stage(known.stage_id, "", None))
    return _Last(at, None, given_up)


def _alike(one: str, other: str | None) -> bool:
    return normalize_label(one) == normalize_label(other or "")

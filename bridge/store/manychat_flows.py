"""Flows that were started for decisions. A flow is noted before the call, so that none is ever started twice."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from . import database_clock
from .schema import manychat_flows

_F = manychat_flows.c
#: Flows for one person in an hour, as the text of ManyChat's API says.
MOST_IN_AN_HOUR = 100
STARTED = "started"
#: It is not known whether the flow started: the bridge was killed during the call, or got no answer.
UNKNOWN = "flow_unknown"


def note(connection: sa.Connection, event_id: str, manychat_id: str, flow_ns: str) -> str | None:
    """Note that a flow is about to be started.

    :return: ``None`` if the call may be made; else why not: ``too_many_flows``, or what became of it before
    """
    known = connection.execute(sa.select(_F.result).where(_F.event_id == event_id)).first()
    if known:
        return known.result or UNKNOWN
    now = database_clock.now(connection)
    recent = sa.select(sa.func.count()).where(_F.manychat_id == manychat_id, _F.started_at > now - timedelta(hours=1))
    is_too_many = (connection.scalar(recent) or 0) >= MOST_IN_AN_HOUR
    if is_too_many:
        return "too_many_flows"
    row = {"event_id": event_id, "manychat_id": manychat_id, "flow_ns": flow_ns[:256], "started_at": now}
    connection.execute(manychat_flows.insert(), row)
    return None


def settle(connection: sa.Connection, event_id: str, result: str) -> None:
    """Note what became of a flow."""
    connection.execute(manychat_flows.update().where(_F.event_id == event_id).values(result=result[:64]))


def withdraw(connection: sa.Connection, event_id: str) -> None:
    """Forget a flow whose call cannot have reached ManyChat."""
    connection.execute(manychat_flows.delete().where(_F.event_id == event_id, _F.result.is_(None)))

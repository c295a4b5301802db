"""The lists of the API: the filters and sort columns of each, and one page of it.

Pages are cut by key, not by number: the next page begins after the last row of the page before. So rows that come or
go meanwhile shift nothing, and the thousandth page costs as much as the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import and_, or_

from ..contract.fields import channel_key
from .column_types import Moment
from .schema import (
    advisors,
    audit,
    campaign_contacts,
    campaigns,
    channels,
    contacts,
    opportunities,
    opportunity_stages,
)

Condition = Callable[[Any], sa.ColumnElement[bool]]


@dataclass(frozen=True)
class Listing:
    """One list.

    :ivar select: the rows, each with a column ``id``
    :ivar id: the column that identifies a row
    :ivar sorts: the columns for ordering, never NULL
    :ivar filters: the condition of each filter, by its name
    """

    select: sa.Select[Any]
    id: sa.Column[Any]
    sorts: Mapping[str, sa.Column[Any]]
    filters: Mapping[str, Condition] = field(default_factory=dict)

    def statement(
        self,
        filters: Mapping[str, Any],
        sort: str,
        *,
        descending: bool,
        after: tuple[Any, int] | None,
        limit: int,
    ) -> sa.Select[Any]:
        """The SELECT of one page.

        :param filters: values of some of the filters
        :param sort: of :attr:`sorts`
        :param after: (value of the sort column, id) of the last row of the page before
        :param limit: maximum number of rows
        """
        by = self.sorts[sort]
        statement = self.select.where(*(self.filters[name](value) for name, value in filters.items()))
        if after is not None:
            value, row_id = after
            if by is self.id:
                statement = statement.where(by < row_id if descending else by > row_id)
            else:
                value = sa.literal(value, by.type)
                # The first condition is implied by the second, but an index can serve it, and not the OR.
                reached, beyond = (by <= value, by < value) if descending else (by >= value, by > value)
                next_id = self.id < row_id if descending else self.id > row_id
                statement = statement.where(reached, or_(beyond, and_(by == value, next_id)))
        columns = [by] if by is self.id else [by, self.id]
        return statement.order_by(*(column.desc() if descending else column.asc() for column in columns)).limit(limit)


def page(
    connection: sa.Connection,
    listing: Listing,
    filters: Mapping[str, Any],
    sort: str,
    *,
    descending: bool = False,
    after: tuple[Any, int] | None = None,
    limit: int = 50,
) -> tuple[list[sa.Row[Any]], tuple[Any, int] | None]:
    """One page of a list; parameters as in :meth:`Listing.statement`.

    :return: the rows, and ``after`` of the next page; ``None`` if there is none
    """
    statement = listing.statement(filters, sort, descending=descending, after=after, limit=limit + 1)
    rows = list(connection.execute(statement))
    if len(rows) <= limit:
        return rows, None
    rows = rows[:limit]
    last = rows[-1]._mapping
    return rows, (last[sort], last["id"])


def _equals(column: sa.Column[Any]) -> Condition:
    return lambda value: column == value


def _since(column: sa.Column[Any]) -> Condition:
    return lambda moment: column >= _moment(moment)


def _until(column: sa.Column[Any]) -> Condition:
    return lambda moment: column < _moment(moment)


def _moment(moment: datetime) -> sa.ColumnElement[datetime]:
    return sa.literal(moment, Moment())


def _in_channel(column: sa.Column[Any]) -> Condition:
    """By the channel's name, compared as in events."""
    return lambda name: (
        column == sa.select(channels.c.id).where(channels.c.name_key == channel_key(name)).scalar_subquery()
    )


def _updated_sorts(table: sa.Table) -> dict[str, sa.Column[Any]]:
    return {"id": table.c.id, "updated_at": table.c.updated_at}


CONTACTS = Listing(
    sa.select(contacts),
    contacts.c.id,
    _updated_sorts(contacts),
    {
        "manychat_id": _equals(contacts.c.manychat_id),
        "updated_since": _since(contacts.c.updated_at),
        "state": _equals(contacts.c.last_state),
        "channel": _in_channel(contacts.c.channel_id),
        "channel_id": _equals(contacts.c.channel_id),
    },
)
CAMPAIGNS = Listing(
    sa.select(campaigns),
    campaigns.c.id,
    _updated_sorts(campaigns),
    {
        "updated_since": _since(campaigns.c.updated_at),
        "status": _equals(campaigns.c.status),
        "channel": _in_channel(campaigns.c.channel_id),
        "channel_id": _equals(campaigns.c.channel_id),
    },
)
CHANNELS = Listing(
    sa.select(channels),
    channels.c.id,
    _updated_sorts(channels),
    {
        "name": lambda name: channels.c.name_key == channel_key(name),
        "updated_since": _since(channels.c.updated_at),
    },
)
ADVISORS = Listing(
    sa.select(advisors),
    advisors.c.id,
    _updated_sorts(advisors),
    {"role": _equals(advisors.c.role), "updated_since": _since(advisors.c.updated_at)},
)
_of_contact = campaign_contacts.c.contact_id == contacts.c.id
CAMPAIGN_CONTACTS = Listing(
    sa.select(campaign_contacts, contacts.c.manychat_id).join(contacts, _of_contact),
    campaign_contacts.c.id,
    _updated_sorts(campaign_contacts),
    {
        "id": _equals(campaign_contacts.c.id),
        "manychat_id": _equals(contacts.c.manychat_id),
        "campaign_id": _equals(campaign_contacts.c.campaign_id),
        "commercial_advisor_id": _equals(campaign_contacts.c.commercial_advisor_id),
        "medical_advisor_id": _equals(campaign_contacts.c.medical_advisor_id),
        "state": _equals(campaign_contacts.c.last_state),
        "updated_since": _since(campaign_contacts.c.updated_at),
    },
)
OPPORTUNITIES = Listing(
    sa.select(opportunities),
    opportunities.c.id,
    _updated_sorts(opportunities),
    {
        "id": _equals(opportunities.c.id),
        "manychat_id": _equals(opportunities.c.manychat_id),
        "odoo_sync_status": _equals(opportunities.c.odoo_sync_status),
        "stage": _equals(opportunities.c.stage),
        "status": _equals(opportunities.c.status),
        "lead_id": _equals(opportunities.c.lead_id),
        "updated_since": _since(opportunities.c.updated_at),
    },
)
OPPORTUNITY_STAGES = Listing(
    sa.select(opportunity_stages),
    opportunity_stages.c.id,
    {"event_at": opportunity_stages.c.event_at},
    {"opportunity_id": _equals(opportunity_stages.c.opportunity_id)},
)
AUDIT = Listing(
    sa.select(audit),
    audit.c.id,
    {"id": audit.c.id, "received_at": audit.c.received_at},
    {
        "event_id": _equals(audit.c.event_id),
        "manychat_id": _equals(audit.c.manychat_id),
        # "open" is no outcome: the event has none yet.
        "outcome": lambda outcome: audit.c.outcome.is_(None) if outcome == "open" else audit.c.outcome == outcome,
        "received_since": _since(audit.c.received_at),
        "received_until": _until(audit.c.received_at),
    },
)

#: All lists, for the test that reads their query plans.
LISTINGS = {
    "contacts": CONTACTS,
    "campaigns": CAMPAIGNS,
    "channels": CHANNELS,
    "advisors": ADVISORS,
    "campaign_contacts": CAMPAIGN_CONTACTS,
    "opportunities": OPPORTUNITIES,
    "opportunity_stages": OPPORTUNITY_STAGES,
    "audit": AUDIT,
}

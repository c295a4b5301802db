"""The tables, as SQLAlchemy Core. ``migrations`` creates them; a test compares the two."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, MetaData, Numeric, Sequence, Table
from sqlalchemy.dialects import mssql

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)


class Moment(sa.types.TypeDecorator[datetime]):
    """A point in time, to the microsecond. Aware in Python; stored as UTC without an offset.

    Not DATETIMEOFFSET: pyodbc cannot read it without a converter, and nothing here needs another offset than UTC.
    """

    impl = sa.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> Any:
        return dialect.type_descriptor(mssql.DATETIME2(6) if dialect.name == "mssql" else sa.DateTime())

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment needs its time zone")
        return value.astimezone(timezone.utc).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=timezone.utc)


def key(length: int) -> sa.types.TypeEngine[str]:
    """Text by which rows are told apart.

    Binary collation on SQL Server, whose default would take "abc" and "ABC" for one ManyChat id.
    """
    return sa.Unicode(length).with_variant(mssql.NVARCHAR(length, collation="Latin1_General_100_BIN2"), "mssql")


def text(length: int | None = None) -> sa.types.TypeEngine[str]:
    """People's text. Without a length as long as it gets: NVARCHAR(max), since SQLAlchemy's UnicodeText is NTEXT."""
    if length is None:
        return sa.UnicodeText().with_variant(mssql.NVARCHAR(), "mssql")
    return sa.Unicode(length)


#: SQLite numbers rows by itself only in a column that is exactly INTEGER.
big_id = sa.BigInteger().with_variant(Integer, "sqlite")


def version() -> tuple[Column[Any], ...]:
    """The newest event whose data a row holds: what :func:`bridge.store.last_write_wins.is_newer` compares with."""
    return (Column("event_at", Moment), Column("event_received_at", Moment), Column("event_id", key(64)))


def timestamps() -> tuple[Column[Any], ...]:
    """When the bridge made the row and last wrote it."""
    return (Column("created_at", Moment, nullable=False), Column("updated_at", Moment, nullable=False))


channels = Table(
    "channels",
    metadata,
    Column("id", Integer, primary_key=True),
    # The name as it is compared: "Facebook" and " facebook" are one channel.
    Column("name_key", key(256), nullable=False, unique=True),
    Column("name", text(256), nullable=False),
    Column("description", text()),
    *timestamps(),
    Index("ix_channels_updated_at", "updated_at"),
)

# Ids of campaigns and advisers are chosen by the senders of events, so they are plain columns that a sequence fills
# when nobody says otherwise. IDENTITY would refuse explicit values.
advisors = Table(
    "advisors",
    metadata,
    Column("id", Integer, Sequence("advisor_id"), primary_key=True, autoincrement=False),
    Column("name", text(256)),
    Column("email", text(320)),
    Column("phone", text(64)),
    Column("role", text(32)),  # "commercial" or "medical": as what an event first named them
    *timestamps(),
    Index("ix_advisors_updated_at", "updated_at"),
    Index("ix_advisors_role", "role"),
)

campaigns = Table(
    "campaigns",
    metadata,
    Column("id", Integer, Sequence("campaign_id"), primary_key=True, autoincrement=False),
    Column("name", text(256)),
    Column("date_start", Moment),
    Column("date_end", Moment),
    Column("budget", Numeric(14, 2)),
    Column("status", text(64)),
    Column("channel_id", ForeignKey("channels.id"), index=True),
    *timestamps(),
    Index("ix_campaigns_updated_at", "updated_at"),
    Index("ix_campaigns_status", "status"),
)

contacts = Table(
    "contacts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("manychat_id", key(64), nullable=False, unique=True),
    Column("first_name", text(256)),
    Column("last_name", text(256)),
    Column("phone", text(64)),
    Column("email", text(320)),
    Column("channel_id", ForeignKey("channels.id"), index=True),
    Column("subscribed_at", Moment),
    Column("initial_state", text(256)),
    Column("last_state", text(256)),
    *version(),
    *timestamps(),
    Index("ix_contacts_updated_at", "updated_at"),
    Index("ix_contacts_last_state", "last_state"),
)

contact_states = Table(
    "contact_states",
    metadata,
    Column("id", big_id, primary_key=True),
    Column("contact_id", ForeignKey("contacts.id"), nullable=False),
    Column("state", text(256), nullable=False),
    Column("category", text(32), nullable=False),  # the kind of event that told it: "contact" or "campaign"
    Column("created_at", Moment, nullable=False),  # when the person entered the state, by the event's own date
    Column("event_id", key(64)),  # NULL for rows that no event made
    Index("ix_contact_states_contact_id_created_at", "contact_id", "created_at"),
)

campaign_contacts = Table(
    "campaign_contacts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("contact_id", ForeignKey("contacts.id"), nullable=False, index=True),
    # NULL: an update came before any assignment. The first assignment takes the row over.
    Column("campaign_id", ForeignKey("campaigns.id"), index=True),
    Column("type", text(256)),
    Column("commercial_advisor_id", ForeignKey("advisors.id"), index=True),
    Column("commercial_assignment_date", Moment),
    Column("medical_advisor_id", ForeignKey("advisors.id"), index=True),
    Column("medical_assignment_date", Moment),
    Column("assigned_at", Moment),  # the newest assignment event; NULL while only updates named the campaign
    Column("last_state", text(256)),
    Column("summary", text()),
    *version(),
    *timestamps(),
    Index("ix_campaign_contacts_updated_at", "updated_at"),
    Index("ix_campaign_contacts_last_state", "last_state"),
)

opportunities = Table(
    "opportunities",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("manychat_id", key(64), nullable=False, unique=True),
    Column("contact_id", ForeignKey("contacts.id"), nullable=False, index=True),
    Column("lead_id", Integer, index=True),
    Column("stage", text(256)),  # name of the Odoo stage after the newest event
    Column("manychat_stage_id", Integer),
    Column("manychat_stage", text(256)),
    Column("summary", text()),
    Column("entry_date", Moment),
    Column("commercial_advisor_id", ForeignKey("advisors.id"), index=True),
    Column("medical_advisor_id", ForeignKey("advisors.id"), index=True),
    # How far the newest event got on its way to Odoo: "pending", "success" or "error".
    Column("odoo_sync_status", text(16), nullable=False),
    Column("odoo_synced_at", Moment),
    Column("attempts", Integer, nullable=False),  # tries of the newest event
    Column("last_error", text()),
    *version(),
    *timestamps(),
    Index("ix_opportunities_odoo_sync_status", "odoo_sync_status", "updated_at"),
    Index("ix_opportunities_event_id", "event_id"),
    Index("ix_opportunities_updated_at", "updated_at"),
    Index("ix_opportunities_stage", "stage"),
)

opportunity_stages = Table(
    "opportunity_stages",
    metadata,
    Column("id", big_id, primary_key=True),
    Column("opportunity_id", ForeignKey("opportunities.id"), nullable=False),
    Column("lead_id", Integer),
    Column("stage_from", text(256)),
    Column("stage_to", text(256)),
    Column("event_at", Moment, nullable=False),  # when it happened in the chat
    Column("applied_at", Moment, nullable=False),  # when Odoo had it
    Column("event_id", key(64), nullable=False, unique=True),
    Index("ix_opportunity_stages_opportunity_id_event_at", "opportunity_id", "event_at"),
    Index("ix_opportunity_stages_event_at", "event_at"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", big_id, primary_key=True),
    Column("event_id", key(64), nullable=False, unique=True),
    Column("type", text(32), nullable=False),
    Column("queue", text(64), nullable=False),
    Column("source", text(32), nullable=False),
    Column("manychat_id", key(64), nullable=False),
    Column("payload", text(), nullable=False),
    Column("occurred_at", Moment, nullable=False),
    Column("clock_is_wrong", Boolean, nullable=False),  # its date lay in the future and was not believed
    Column("received_at", Moment, nullable=False),  # by the webhook
    Column("enqueued_at", Moment),  # on the queue (whole seconds: that is what the queue tells)
    Column("started_at", Moment, nullable=False),  # first taken by a bridge
    Column("tried_at", Moment),  # its newest attempt began; NULL in rows from before there was this column
    Column("finished_at", Moment),
    Column("attempts", Integer, nullable=False),
    # An attempt is under way, or ended with its process: then the event is tried alone, away from its neighbours.
    Column("attempt_in_progress", Boolean, nullable=False),
    # NULL until the event is applied or given up: "stored", "created", "moved", "updated", "unchanged", "stale",
    # "dead_lettered", "discarded" (by a person, for good) or "erased" (with the person it spoke of).
    Column("outcome", text(32)),
    Column("error_code", text(64)),
    Column("error", text()),
    Column("lead_id", Integer),
    Column("stage_before", text(256)),
    Column("stage_after", text(256)),
    # How often somebody had Odoo send it again: a discard, and Odoo's knowledge of a failure, are of one such round.
    Column("retries", Integer, nullable=False, server_default="0"),
    Column("reported_at", Moment),  # Odoo knows the outcome
    Index("ix_audit_manychat_id_occurred_at", "manychat_id", "occurred_at"),
    Index("ix_audit_received_at", "received_at"),
    Index("ix_audit_finished_at", "finished_at"),
    Index("ix_audit_outcome_received_at", "outcome", "received_at"),
)

# Empty nearly always: the reporter looks every few seconds.
_unreported = audit.c.outcome.is_not(None) & audit.c.reported_at.is_(None)
Index(
    "ix_audit_unreported",
    audit.c.id,
    mssql_where=_unreported,
    postgresql_where=_unreported,
    sqlite_where=_unreported,
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", big_id, primary_key=True),
    Column("event_id", key(64)),  # NULL when the message could not be read as an event
    Column("message_id", key(64), nullable=False),
    Column("queue", text(64), nullable=False),
    Column("type", text(32)),
    Column("manychat_id", key(64)),
    Column("body", text(), nullable=False),  # the message exactly as the queue delivered it
    Column("enqueued_at", Moment),
    Column("code", text(64), nullable=False),
    Column("message", text(), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("first_tried_at", Moment, nullable=False),
    Column("last_tried_at", Moment, nullable=False),
    # "open", "replayed" (back on its queue), "resolved" (applied since) or "discarded" (by a person, for good)
    Column("status", text(16), nullable=False),
    Column("notified_at", Moment),  # the notice is on the dead-letter queue
    Column("replayed_at", Moment),
    Column("resolved_at", Moment),
    Column("discarded_at", Moment),
    Index("ix_dead_letters_status", "status", "last_tried_at"),
    Index("ix_dead_letters_message_id", "message_id"),
    Index("ix_dead_letters_manychat_id", "manychat_id"),
)

# Keys of the API. The key itself is nowhere.
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", text(256), nullable=False),  # which program or bot uses it
    Column("prefix", key(16), nullable=False),  # its first characters, to recognise it
    Column("digest", key(64), nullable=False, unique=True),  # SHA-256 in hex
    Column("scope", text(16), nullable=False),  # "read", "write" or "webhook"
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment),
    Column("revoked_at", Moment),
    Column("last_used_at", Moment),
)

# A row stands for a queue from which no bridge takes messages until somebody removes it.
pauses = Table(
    "pauses",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("queue", key(64), nullable=False, unique=True),
    Column("paused_at", Moment, nullable=False),
)


def _unique_where(name: str, where: sa.ColumnElement[bool], *columns: Column[Any]) -> Index:
    """A unique index over the rows that satisfy ``where``.

    SQL Server's plain unique index admits a single NULL, the others' any number: with the filter all do the same.
    """
    return Index(name, *columns, unique=True, mssql_where=where, postgresql_where=where, sqlite_where=where)


_unique_where("uq_contact_states_event_id", contact_states.c.event_id.is_not(None), contact_states.c.event_id)
_unique_where(
    "uq_campaign_contacts_contact_id_campaign_id",
    campaign_contacts.c.campaign_id.is_not(None),
    campaign_contacts.c.contact_id,
    campaign_contacts.c.campaign_id,
)
_unique_where(
    "uq_campaign_contacts_contact_id_unassigned",
    campaign_contacts.c.campaign_id.is_(None),
    campaign_contacts.c.contact_id,
)
_unique_where("uq_dead_letters_event_id", dead_letters.c.event_id.is_not(None), dead_letters.c.event_id)
_unique_where("uq_dead_letters_unreadable", dead_letters.c.event_id.is_(None), dead_letters.c.message_id)

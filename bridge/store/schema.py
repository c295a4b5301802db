"""The tables, as SQLAlchemy Core. ``migrations`` creates them. A test compares the two."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, MetaData, Numeric, Sequence, Table

from .column_types import Moment, big_id, key, text

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)


def version() -> tuple[Column[Any], ...]:
    """The version of a row, see :mod:`bridge.store.last_write_wins`.

    Its newest event; and, as JSON, the fields that have their value from another event, by the order of that event.
    """
    return (
        Column("event_at", Moment),
        Column("event_received_at", Moment),
        Column("event_id", key(64)),
        Column("field_versions", text()),
    )


def timestamps() -> tuple[Column[Any], ...]:
    """When the bridge created the row, and when it last wrote it."""
    return (Column("created_at", Moment, nullable=False), Column("updated_at", Moment, nullable=False))


channels = Table(
    "channels",
    metadata,
    Column("id", Integer, primary_key=True),
    # The name in the form for comparing: "Facebook" and " facebook" are the same channel.
    Column("name_key", key(256), nullable=False, unique=True),
    Column("name", text(256), nullable=False),
    Column("description", text()),
    *timestamps(),
    Index("ix_channels_updated_at", "updated_at"),
)

# The senders of events choose the ids of campaigns and advisers. A sequence fills in the id if no sender did. IDENTITY
# would refuse explicit values.
advisors = Table(
    "advisors",
    metadata,
    Column("id", Integer, Sequence("advisor_id"), primary_key=True, autoincrement=False),
    Column("name", text(256)),
    Column("email", text(320)),
    Column("phone", text(64)),
    Column("role", text(32)),  # "commercial" or "medical": the role in which an event first named them
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
    Column("extra", text()),  # JSON: the fields of the newest event with any that the contract does not know
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
    Column("category", text(32), nullable=False),  # the kind of event: "contact" or "campaign"; "api"; or of an import
    Column("created_at", Moment, nullable=False),  # when the person entered the state, by the event's date
    Column("event_id", key(64)),  # NULL if no event wrote the row
    Index("ix_contact_states_contact_id_created_at", "contact_id", "created_at"),
)

campaign_contacts = Table(
    "campaign_contacts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("contact_id", ForeignKey("contacts.id"), nullable=False, index=True),
    # NULL: an update came before any assignment. The first assignment fills it in.
    Column("campaign_id", ForeignKey("campaigns.id"), index=True),
    Column("type", text(256)),
    Column("commercial_advisor_id", ForeignKey("advisors.id"), index=True),
    Column("commercial_assignment_date", Moment),
    Column("medical_advisor_id", ForeignKey("advisors.id"), index=True),
    Column("medical_assignment_date", Moment),
    Column("assigned_at", Moment),  # date of the newest assignment event; NULL if there were only updates
    Column("last_state", text(256)),
    Column("summary", text()),
    Column("extra", text()),
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
    # The opportunity in Odoo, by its newest known state: see bridge.contract.opportunity_state.
    Column("stage", text(256)),  # name of the Odoo stage
    Column("stage_id", Integer),  # Odoo's id of it
    Column("status", key(16)),  # "open", "won", "lost" or "deleted"; NULL: not known yet
    Column("lost_reason", text(256)),
    Column("salesperson_id", Integer),  # Odoo's id of the user
    Column("salesperson", text(256)),
    Column("team_id", Integer),
    Column("team", text(256)),
    Column("expected_revenue", Numeric(18, 2)),
    Column("currency", text(8)),
    Column("closed_at", Moment),  # won or lost
    Column("first_answered_at", Moment),  # by a user of Odoo
    Column("merged_into", Integer),  # Odoo's id of the opportunity into which the person's own one was merged
    Column("stage_by", key(16)),  # what moved it there: value of bridge.contract.opportunity_state.Actor
    Column("decided_at", Moment),  # when a person last changed it
    Column("odoo_as_of", Moment),  # when Odoo had this state: an older one never replaces it
    Column("manychat_stage_id", Integer),
    Column("manychat_stage", text(256)),
    Column("summary", text()),
    Column("entry_date", Moment),
    Column("commercial_advisor_id", ForeignKey("advisors.id"), index=True),
    Column("medical_advisor_id", ForeignKey("advisors.id"), index=True),
    Column("extra", text()),
    # State of the newest event on its way to Odoo: "pending", "success" or "error".
    Column("odoo_sync_status", text(16), nullable=False),
    Column("odoo_synced_at", Moment),
    Column("attempts", Integer, nullable=False),  # of the newest event
    Column("last_error", text()),
    *version(),
    *timestamps(),
    Index("ix_opportunities_odoo_sync_status", "odoo_sync_status", "updated_at"),
    Index("ix_opportunities_event_id", "event_id"),
    Index("ix_opportunities_updated_at", "updated_at"),
    Index("ix_opportunities_stage", "stage"),
    Index("ix_opportunities_status", "status"),
)

opportunity_stages = Table(
    "opportunity_stages",
    metadata,
    Column("id", big_id, primary_key=True),
    Column("opportunity_id", ForeignKey("opportunities.id"), nullable=False),
    Column("lead_id", Integer),
    Column("stage_from", text(256)),
    Column("stage_to", text(256)),
    Column("event_at", Moment, nullable=False),  # when it happened, in the chat or in Odoo
    Column("applied_at", Moment, nullable=False),  # when Odoo applied it, or when it came here
    Column("event_id", key(64), nullable=False, unique=True),
    Column("moved_by", key(16), nullable=False, server_default="chat"),  # as opportunities.stage_by
    Column("user_id", Integer),  # Odoo's id of the user who moved it
    Column("status", key(16)),  # of the opportunity after the move; "lost": it is in no stage
    Index("ix_opportunity_stages_opportunity_id_event_at", "opportunity_id", "event_at"),
    Index("ix_opportunity_stages_event_at", "event_at"),
    Index("ix_opportunity_stages_applied_at", "applied_at"),  # analysts load what is new
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
    Column("extra", text()),  # JSON: the fields that the contract does not know, as they were sent
    Column("warnings", text()),  # JSON: what was left out, cut or not understood
    Column("occurred_at", Moment, nullable=False),
    Column("clock_is_wrong", Boolean, nullable=False),  # its date was in the future and is not used
    Column("received_at", Moment, nullable=False),  # by the webhook
    Column("enqueued_at", Moment),  # onto the queue, in whole seconds, as the queue reports it
    # When a bridge first received it; until then, when the standby API accepted it.
    Column("started_at", Moment, nullable=False),
    # When its newest attempt began; NULL in rows that are older than this column, and before the first attempt.
    Column("tried_at", Moment),
    Column("finished_at", Moment),
    Column("attempts", Integer, nullable=False),
    # An attempt is running, or its process was killed. After a kill the event is tried alone, without its neighbours.
    Column("attempt_in_progress", Boolean, nullable=False),
    # NULL until the event is applied or given up: "stored", "created", "moved", "updated", "unchanged", "stale",
    # "dead_lettered", "discarded" (by a person, for good) or "erased" (with the person it spoke of).
    Column("outcome", text(32)),
    Column("error_code", text(64)),
    Column("error", text()),
    Column("lead_id", Integer),
    Column("stage_before", text(256)),
    Column("stage_after", text(256)),
    # How often an Odoo user sent it again. A discard, and a report to Odoo, belong to one such round.
    Column("retries", Integer, nullable=False, server_default="0"),
    Column("reported_at", Moment),  # when Odoo learned the outcome
    # When a purge emptied its payload. NULL: none did, or one did that is older than this column.
    Column("purged_at", Moment),
    # The trace that the event belongs to, as W3C's header says it. NULL: that which follows from its id.
    Column("traceparent", key(64)),
    Index("ix_audit_manychat_id_occurred_at", "manychat_id", "occurred_at"),
    Index("ix_audit_received_at", "received_at"),
    Index("ix_audit_finished_at", "finished_at"),
    Index("ix_audit_outcome_received_at", "outcome", "received_at"),
)


def _index_where(name: str, where: sa.ColumnElement[bool], *columns: Column[Any], unique: bool = False) -> Index:
    """An index over the rows that satisfy ``where``."""
    return Index(name, *columns, unique=unique, mssql_where=where, postgresql_where=where, sqlite_where=where)


# Nearly always empty: the reporter reports every few seconds.
_index_where("ix_audit_unreported", audit.c.outcome.is_not(None) & audit.c.reported_at.is_(None), audit.c.id)
# A purge reads what it has to do, and not again what earlier ones did.
_index_where(
    "ix_audit_unpurged",
    audit.c.purged_at.is_(None) & audit.c.finished_at.is_not(None),
    audit.c.finished_at,
    audit.c.id,
)
# Few senders name a trace.
_index_where("ix_audit_traceparent", audit.c.traceparent.is_not(None), audit.c.traceparent)
_index_where("ix_audit_wrong_clocks", audit.c.clock_is_wrong == sa.true(), audit.c.received_at)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", big_id, primary_key=True),
    Column("event_id", key(64)),  # NULL if the message could not be read as an event
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
    Column("notified_at", Moment),  # the notice was put on the dead-letter queue
    # Of the notice, as long as it may be there; deleted with the receipt when the letter is closed.
    Column("notice_id", key(64)),
    Column("notice_receipt", key(512)),
    Column("replayed_at", Moment),
    Column("resolved_at", Moment),
    Column("discarded_at", Moment),
    Index("ix_dead_letters_status", "status", "last_tried_at"),
    Index("ix_dead_letters_message_id", "message_id"),
    Index("ix_dead_letters_manychat_id", "manychat_id"),
)

# Nearly always few: a notice is deleted seconds after its letter is closed.
_index_where("ix_dead_letters_notice", dead_letters.c.notice_id.is_not(None), dead_letters.c.id)

# Keys of the API. The key itself is not stored.
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", text(256), nullable=False),  # the program or bot that uses it
    Column("prefix", key(16), nullable=False),  # its first characters, for lists
    Column("digest", key(64), nullable=False, unique=True),  # SHA-256 in hex
    Column("scope", text(16), nullable=False),  # "read", "write", "webhook" or "ask"
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment),
    Column("revoked_at", Moment),
    Column("last_used_at", Moment),
    # Of dates without an offset in the events that come with the key; NULL: UTC. A name such as America/Bogota.
    Column("zone", text(64)),
    # Of a key that was made in Odoo: whether it is valid there. NULL: it was made here.
    Column("in_odoo", Boolean),
)

# One row for each paused queue: no bridge takes messages from it.
pauses = Table(
    "pauses",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("queue", key(64), nullable=False, unique=True),
    Column("paused_at", Moment, nullable=False),
)

# How often the standby API refused requests: a row for each day, key, path and answer; for requests without a valid key
# also for each address and beginning of the key. Nothing of what they said.
standby_refusals = Table(
    "standby_refusals",
    metadata,
    Column("id", big_id, primary_key=True),
    Column("digest", key(64), nullable=False, unique=True),  # of what the row counts; Odoo knows the row by it
    Column("key_name", text(256), nullable=False),  # "" without a valid key
    Column("key_prefix", key(16), nullable=False),
    Column("address", text(64), nullable=False),  # "" with a valid key
    Column("path", text(256), nullable=False),
    Column("code", key(64), nullable=False),  # of the answer; without a valid key "missing_key" or "wrong_key", too
    Column("requests", Integer, nullable=False),
    Column("reported_requests", Integer, nullable=False, server_default="0"),  # how many of them Odoo knows
    Column("first_at", Moment, nullable=False),
    Column("last_at", Moment, nullable=False),
    Index("ix_standby_refusals_last_at", "last_at"),
)

# What administrators set in Odoo for the bridges, as the heartbeat's answer brought it last. Odoo may be down.
odoo_settings = Table(
    "odoo_settings",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", key(64), nullable=False, unique=True),
    Column("value", text(), nullable=False),  # JSON
    Column("updated_at", Moment, nullable=False),
)

# What each person should see in ManyChat, and what was written there last. Made while write-back is on.
manychat_writes = Table(
    "manychat_writes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("manychat_id", key(64), nullable=False, unique=True),
    Column("wanted", text(), nullable=False),  # JSON: the state to show
    Column("wanted_as_of", Moment, nullable=False),  # of that state: a newer one replaces it
    Column("wanted_by", key(16), nullable=False),  # as opportunities.stage_by
    Column("event_id", key(64), nullable=False),  # that brought the state
    Column("flow_event_id", key(64)),  # the decision that brought the opportunity into its stage; NULL: the chat did
    Column("flow_wanted_at", Moment),
    Column("queued_at", Moment),  # when the state was put on the queue; NULL: it was not yet
    Column("sent", text()),  # JSON: what ManyChat has; null of what it may have
    Column("forget", Boolean, nullable=False),  # it may have something else by now: the bot wrote, too
    Column("attempts", Integer, nullable=False),  # in vain, to write this state
    Column("sent_as_of", Moment),  # of the state, if it needs no further call; else NULL
    Column("lease", key(32)),  # of the bridge that writes to ManyChat now
    Column("leased_until", Moment),
    Column("refused_code", text(64)),  # of ManyChat's newest answer; NULL: it took what was sent
    Column("refused", text()),  # ManyChat's words
    Column("result_at", Moment),
    Column("to_report", Boolean, nullable=False),  # Odoo does not know that answer yet
    *timestamps(),
)

# Nearly always few: bridges write within seconds, unless ManyChat is down.
_index_where("ix_manychat_writes_unqueued", manychat_writes.c.queued_at.is_(None), manychat_writes.c.id)
_index_where("ix_manychat_writes_unsent", manychat_writes.c.sent_as_of.is_(None), manychat_writes.c.queued_at)
_index_where("ix_manychat_writes_refused", manychat_writes.c.refused_code.is_not(None), manychat_writes.c.id)
_index_where("ix_manychat_writes_unreported", manychat_writes.c.to_report == sa.true(), manychat_writes.c.id)

# Flows that were started for decisions. The row is there before the call is made.
manychat_flows = Table(
    "manychat_flows",
    metadata,
    Column("id", big_id, primary_key=True),
    Column("event_id", key(64), nullable=False, unique=True),  # of the decision
    Column("manychat_id", key(64), nullable=False),
    Column("flow_ns", text(256), nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("result", text(64)),  # "started", or why not; NULL: not known
    Index("ix_manychat_flows_manychat_id_started_at", "manychat_id", "started_at"),
    Index("ix_manychat_flows_started_at", "started_at"),
)

# Stages that were written to ManyChat lately. A bot may send them back as events.
manychat_echoes = Table(
    "manychat_echoes",
    metadata,
    Column("id", big_id, primary_key=True),
    Column("manychat_id", key(64), nullable=False),
    Column("stage", text(256), nullable=False),  # ManyChat's label
    Column("stage_id", Integer),  # ManyChat's number
    Column("as_of", Moment, nullable=False),  # of the state that was written
    Column("by_chat", Boolean, nullable=False),  # the chat brought the opportunity into the stage
    Column("written_at", Moment, nullable=False),
    Column("event_id", key(64)),  # the event that brought it back
    # The newest row of the audit at that moment; NULL in rows that are older than this column.
    Column("after_audit_id", big_id),
    Index("ix_manychat_echoes_manychat_id", "manychat_id", "written_at"),
    Index("ix_manychat_echoes_written_at", "written_at"),
)

# The pace of calls to ManyChat: one row for all bridges.
manychat_slots = Table(
    "manychat_slots",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("next_at", Moment, nullable=False),  # when the next call may be made
    Column("paused_until", Moment),  # ManyChat takes no calls until then
    Column("reason", text(256)),
    Column("stops", Integer, nullable=False),  # pauses in a row
)

# Always empty: `check` and the bridges write a row and delete it in one transaction, to see whether they can.
write_checks = Table(
    "write_checks",
    metadata,
    Column("id", key(32), primary_key=True),
    Column("written_at", Moment, nullable=False),
    Column("filler", text(), nullable=False),
)

# What a migration from an old system wrote: a row for each row that it inserted or changed, to undo exactly that.
migration_rows = Table(
    "migration_rows",
    metadata,
    Column("id", big_id, primary_key=True),
    Column("batch", key(32), nullable=False),
    Column("table_name", key(64), nullable=False),
    Column("row_id", sa.BigInteger, nullable=False),
    Column("manychat_id", key(64)),  # of the person, if the row is of one
    # JSON: the values that it changed, as they were; NULL: it inserted the row.
    Column("before", text()),
    # SHA-256 of the whole row as it left it: another one means that the row was used since.
    Column("digest", key(64), nullable=False),
    Column("undone_at", Moment),
    Index("ix_migration_rows_batch", "batch", "id"),
    Index("ix_migration_rows_manychat_id", "manychat_id"),
)


def _unique_where(name: str, where: sa.ColumnElement[bool], *columns: Column[Any]) -> Index:
    """A unique index over the rows that satisfy ``where``.

    SQL Server's plain unique index allows only one NULL, other databases any number. With the filter all are the same.
    """
    return _index_where(name, where, *columns, unique=True)


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

# SQLAlchemy would add OUTPUT to the INSERT of a single row, to learn its id. SQL Server refuses that on a table with a
# trigger, whatever the trigger does (error 334). Now the id comes from SCOPE_IDENTITY(), or first from the sequence.
for _table in metadata.tables.values():
    _table.implicit_returning = False

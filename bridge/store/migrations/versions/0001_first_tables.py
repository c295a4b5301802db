"""First tables."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mssql

from bridge.store.migrations.place import place, target

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Types are spelt out here, not imported from bridge.store.schema: a migration must go on meaning what it meant.
MOMENT = sa.DateTime().with_variant(mssql.DATETIME2(6), "mssql")
LONG_TEXT = sa.UnicodeText().with_variant(mssql.NVARCHAR(), "mssql")
BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def key(length: int) -> sa.types.TypeEngine[str]:
    return sa.Unicode(length).with_variant(mssql.NVARCHAR(length, collation="Latin1_General_100_BIN2"), "mssql")


def text(length: int) -> sa.types.TypeEngine[str]:
    return sa.Unicode(length)


def reference(name: str, table: str, nullable: bool = True) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, sa.ForeignKey(target(f"{table}.id")), nullable=nullable)


def recency() -> list[sa.Column[Any]]:
    return [
        sa.Column("event_at", MOMENT),
        sa.Column("event_received_at", MOMENT),
        sa.Column("event_id", key(64)),
    ]


def written() -> list[sa.Column[Any]]:
    return [sa.Column("created_at", MOMENT, nullable=False), sa.Column("updated_at", MOMENT, nullable=False)]


def chosen_id(sequence: str) -> sa.Column[int]:
    """An id that senders choose. A sequence fills it in if no sender did; SQLite does so by itself."""
    default = None
    if op.get_context().dialect.supports_sequences:
        op.execute(sa.schema.CreateSequence(sa.Sequence(sequence, start=1, **place())))
        default = sa.Sequence(sequence, **place()).next_value()
    return sa.Column("id", sa.Integer, primary_key=True, autoincrement=False, server_default=default)


def unique_where(name: str, table: str, columns: list[str], where: str) -> None:
    """A unique index with a filter, because SQL Server's plain unique index allows only one NULL."""
    condition = sa.text(where)
    op.create_index(
        name,
        table,
        columns,
        unique=True,
        mssql_where=condition,
        postgresql_where=condition,
        sqlite_where=condition,
        **place(),
    )


def upgrade() -> None:
    create_channels_advisors_and_campaigns()
    create_contacts()
    create_campaign_contacts()
    create_opportunities()
    create_audit()
    create_dead_letters()


def create_channels_advisors_and_campaigns() -> None:
    op.create_table(
        "channels",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name_key", key(256), nullable=False, unique=True),
        sa.Column("name", text(256), nullable=False),
        sa.Column("description", LONG_TEXT),
        *written(),
        **place(),
    )
    op.create_table(
        "advisors",
        chosen_id("advisor_id"),
        sa.Column("name", text(256)),
        sa.Column("email", text(320)),
        sa.Column("phone", text(64)),
        sa.Column("role", text(32)),
        *written(),
        **place(),
    )
    op.create_table(
        "campaigns",
        chosen_id("campaign_id"),
        sa.Column("name", text(256)),
        sa.Column("date_start", MOMENT),
        sa.Column("date_end", MOMENT),
        sa.Column("budget", sa.Numeric(14, 2)),
        sa.Column("status", text(64)),
        reference("channel_id", "channels"),
        *written(),
        **place(),
    )


def create_contacts() -> None:
    op.create_table(
        "contacts",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("manychat_id", key(64), nullable=False, unique=True),
        sa.Column("first_name", text(256)),
        sa.Column("last_name", text(256)),
        sa.Column("phone", text(64)),
        sa.Column("email", text(320)),
        reference("channel_id", "channels"),
        sa.Column("subscribed_at", MOMENT),
        sa.Column("initial_state", text(256)),
        sa.Column("last_state", text(256)),
        *recency(),
        *written(),
        **place(),
    )
    op.create_index("ix_contacts_channel_id", "contacts", ["channel_id"], **place())
    op.create_index("ix_contacts_updated_at", "contacts", ["updated_at"], **place())
    op.create_table(
        "contact_states",
        sa.Column("id", BIG_ID, primary_key=True),
        reference("contact_id", "contacts", nullable=False),
        sa.Column("state", text(256), nullable=False),
        sa.Column("category", text(32), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("event_id", key(64)),
        **place(),
    )
    op.create_index(
        "ix_contact_states_contact_id_created_at", "contact_states", ["contact_id", "created_at"], **place()
    )
    unique_where("uq_contact_states_event_id", "contact_states", ["event_id"], "event_id IS NOT NULL")


def create_campaign_contacts() -> None:
    op.create_table(
        "campaign_contacts",
        sa.Column("id", sa.Integer, primary_key=True),
        reference("contact_id", "contacts", nullable=False),
        reference("campaign_id", "campaigns"),
        sa.Column("type", text(256)),
        reference("commercial_advisor_id", "advisors"),
        sa.Column("commercial_assignment_date", MOMENT),
        reference("medical_advisor_id", "advisors"),
        sa.Column("medical_assignment_date", MOMENT),
        sa.Column("assigned_at", MOMENT),
        sa.Column("last_state", text(256)),
        sa.Column("summary", LONG_TEXT),
        *recency(),
        *written(),
        **place(),
    )
    op.create_index("ix_campaign_contacts_campaign_id", "campaign_contacts", ["campaign_id"], **place())
    unique_where(
        "uq_campaign_contacts_contact_id_campaign_id",
        "campaign_contacts",
        ["contact_id", "campaign_id"],
        "campaign_id IS NOT NULL",
    )
    unique_where(
        "uq_campaign_contacts_contact_id_unassigned", "campaign_contacts", ["contact_id"], "campaign_id IS NULL"
    )


def create_opportunities() -> None:
    op.create_table(
        "opportunities",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("manychat_id", key(64), nullable=False, unique=True),
        reference("contact_id", "contacts", nullable=False),
        sa.Column("lead_id", sa.Integer),
        sa.Column("stage", text(256)),
        sa.Column("manychat_stage_id", sa.Integer),
        sa.Column("manychat_stage", text(256)),
        sa.Column("summary", LONG_TEXT),
        sa.Column("entry_date", MOMENT),
        reference("commercial_advisor_id", "advisors"),
        reference("medical_advisor_id", "advisors"),
        sa.Column("odoo_sync_status", text(16), nullable=False),
        sa.Column("odoo_synced_at", MOMENT),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("last_error", LONG_TEXT),
        *recency(),
        *written(),
        **place(),
    )
    op.create_index("ix_opportunities_odoo_sync_status", "opportunities", ["odoo_sync_status", "updated_at"], **place())
    op.create_table(
        "opportunity_stages",
        sa.Column("id", BIG_ID, primary_key=True),
        reference("opportunity_id", "opportunities", nullable=False),
        sa.Column("lead_id", sa.Integer),
        sa.Column("stage_from", text(256)),
        sa.Column("stage_to", text(256)),
        sa.Column("event_at", MOMENT, nullable=False),
        sa.Column("applied_at", MOMENT, nullable=False),
        sa.Column("event_id", key(64), nullable=False, unique=True),
        **place(),
    )
    op.create_index(
        "ix_opportunity_stages_opportunity_id_event_at",
        "opportunity_stages",
        ["opportunity_id", "event_at"],
        **place(),
    )


def create_audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", BIG_ID, primary_key=True),
        sa.Column("event_id", key(64), nullable=False, unique=True),
        sa.Column("type", text(32), nullable=False),
        sa.Column("queue", text(64), nullable=False),
        sa.Column("source", text(32), nullable=False),
        sa.Column("manychat_id", key(64), nullable=False),
        sa.Column("payload", LONG_TEXT, nullable=False),
        sa.Column("occurred_at", MOMENT, nullable=False),
        sa.Column("clock_is_wrong", sa.Boolean, nullable=False),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("enqueued_at", MOMENT),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("in_attempt", sa.Boolean, nullable=False),
        sa.Column("outcome", text(32)),
        sa.Column("error_code", text(64)),
        sa.Column("error", LONG_TEXT),
        sa.Column("lead_id", sa.Integer),
        sa.Column("stage_before", text(256)),
        sa.Column("stage_after", text(256)),
        **place(),
    )
    op.create_index("ix_audit_manychat_id_occurred_at", "audit", ["manychat_id", "occurred_at"], **place())
    op.create_index("ix_audit_received_at", "audit", ["received_at"], **place())
    op.create_index("ix_audit_outcome_received_at", "audit", ["outcome", "received_at"], **place())


def create_dead_letters() -> None:
    op.create_table(
        "dead_letters",
        sa.Column("id", BIG_ID, primary_key=True),
        sa.Column("event_id", key(64)),
        sa.Column("message_id", key(64), nullable=False),
        sa.Column("queue", text(64), nullable=False),
        sa.Column("type", text(32)),
        sa.Column("manychat_id", key(64)),
        sa.Column("body", LONG_TEXT, nullable=False),
        sa.Column("enqueued_at", MOMENT),
        sa.Column("code", text(64), nullable=False),
        sa.Column("message", LONG_TEXT, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("first_tried_at", MOMENT, nullable=False),
        sa.Column("last_tried_at", MOMENT, nullable=False),
        sa.Column("status", text(16), nullable=False),
        sa.Column("notified_at", MOMENT),
        sa.Column("replayed_at", MOMENT),
        sa.Column("resolved_at", MOMENT),
        **place(),
    )
    op.create_index("ix_dead_letters_status", "dead_letters", ["status", "last_tried_at"], **place())
    op.create_index("ix_dead_letters_message_id", "dead_letters", ["message_id"], **place())
    unique_where("uq_dead_letters_event_id", "dead_letters", ["event_id"], "event_id IS NOT NULL")
    unique_where("uq_dead_letters_unreadable", "dead_letters", ["message_id"], "event_id IS NULL")


def downgrade() -> None:
    for table in (
        "dead_letters",
        "audit",
        "opportunity_stages",
        "opportunities",
        "campaign_contacts",
        "contact_states",
        "contacts",
        "campaigns",
        "advisors",
        "channels",
    ):
        op.drop_table(table, **place())
    if op.get_context().dialect.supports_sequences:
        for sequence in ("advisor_id", "campaign_id"):
            op.execute(sa.schema.DropSequence(sa.Sequence(sequence, **place())))

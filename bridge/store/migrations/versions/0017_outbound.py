"""What goes to ManyChat: the state each person should see there, started flows, echoes, and the pace of calls."""

import sqlalchemy as sa
from alembic import op

from bridge.store.column_types import Moment, big_id, key, text
from bridge.store.migrations.place import place

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_FILTERED = (
    ("unqueued", "id", sa.column("queued_at").is_(None)),
    ("unsent", "queued_at", sa.column("sent_as_of").is_(None)),
    ("refused", "id", sa.column("refused_code").is_not(None)),
    ("unreported", "id", sa.column("to_report", sa.Boolean) == sa.true()),
)


def upgrade() -> None:
    op.create_table(
        "manychat_writes",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("manychat_id", key(64), nullable=False, unique=True),
        sa.Column("wanted", text(), nullable=False),
        sa.Column("wanted_as_of", Moment, nullable=False),
        sa.Column("wanted_by", key(16), nullable=False),
        sa.Column("event_id", key(64), nullable=False),
        sa.Column("flow_event_id", key(64)),
        sa.Column("flow_wanted_at", Moment),
        sa.Column("queued_at", Moment),
        sa.Column("sent", text()),
        sa.Column("forget", sa.Boolean, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("sent_as_of", Moment),
        sa.Column("lease", key(32)),
        sa.Column("leased_until", Moment),
        sa.Column("refused_code", text(64)),
        sa.Column("refused", text()),
        sa.Column("result_at", Moment),
        sa.Column("to_report", sa.Boolean, nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("updated_at", Moment, nullable=False),
        **place(),
    )
    for name, column, where in _FILTERED:
        op.create_index(
            f"ix_manychat_writes_{name}",
            "manychat_writes",
            [column],
            mssql_where=where,
            postgresql_where=where,
            sqlite_where=where,
            **place(),
        )
    op.create_table(
        "manychat_flows",
        sa.Column("id", big_id, primary_key=True),
        sa.Column("event_id", key(64), nullable=False, unique=True),
        sa.Column("manychat_id", key(64), nullable=False),
        sa.Column("flow_ns", text(256), nullable=False),
        sa.Column("started_at", Moment, nullable=False),
        sa.Column("result", text(64)),
        **place(),
    )
    op.create_index(
        "ix_manychat_flows_manychat_id_started_at", "manychat_flows", ["manychat_id", "started_at"], **place()
    )
    op.create_index("ix_manychat_flows_started_at", "manychat_flows", ["started_at"], **place())
    op.create_table(
        "manychat_echoes",
        sa.Column("id", big_id, primary_key=True),
        sa.Column("manychat_id", key(64), nullable=False),
        sa.Column("stage", text(256), nullable=False),
        sa.Column("stage_id", sa.Integer),
        sa.Column("as_of", Moment, nullable=False),
        sa.Column("by_chat", sa.Boolean, nullable=False),
        sa.Column("written_at", Moment, nullable=False),
        sa.Column("event_id", key(64)),
        **place(),
    )
    op.create_index("ix_manychat_echoes_manychat_id", "manychat_echoes", ["manychat_id", "written_at"], **place())
    op.create_index("ix_manychat_echoes_written_at", "manychat_echoes", ["written_at"], **place())
    op.create_table(
        "manychat_slots",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("next_at", Moment, nullable=False),
        sa.Column("paused_until", Moment),
        sa.Column("reason", text(256)),
        sa.Column("stops", sa.Integer, nullable=False),
        **place(),
    )


def downgrade() -> None:
    op.drop_table("manychat_slots", **place())
    for name in ("ix_manychat_echoes_written_at", "ix_manychat_echoes_manychat_id"):
        op.drop_index(name, "manychat_echoes", **place())
    op.drop_table("manychat_echoes", **place())
    for name in ("ix_manychat_flows_started_at", "ix_manychat_flows_manychat_id_started_at"):
        op.drop_index(name, "manychat_flows", **place())
    op.drop_table("manychat_flows", **place())
    for name, _, _ in reversed(_FILTERED):
        op.drop_index(f"ix_manychat_writes_{name}", "manychat_writes", **place())
    op.drop_table("manychat_writes", **place())

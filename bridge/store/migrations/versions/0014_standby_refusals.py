"""How often the standby API refused requests."""

import sqlalchemy as sa
from alembic import op

from bridge.store.column_types import Moment, big_id, key, text
from bridge.store.migrations.place import place

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "standby_refusals",
        sa.Column("id", big_id, primary_key=True),
        sa.Column("digest", key(64), nullable=False, unique=True),
        sa.Column("key_name", text(256), nullable=False),
        sa.Column("key_prefix", key(16), nullable=False),
        sa.Column("address", text(64), nullable=False),
        sa.Column("path", text(256), nullable=False),
        sa.Column("code", key(64), nullable=False),
        sa.Column("requests", sa.Integer, nullable=False),
        sa.Column("reported_requests", sa.Integer, nullable=False, server_default="0"),
        sa.Column("first_at", Moment, nullable=False),
        sa.Column("last_at", Moment, nullable=False),
        **place(),
    )
    op.create_index("ix_standby_refusals_last_at", "standby_refusals", ["last_at"], **place())


def downgrade() -> None:
    op.drop_index("ix_standby_refusals_last_at", "standby_refusals", **place())
    op.drop_table("standby_refusals", **place())

"""For operators: paused queues, discarded dead letters, and the time of the newest attempt."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mssql

from bridge.store.migrations.place import place

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime().with_variant(mssql.DATETIME2(6), "mssql")
KEY = sa.Unicode(64).with_variant(mssql.NVARCHAR(64, collation="Latin1_General_100_BIN2"), "mssql")


def upgrade() -> None:
    op.create_table(
        "pauses",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("queue", KEY, nullable=False, unique=True),
        sa.Column("paused_at", MOMENT, nullable=False),
        **place(),
    )
    op.add_column("audit", sa.Column("tried_at", MOMENT), **place())
    op.add_column("dead_letters", sa.Column("discarded_at", MOMENT), **place())


def downgrade() -> None:
    op.drop_column("dead_letters", "discarded_at", **place())
    op.drop_column("audit", "tried_at", **place())
    op.drop_table("pauses", **place())

"""A table to find out whether the bridge can write."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mssql

from bridge.store.migrations.place import place

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "write_checks",
        sa.Column(
            "id",
            sa.Unicode(32).with_variant(mssql.NVARCHAR(32, collation="Latin1_General_100_BIN2"), "mssql"),
            primary_key=True,
        ),
        sa.Column("written_at", sa.DateTime().with_variant(mssql.DATETIME2(6), "mssql"), nullable=False),
        sa.Column("filler", sa.UnicodeText().with_variant(mssql.NVARCHAR(), "mssql"), nullable=False),
        **place(),
    )


def downgrade() -> None:
    op.drop_table("write_checks", **place())

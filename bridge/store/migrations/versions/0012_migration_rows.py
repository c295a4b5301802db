"""What a migration from an old system wrote, to undo it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mssql

from bridge.store.migrations.place import place

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def _key(length: int) -> sa.types.TypeEngine[str]:
    return sa.Unicode(length).with_variant(mssql.NVARCHAR(length, collation="Latin1_General_100_BIN2"), "mssql")


def upgrade() -> None:
    op.create_table(
        "migration_rows",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("batch", _key(32), nullable=False),
        sa.Column("table_name", _key(64), nullable=False),
        sa.Column("row_id", sa.BigInteger, nullable=False),
        sa.Column("manychat_id", _key(64)),
        sa.Column("before", sa.UnicodeText().with_variant(mssql.NVARCHAR(), "mssql")),
        sa.Column("digest", _key(64), nullable=False),
        sa.Column("undone_at", sa.DateTime().with_variant(mssql.DATETIME2(6), "mssql")),
        **place(),
    )
    op.create_index("ix_migration_rows_batch", "migration_rows", ["batch", "id"], **place())
    op.create_index("ix_migration_rows_manychat_id", "migration_rows", ["manychat_id"], **place())


def downgrade() -> None:
    op.drop_index("ix_migration_rows_manychat_id", "migration_rows", **place())
    op.drop_index("ix_migration_rows_batch", "migration_rows", **place())
    op.drop_table("migration_rows", **place())

"""What a year of events showed to be slow: a purge that reads all rows that earlier ones have emptied, and rare flags.

The column is added without a rewrite of the table. Each index is built over the whole of ``audit``.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mssql

from bridge.store.migrations.place import place

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime().with_variant(mssql.DATETIME2(6), "mssql")
UNPURGED = "purged_at IS NULL AND finished_at IS NOT NULL"


def upgrade() -> None:
    op.add_column("audit", sa.Column("purged_at", MOMENT), **place())
    _index("ix_audit_unpurged", ["finished_at", "id"], UNPURGED, UNPURGED)
    # PostgreSQL has a type for flags. To the others they are numbers.
    _index("ix_audit_wrong_clocks", ["received_at"], "clock_is_wrong = true", "clock_is_wrong = 1")


def downgrade() -> None:
    for name in ("ix_audit_wrong_clocks", "ix_audit_unpurged"):
        op.drop_index(name, "audit", **place())
    op.drop_column("audit", "purged_at", **place())


def _index(name: str, columns: list[str], postgresql: str, other: str) -> None:
    op.create_index(
        name,
        "audit",
        columns,
        postgresql_where=sa.text(postgresql),
        mssql_where=sa.text(other),
        sqlite_where=sa.text(other),
        **place(),
    )

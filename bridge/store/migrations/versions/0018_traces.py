"""The trace that an event belongs to, where its sender named one.

The column is added without a rewrite of the table. The index is built over the whole of ``audit``, and is empty.
"""

import sqlalchemy as sa
from alembic import op

from bridge.store.column_types import key
from bridge.store.migrations.place import place

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

NAMED = sa.text("traceparent IS NOT NULL")


def upgrade() -> None:
    op.add_column("audit", sa.Column("traceparent", key(64)), **place())
    op.create_index(
        "ix_audit_traceparent",
        "audit",
        ["traceparent"],
        postgresql_where=NAMED,
        mssql_where=NAMED,
        sqlite_where=NAMED,
        **place(),
    )


def downgrade() -> None:
    op.drop_index("ix_audit_traceparent", "audit", **place())
    op.drop_column("audit", "traceparent", **place())

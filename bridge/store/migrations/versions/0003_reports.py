"""Which outcomes Odoo knows, and how often an Odoo user sent an event again."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mssql

from bridge.store.migrations.default import drop_default
from bridge.store.migrations.place import place

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime().with_variant(mssql.DATETIME2(6), "mssql")
UNREPORTED = sa.text("outcome IS NOT NULL AND reported_at IS NULL")


def upgrade() -> None:
    op.add_column("audit", sa.Column("retries", sa.Integer, nullable=False, server_default="0"), **place())
    op.add_column("audit", sa.Column("reported_at", MOMENT), **place())
    # Odoo itself answered these outcomes. It does not know the others.
    audit = sa.table("audit", *(sa.column(name) for name in ("outcome", "finished_at", "reported_at")), **place())
    odoo_knows = audit.c.outcome.in_(["created", "moved", "updated", "unchanged", "stale"])
    op.execute(audit.update().where(odoo_knows).values(reported_at=audit.c.finished_at))
    op.create_index(
        "ix_audit_unreported",
        "audit",
        ["id"],
        mssql_where=UNREPORTED,
        postgresql_where=UNREPORTED,
        sqlite_where=UNREPORTED,
        **place(),
    )


def downgrade() -> None:
    op.drop_index("ix_audit_unreported", "audit", **place())
    op.drop_column("audit", "reported_at", **place())
    drop_default("audit", "retries")
    op.drop_column("audit", "retries", **place())

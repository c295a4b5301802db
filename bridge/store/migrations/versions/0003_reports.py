"""What the bridge has told Odoo of, and how often a person had an event sent again."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mssql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime().with_variant(mssql.DATETIME2(6), "mssql")
UNREPORTED = sa.text("outcome IS NOT NULL AND reported_at IS NULL")
# SQL Server keeps the default as a constraint of its own, under a name that it made up, which must go first. Alembic's
# mssql_drop_default would do it, but for IF EXISTS: Babelfish shows the constraint, and has none.
DROP_DEFAULT = """
DECLARE @name NVARCHAR(128), @drop NVARCHAR(400)
SELECT @name = name FROM sys.default_constraints
WHERE parent_object_id = OBJECT_ID('audit') AND COL_NAME(parent_object_id, parent_column_id) = 'retries'
SET @drop = 'ALTER TABLE audit DROP CONSTRAINT IF EXISTS ' + QUOTENAME(@name)
EXEC(@drop)
"""


def upgrade() -> None:
    op.add_column("audit", sa.Column("retries", sa.Integer, nullable=False, server_default="0"))
    op.add_column("audit", sa.Column("reported_at", MOMENT))
    # Odoo itself said how these ended; the others it has never heard of.
    op.execute(
        "UPDATE audit SET reported_at = finished_at "
        "WHERE outcome IN ('created', 'moved', 'updated', 'unchanged', 'stale')"
    )
    op.create_index(
        "ix_audit_unreported",
        "audit",
        ["id"],
        mssql_where=UNREPORTED,
        postgresql_where=UNREPORTED,
        sqlite_where=UNREPORTED,
    )


def downgrade() -> None:
    op.drop_index("ix_audit_unreported", "audit")
    op.drop_column("audit", "reported_at")
    if op.get_context().dialect.name == "mssql":
        op.execute(DROP_DEFAULT)
    op.drop_column("audit", "retries")

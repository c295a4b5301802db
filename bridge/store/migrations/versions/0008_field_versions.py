"""A version for each field: an older event that arrives second fills what no newer one has said."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mssql

from bridge.store.migrations.place import place

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TABLES = ("contacts", "campaign_contacts", "opportunities")


def upgrade() -> None:
    for table in TABLES:
        column = sa.Column("field_versions", sa.UnicodeText().with_variant(mssql.NVARCHAR(), "mssql"))
        op.add_column(table, column, **place())


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_column(table, "field_versions", **place())

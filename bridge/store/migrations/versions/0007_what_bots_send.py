"""What bots send beside the contract, what was left out of it, and the zone of their dates."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mssql

from bridge.store.migrations.place import place

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_JSON = sa.UnicodeText().with_variant(mssql.NVARCHAR(), "mssql")
COLUMNS = (
    ("audit", "extra", _JSON),
    ("audit", "warnings", _JSON),
    ("contacts", "extra", _JSON),
    ("campaign_contacts", "extra", _JSON),
    ("opportunities", "extra", _JSON),
    ("api_keys", "zone", sa.Unicode(64)),
)


def upgrade() -> None:
    for table, column, kind in COLUMNS:
        op.add_column(table, sa.Column(column, kind), **place())


def downgrade() -> None:
    for table, column, _ in reversed(COLUMNS):
        op.drop_column(table, column, **place())

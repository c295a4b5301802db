"""Keys that were made in Odoo: valid there, or ended there."""

import sqlalchemy as sa
from alembic import op

from bridge.store.migrations.place import place

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("in_odoo", sa.Boolean), **place())


def downgrade() -> None:
    op.drop_column("api_keys", "in_odoo", **place())

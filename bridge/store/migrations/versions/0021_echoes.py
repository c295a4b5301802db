"""Which events were there before a stage was written to ManyChat: these are no echoes of it."""

import sqlalchemy as sa
from alembic import op

from bridge.store.column_types import big_id
from bridge.store.migrations.place import place

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("manychat_echoes", sa.Column("after_audit_id", big_id), **place())


def downgrade() -> None:
    op.drop_column("manychat_echoes", "after_audit_id", **place())

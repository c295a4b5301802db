"""A name for the audit's flag that says what it means."""

import sqlalchemy as sa
from alembic import op

from bridge.store.migrations.place import place

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _rename("in_attempt", "attempt_in_progress")


def downgrade() -> None:
    _rename("attempt_in_progress", "in_attempt")


def _rename(old: str, new: str) -> None:
    op.alter_column("audit", old, new_column_name=new, existing_type=sa.Boolean(), existing_nullable=False, **place())

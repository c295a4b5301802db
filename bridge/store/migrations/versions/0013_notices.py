"""The notices of dead letters: by which they are deleted when their letter is closed."""

import sqlalchemy as sa
from alembic import op

from bridge.store.column_types import key
from bridge.store.migrations.place import place

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("dead_letters", sa.Column("notice_id", key(64)), **place())
    op.add_column("dead_letters", sa.Column("notice_receipt", key(512)), **place())
    where = sa.column("notice_id").is_not(None)
    op.create_index(
        "ix_dead_letters_notice",
        "dead_letters",
        ["id"],
        mssql_where=where,
        postgresql_where=where,
        sqlite_where=where,
        **place(),
    )


def downgrade() -> None:
    op.drop_index("ix_dead_letters_notice", "dead_letters", **place())
    op.drop_column("dead_letters", "notice_receipt", **place())
    op.drop_column("dead_letters", "notice_id", **place())

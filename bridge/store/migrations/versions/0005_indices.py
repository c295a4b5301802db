"""Indices that the plans of the store's own statements showed to be missing."""

from alembic import op

from bridge.store.migrations.place import place

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

INDICES = {
    "opportunities": ["event_id"],
    "opportunity_stages": ["event_at"],
    "audit": ["finished_at"],
    "dead_letters": ["manychat_id"],
}


def upgrade() -> None:
    for table, columns in INDICES.items():
        for column in columns:
            op.create_index(f"ix_{table}_{column}", table, [column], **place())


def downgrade() -> None:
    for table, columns in INDICES.items():
        for column in columns:
            op.drop_index(f"ix_{table}_{column}", table, **place())

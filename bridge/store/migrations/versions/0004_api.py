"""For the API: its keys, and an index for every list and every reference that it checks."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mssql

from bridge.store.migrations.place import place

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime().with_variant(mssql.DATETIME2(6), "mssql")

INDEXED = (
    ("channels", "updated_at"),
    ("advisors", "updated_at"),
    ("advisors", "role"),
    ("campaigns", "channel_id"),
    ("campaigns", "updated_at"),
    ("campaigns", "status"),
    ("contacts", "last_state"),
    ("campaign_contacts", "contact_id"),
    ("campaign_contacts", "commercial_advisor_id"),
    ("campaign_contacts", "medical_advisor_id"),
    ("campaign_contacts", "updated_at"),
    ("campaign_contacts", "last_state"),
    ("opportunities", "contact_id"),
    ("opportunities", "lead_id"),
    ("opportunities", "commercial_advisor_id"),
    ("opportunities", "medical_advisor_id"),
    ("opportunities", "updated_at"),
    ("opportunities", "stage"),
)


def key(length: int) -> sa.types.TypeEngine[str]:
    return sa.Unicode(length).with_variant(mssql.NVARCHAR(length, collation="Latin1_General_100_BIN2"), "mssql")


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Unicode(256), nullable=False),
        sa.Column("prefix", key(16), nullable=False),
        sa.Column("digest", key(64), nullable=False, unique=True),
        sa.Column("scope", sa.Unicode(16), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT),
        sa.Column("revoked_at", MOMENT),
        sa.Column("last_used_at", MOMENT),
        **place(),
    )
    for table, column in INDEXED:
        op.create_index(f"ix_{table}_{column}", table, [column], **place())


def downgrade() -> None:
    for table, column in reversed(INDEXED):
        op.drop_index(f"ix_{table}_{column}", table, **place())
    op.drop_table("api_keys", **place())

"""Opportunities as people changed them in Odoo, and what administrators set there."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from bridge.store.column_types import Moment, key, text
from bridge.store.migrations.default import drop_default
from bridge.store.migrations.place import place

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

OPPORTUNITIES: dict[str, Any] = {
    "stage_id": sa.Integer,
    "status": key(16),
    "lost_reason": text(256),
    "salesperson_id": sa.Integer,
    "salesperson": text(256),
    "team_id": sa.Integer,
    "team": text(256),
    "expected_revenue": sa.Numeric(18, 2),
    "currency": text(8),
    "closed_at": Moment,
    "first_answered_at": Moment,
    "merged_into": sa.Integer,
    "stage_by": key(16),
    "decided_at": Moment,
    "odoo_as_of": Moment,
}


def upgrade() -> None:
    for name, kind in OPPORTUNITIES.items():
        op.add_column("opportunities", sa.Column(name, kind), **place())
    op.create_index("ix_opportunities_status", "opportunities", ["status"], **place())
    # Until now only the chat's moves were stored.
    op.add_column(
        "opportunity_stages", sa.Column("moved_by", key(16), nullable=False, server_default="chat"), **place()
    )
    op.add_column("opportunity_stages", sa.Column("user_id", sa.Integer), **place())
    op.add_column("opportunity_stages", sa.Column("status", key(16)), **place())
    op.create_table(
        "odoo_settings",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", key(64), nullable=False, unique=True),
        sa.Column("value", text(), nullable=False),
        sa.Column("updated_at", Moment, nullable=False),
        **place(),
    )


def downgrade() -> None:
    op.drop_table("odoo_settings", **place())
    drop_default("opportunity_stages", "moved_by")
    for name in ("status", "user_id", "moved_by"):
        op.drop_column("opportunity_stages", name, **place())
    op.drop_index("ix_opportunities_status", "opportunities", **place())
    for name in reversed(OPPORTUNITIES):
        op.drop_column("opportunities", name, **place())

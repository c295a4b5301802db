"""Views for analysts, and an index for loading the stage moves bit by bit."""

from alembic import op

from bridge.store.migrations import views_0016
from bridge.store.migrations.place import place

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_opportunity_stages_applied_at", "opportunity_stages", ["applied_at"], **place())
    views_0016.create(views_0016.MAKERS)


def downgrade() -> None:
    views_0016.drop(views_0016.MAKERS)
    op.drop_index("ix_opportunity_stages_applied_at", "opportunity_stages", **place())

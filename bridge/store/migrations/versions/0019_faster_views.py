"""Views for analysts that read less. Their columns and figures stay."""

from bridge.store.migrations import views_0016, views_0019

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

BEFORE = {name: views_0016.MAKERS[name] for name in views_0019.MAKERS}


def upgrade() -> None:
    views_0016.drop(BEFORE)
    views_0016.create(views_0019.MAKERS)


def downgrade() -> None:
    views_0016.drop(views_0019.MAKERS)
    views_0016.create(BEFORE)

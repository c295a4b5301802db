"""Views for analysts that are right in awkward cases. Two of them have the id of what they divide by, too."""

from bridge.store.migrations import views_0016, views_0020

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    views_0016.drop(views_0020.BEFORE)
    views_0016.create(views_0020.MAKERS, views_0020.ExactWords)


def downgrade() -> None:
    views_0016.drop(views_0020.MAKERS)
    views_0016.create(views_0020.BEFORE)

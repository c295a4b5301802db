"""Views that are made anew have lost the rights on them: what a role could read, it can read again."""

from __future__ import annotations

from collections.abc import Iterable

from alembic import op

from ..reader_role import ROLES, grant_if_there
from .place import place


def grant_again(views: Iterable[str]) -> None:
    """Let the readers' roles that exist read ``views``. SQLite has no roles."""
    context = op.get_context()
    for statement in grant_if_there(context.dialect, place()["schema"], ROLES, views):
        op.execute(statement)

"""What the suites share: a whole running system of their own."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

# A busy machine may pause any test: no example has a time limit.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

if TYPE_CHECKING:
    from deploy.local.stack import Stack

    from .world import Chat, World


@pytest.fixture(scope="session")
def stack() -> Iterator["Stack"]:
    """Azurite, Odoo with the addon, and two bridges, separate from the demo's; fresh at the start of the run.

    Stopped, but kept at the end: its logs and its database tell why a test failed. With KEEP_STACK=1 in the environment
    it goes on from where the last run left it, upgraded if the addon has changed, and runs on afterwards: for whoever
    writes a test and tries it again and again.
    """
    from deploy.local import odoo
    from deploy.local.stack import Stack

    running = Stack("e2e", odoo.chosen(), bridges=2, durable=False)
    running.odoo.cluster.start()
    keep = bool(os.environ.get("KEEP_STACK"))
    if not keep:
        running.remove()
    running.start()
    yield running
    if not keep:
        running.stop()


@pytest.fixture(scope="session")
def world(stack: Any) -> Iterator["World"]:
    """ManyChat, Odoo and SQL around that stack."""
    import sqlalchemy as sa

    from .world import World

    engine = sa.create_engine(stack.database_url)
    yield World(stack, engine)
    engine.dispose()


@pytest.fixture
def chat(world: "World") -> "Chat":
    """A person who has not been heard of yet."""
    return world.chat()

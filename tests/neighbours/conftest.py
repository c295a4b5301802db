"""The running system, with an Odoo as companies have it: other apps, two companies, leads, assignment."""

from collections.abc import Iterator

import pytest

from deploy.local import odoo
from deploy.local.stack import Stack


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """In the place of the system with nothing beside; stopped, but kept at the end, as that one is."""
    running = Stack("neighbours", odoo.chosen(), bridges=2, durable=False, has_neighbours=True)
    running.odoo.cluster.start()
    running.remove()
    running.start()
    yield running
    running.stop()

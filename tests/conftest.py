"""What the suites share: a whole running system of their own."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def stack() -> Iterator["deploy.local.stack.Stack"]:  # noqa: F821 - imported below, by the suites that need it
    """Azurite, Odoo with the addon, and two bridges, separate from the demo's; fresh at the start of the run.

    Stopped, but kept at the end: its logs and its database tell why a test failed.
    """
    from deploy.local import odoo
    from deploy.local.stack import Stack

    running = Stack("e2e", odoo.chosen(), bridges=2, durable=False)
    running.odoo.cluster.start()
    running.remove()
    running.start()
    yield running
    running.stop()

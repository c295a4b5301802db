"""Databases of their own, on which the addon is installed, upgraded and uninstalled; nothing runs beside."""

import pytest

from deploy.local.odoo import Odoo, chosen


@pytest.fixture(scope="session")
def odoo() -> Odoo:
    """What makes databases and runs Odoo's commands on them."""
    installation = chosen()
    installation.cluster.start()
    installation.install()
    return installation


def database_name(name: str, odoo: Odoo) -> str:
    """A name for a test's database, other than those of other versions."""
    return f"miasalud_{name}_{odoo.label}".replace("-", "_").replace(".", "_")

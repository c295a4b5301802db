"""The addon's stand-in for ManyChat, for tests in which Odoo is another process: its odoo.conf names the stand-in."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.world import World

_FILE = Path(__file__).parents[1] / "miasalud_crm" / "tests" / "manychat_stand_in.py"


@contextmanager
def running(world: World) -> Iterator[Any]:
    """The stand-in. Odoo reads its settings anew for each use, so it needs no restart."""
    # Its package needs Odoo, which is not here.
    spec = importlib.util.spec_from_file_location("manychat_stand_in", _FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    conf = world.stack.folder / "odoo.conf"
    before = conf.read_text()
    with module.running() as stand_in:
        settings = f"manychat_api_token = {module.TOKEN}\nmanychat_api_url = {stand_in.address}\n"
        assert "[miasalud_crm]\n" in before
        conf.write_text(before.replace("[miasalud_crm]\n", f"[miasalud_crm]\n{settings}", 1))
        try:
            yield stand_in
        finally:
            conf.write_text(before)

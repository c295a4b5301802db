"""Where things are. Standard library only: the first step imports this."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""

STATE = ROOT / ".miasalud"
"""Everything generated. Deleting it (after `make down`) is always safe."""

VENV = STATE / "venv"
"""The tools, the bridge and its tests. Odoo has environments of its own: it pins old libraries."""

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "miasalud"
"""Odoo's source trees, shared by all checkouts of one user."""

"""The addon's ``README.rst``, from the fragments in ``miasalud_crm/readme/``."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FRAGMENTS = ROOT / "miasalud_crm" / "readme"
HEADINGS = {"INSTALL": "Installation", "CONFIGURE": "Configuration", "USAGE": "Usage"}
TITLE = "MiaSalud CRM"


def text() -> str:
    """The text of ``README.rst``."""
    line = "=" * len(TITLE)
    picture = ".. image:: static/description/pipeline.png\n   :alt: The pipeline"
    parts = [f"{line}\n{TITLE}\n{line}", _fragment("DESCRIPTION"), picture]
    for name, heading in HEADINGS.items():
        parts += [f"{heading}\n{'=' * len(heading)}", _fragment(name)]
    return "\n\n".join([*parts, "Odoo 18.0 and 19.0. Licence: LGPL-3. By MiaSalud."]) + "\n"


def _fragment(name: str) -> str:
    """A fragment as reStructuredText. Fragments use code, indented blocks, lists and emphasis, and no links."""
    markdown = (FRAGMENTS / f"{name}.md").read_text(encoding="utf-8").strip()
    code = re.sub(r"`([^`]+)`", r"``\1``", markdown)
    blocks = code.replace(":\n\n    ", "::\n\n    ")
    return re.sub(r"^- ", "* ", blocks, flags=re.MULTILINE)

"""``make generate``: the committed files that come from the code or from other files.

A test fails when one of them differs from what this writes.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from deploy.proxy import paths

from . import addon_readme, data, performance, settings

ROOT = Path(__file__).parents[2]

#: What makes the text of each file.
FILES: Mapping[Path, Callable[[], str]] = {
    ROOT / ".env.example": settings.env_example,
    ROOT / "docs" / "settings.md": settings.page,
    ROOT / "docs" / "data.md": data.page,
    ROOT / "docs" / "performance.md": performance.page,
    paths.TEMPLATE: paths.template,
    ROOT / "miasalud_crm" / "README.rst": addon_readme.text,
}


def main() -> None:
    """Write the files."""
    for path, text in FILES.items():
        path.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()

"""The migrations as files: two with the same number are found here."""

from __future__ import annotations

import subprocess
import sys
from importlib import resources
from pathlib import Path

from alembic.script import ScriptDirectory

from bridge.store import migrate

ROOT = Path(__file__).parents[2]


def test_the_migrations_are_one_line_numbered_without_a_gap() -> None:
    scripts = ScriptDirectory(str(resources.files("bridge.store") / "migrations"))
    heads = scripts.get_heads()
    assert len(heads) == 1, f"several follow the same one: {heads}. Renumber the later one, and mend its down_revision."

    line = [(script.revision, script.down_revision) for script in scripts.walk_revisions()][::-1]
    numbers = [f"{number:04}" for number in range(1, len(line) + 1)]
    assert line == list(zip(numbers, [None, *numbers], strict=False))
    files = resources.files("bridge.store") / "migrations" / "versions"
    assert sorted(file.name[:5] for file in files.iterdir() if file.name.endswith(".py")) == [f"{n}_" for n in numbers]
    assert (migrate.head(), migrate.revisions()) == (numbers[-1], set(numbers))


def test_starting_a_bridge_does_not_load_alembic() -> None:
    code = (
        "import sys, bridge.cli.app; sys.exit(sorted(name for name in sys.modules if name.startswith('alembic')) or 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0

"""The migrations as files: whoever lands second renames theirs, and this says so."""

from __future__ import annotations

from importlib import resources

from alembic.script import ScriptDirectory

from bridge.store import migrate


def test_the_migrations_are_one_line_numbered_without_a_gap() -> None:
    scripts = ScriptDirectory(str(resources.files("bridge.store") / "migrations"))
    heads = scripts.get_heads()
    assert len(heads) == 1, f"several follow the same one: {heads}. Renumber the later one, and mend its down_revision."

    line = [(script.revision, script.down_revision) for script in scripts.walk_revisions()][::-1]
    numbers = [f"{number:04}" for number in range(1, len(line) + 1)]
    assert line == list(zip(numbers, [None, *numbers], strict=False))
    files = resources.files("bridge.store") / "migrations" / "versions"
    assert sorted(file.name[:5] for file in files.iterdir() if file.name.endswith(".py")) == [f"{n}_" for n in numbers]
    assert migrate.head() == numbers[-1]

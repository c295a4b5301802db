"""``db adopt`` as an operator calls it."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from .conftest import Cli


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Path]:
    """What another program left."""
    file = tmp_path / "old.db"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(
            "CREATE TABLE contactos (id INTEGER PRIMARY KEY, manychat_id VARCHAR(50), nombre_lead VARCHAR(50),"
            " whatsapp VARCHAR(30), estado VARCHAR(50), fecha_actualizacion DATETIME)"
        )
        connection.executemany(
            "INSERT INTO contactos VALUES (?, ?, 'Zacarías 🌻', '+573001112233', 'Nuevo', '2025-03-04T21:30:00')",
            [(number, f"MC{number}") for number in range(1, 1201)],
        )
        connection.execute("INSERT INTO contactos (id) VALUES (1300)")
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    yield file
    assert hashlib.sha256(file.read_bytes()).hexdigest() == before


def test_from_describing_to_copying(cli: Cli, old: Path) -> None:
    url = f"sqlite:///{old}"
    assert "→" not in cli.start("db", "adopt", "--source-url", url).stdout
    described = cli("db", "adopt", "--source-url", url, "--describe", "--mapping", "m.toml")
    assert described.returncode == 0, described.stderr
    assert "contactos · 1,201 rows" in described.stdout
    again = cli("db", "adopt", "--source-url", url, "--describe", "--mapping", "m.toml")
    assert again.returncode == 2
    assert "was not changed" in again.stderr

    assert cli("db", "upgrade").returncode == 0
    checked = cli("db", "adopt", "--mapping", "m.toml", "--check", adopt_url=url)
    assert checked.returncode == 1
    assert 'timezone = "America/Bogota"' in checked.stderr
    file = cli.folder / "m.toml"
    file.write_text(file.read_text("utf-8").replace("# timezone", "timezone", 1), "utf-8")
    checked = cli("db", "adopt", "--mapping", "m.toml", "--check", adopt_url=url)
    assert checked.returncode == 0, checked.stderr
    assert "Would be written" in checked.stdout
    assert "contacts: 1 left out: manychat_id is empty (1300)" in checked.stdout

    for new, there in ((1200, 0), (0, 1200)):
        copied = cli("db", "adopt", "--mapping", "m.toml", adopt_url=url)
        assert copied.returncode == 0, copied.stderr
        [line] = [line for line in copied.stdout.splitlines() if "contactos" in line]
        assert [cell.strip() for cell in line.split("│")[3:-1]] == ["1,201", f"{new:,}", "0", f"{there:,}", "1"]
    assert "Zacarías" not in cli.printed
    assert "573001112233" not in cli.printed


def test_what_is_missing_is_said(cli: Cli, old: Path) -> None:
    result = cli("db", "adopt", "--mapping", "none.toml", "--source-url", f"sqlite:///{old}")
    assert result.returncode == 2
    assert "--describe --mapping none.toml" in result.stderr
    result = cli("db", "adopt", "--source-url", "sqlite:///nowhere.db")
    assert result.returncode == 2
    assert "there is no file" in result.stderr
    result = cli("db", "adopt", adopt_url="nonsense")
    assert result.returncode == 2
    assert "BRIDGE_ADOPT_URL" in result.stderr

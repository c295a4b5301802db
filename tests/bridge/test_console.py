"""What commands print is what they say: nothing in it is a command to the terminal or to the terminal library."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

import bridge.cli
from bridge.cli import check as check_command
from bridge.cli import console, status
from bridge.cli.check import Finding
from bridge.settings import Settings

BRACKETED = "In a checkout, run: pip install '.[azure-sql]' [red]x[/red] [/] \\[y]"


def printed(*what: object) -> str:
    text = io.StringIO()
    screen = Console(file=text, width=500, markup=console.out._markup)
    for each in what:
        screen.print(each)
    return text.getvalue()


def test_brackets_are_printed_in_text_tables_and_titles() -> None:
    table = Table("head [b]", title="title [b]")
    table.add_row(BRACKETED)

    said = printed(BRACKETED, table)
    assert said.count(BRACKETED) == 2
    assert "head [b]" in said
    assert "title [b]" in said


def test_check_prints_what_stands_in_brackets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finding = Finding("SQL", "connect", False, BRACKETED, f"{BRACKETED}\x1b[2J")
    monkeypatch.setattr(check_command, "findings", lambda _settings: [finding])
    monkeypatch.setattr(check_command, "load_settings", lambda: Settings(_env_file=None))
    with pytest.raises(SystemExit):
        check_command.check(as_json=False)

    said = capsys.readouterr().out
    assert said.count(BRACKETED) == 2
    assert "\x1b[2J" not in said


def test_status_prints_what_stands_in_brackets() -> None:
    down = {"status": "unavailable", "ms": 1.0, "reason": BRACKETED, "advice": ""}
    report = {
        "status": "degraded",
        "version": "1",
        "checked_at": "2025-06-10T12:00:00Z",
        "problems": [BRACKETED],
        "notices": [BRACKETED],
        "dependencies": {"sql": down},
        "bridges": [{"name": BRACKETED, "seconds": 1}],
        "paths": [],
        "manychat": None,
        "dead_letters": {"by_reason": {BRACKETED: 1}},
    }

    assert printed(status.view(report)).count(BRACKETED) == 5


def test_no_command_prints_past_this_console_or_escapes_for_markup() -> None:
    for file in Path(bridge.cli.__file__).parent.glob("*.py"):
        code = file.read_text()
        assert "rich.markup" not in code, file
        assert file.name == "console.py" or not re.search(r"\bConsole\(|^\s*print\(", code, re.MULTILINE), file

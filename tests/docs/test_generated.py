from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.settings import Settings
from deploy.docs import data, generate, settings

from .pages import ROOT


@pytest.mark.parametrize("path", generate.FILES, ids=lambda path: path.name)
def test_a_generated_file_is_what_make_generate_writes(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == generate.FILES[path](), f"{path.name} is out of date. Run: make generate"


def test_the_dictionary_has_the_types_that_sql_server_gives() -> None:
    kinds = dict(re.findall(r"^\| `(month|day|lead_id|entered_at)` \| ([^|]+) \|", data.page(), re.MULTILINE))
    assert kinds == {"month": "date", "day": "date", "lead_id": "integer", "entered_at": "datetime2(6)"}


def test_every_setting_has_a_place_and_a_description() -> None:
    assert sorted(name for names in settings.SECTIONS.values() for name in names) == sorted(Settings.model_fields)
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_the_site_builds_strictly_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", "deploy/docs/mkdocs.yml", "-d", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert {"index.html", "install.html", "SECURITY.html"} <= {page.name for page in pages}
    for page in pages:
        text = page.read_text("utf-8")
        # GitHub takes it for the next item of a list; the site's Markdown wants an empty line or four spaces.
        assert re.findall(r"[.:]\s(?:\d\.|-) [A-Z].*", text) == []
        assert re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="?https?://[^>]+>', text) == []

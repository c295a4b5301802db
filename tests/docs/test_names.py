"""Commands, options, targets, settings, metrics, menus and paths: a page names none that does not exist."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import polib
import pytest
import typer

from bridge.cli.app import app
from bridge.contract.payloads import WEBHOOKS
from bridge.settings import Settings, secrets, variable

from .pages import PAGES, ROOT, Page

ADDON = ROOT / "miasalud_crm"
#: Words in italics that the screens of other products have, Odoo's CRM and settings among them.
FOREIGN = {
    *("CRM", "Configuration", "Reporting", "Settings", "Merge", "Duplicate", "Delete", "External Request"),
    *("Dashboards", "New", "Import", "Security", "Report a vulnerability", "Full Contact Data", "Sales"),
}

#: The same in Spanish.
SPANISH_FOREIGN = {"Configuración", "Fusionar", "Reportes", "Ventas"}

#: Files that operators start from.
EXAMPLES = {".yml", ".json", ".template"}

every_page = pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)


@every_page
def test_commands_of_the_bridge_exist_with_their_options(page: Page) -> None:
    assert [problem for code in page.code for problem in _command_problems(code)] == []


@every_page
def test_targets_of_make_exist_with_their_variables(page: Page) -> None:
    assert [problem for code in page.code for problem in _make_problems(code)] == []


@every_page
def test_settings_exist(page: Page) -> None:
    known = {variable(name) for name in Settings.model_fields} | {f"{variable(name)}_FILE" for name in secrets()}
    assert set(re.findall(r"\bBRIDGE_[A-Z_]+", page.text)) <= known
    known = {f"MIASALUD_{name.upper()}" for name in _addon_names("SETTINGS")}
    known |= {f"MIASALUD_{name.upper()}_FILE" for name in _addon_names("SECRETS")}
    assert set(re.findall(r"\bMIASALUD_[A-Z_]+", page.text)) <= known


def _addon_names(constant: str) -> list[str]:
    source = (ROOT / "miasalud_crm" / "configuration.py").read_text(encoding="utf-8")
    (names,) = re.findall(rf"^{constant} = (.*)$", source, re.MULTILINE)
    return list(ast.literal_eval(names))


@every_page
def test_metrics_exist(page: Page) -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "bridge").rglob("*.py"))
    named = {
        re.sub(r"_(bucket|count|sum|total)$", "", name)
        for code in page.code
        for name in re.findall(r"\bmiasalud_(?!crm)\w+", code)
    }
    assert [name for name in named if f'"{name}"' not in source] == []


@every_page
def test_labels_of_screens_exist(page: Page) -> None:
    # In italics and with a capital letter: a label. Otherwise italics are emphasis.
    italics = re.findall(r"(?<!\*)\*([A-ZÁÉÍÓÚÑ][^*\n]*(?:\n[^*\n]+)?)\*(?!\*)", page.prose)
    labels = {" ".join(part.split()) for text in italics for part in re.split("[▸>]", text)}
    known = _spanish_labels() | SPANISH_FOREIGN if page.name.startswith("docs/es/") else _labels()
    assert labels - FOREIGN - known == set()


@every_page
def test_paths_exist(page: Page) -> None:
    tops = ("bridge/", "miasalud_crm/", "tests/", "deploy/", "docs/")
    paths = [code for code in page.code if code.startswith(tops) and " " not in code]
    assert [path for path in paths if not (ROOT / path).exists()] == []
    modules = [code for code in page.code if re.fullmatch(r"\w+\.py", code)]
    assert [name for name in modules if not any(next((ROOT / top).rglob(name), None) for top in tops)] == []


def test_our_packages_are_installed_from_a_checkout() -> None:
    # They are on no index: under their names anybody could put other code there.
    texts = [page.text for page in PAGES.values()] + [
        path.read_text("utf-8") for path in (ROOT / "bridge").rglob("*.py")
    ]
    calls = [call for text in texts for call in re.findall(r"pip install ([^`\n]*)", text)]
    assert len(calls) > 5
    assert [call for call in calls if "miasalud" in call] == []


def test_commands_in_examples_exist_with_their_options() -> None:
    examples = [
        ROOT / "docker-compose.yml",
        *(path for path in (ROOT / "deploy").rglob("*") if path.suffix in EXAMPLES),
    ]
    calls = [call for path in examples for call in re.findall(r"python -m bridge[^`\n]*", path.read_text("utf-8"))]
    assert len(calls) > 10
    assert [problem for call in calls for problem in _command_problems(re.split(r"[\"&,]", call)[0])] == []


def test_the_bot_builder_finds_every_webhook() -> None:
    assert {" ".join(each.route) for each in WEBHOOKS} <= set(PAGES["docs/connect-a-bot.md"].code)


def test_wrong_names_are_found() -> None:
    assert not list(_command_problems("python -m bridge dlq list --reason x --queue contact | head"))
    assert list(_command_problems("python -m bridge nothing"))
    assert list(_command_problems("python -m bridge dlq nothing"))
    assert list(_command_problems("python -m bridge dlq list --nothing"))
    assert not list(_make_problems("KEEP_STACK=1 make test-e2e ODOO=19.0"))
    assert list(_make_problems("make nothing"))
    assert list(_make_problems("make test NO_SUCH_VARIABLE=1"))


def _command_problems(code: str) -> Iterator[str]:
    for call in re.findall(r"python -m bridge\b([^|>;&]*)", code):
        command: Any = typer.main.get_command(app)
        for word in shlex.split(call.replace("…", "")):
            options = {option for parameter in command.params for option in (*parameter.opts, "--help", "--version")}
            if word.startswith("-"):
                if word not in options:
                    yield f"{command.name} has no option {word}"
            elif commands := getattr(command, "commands", None):
                if word not in commands:
                    yield f"{command.name} has no command {word}"
                    break
                command = commands[word]


def _make_problems(code: str) -> Iterator[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    readers = [makefile, *_tooling_sources()]
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, re.MULTILINE))
    if match := re.match(r"((?:\w+=\S+ )*)make((?: \S+)+)$", code):
        words = match[1].split() + match[2].split()
        for word in words:
            name, assigned, _ = word.partition("=")
            if assigned:
                if not any(re.search(rf"\b{name}\b", source) for source in readers):
                    yield f"nothing reads {name}"
            elif word not in targets:
                yield f"make has no target {word}"


@cache
def _tooling_sources() -> list[str]:
    return [path.read_text("utf-8") for top in ("tests", "deploy") for path in _but_these_tests(ROOT / top)]


def _but_these_tests(top: Path) -> Iterator[Path]:
    return (path for path in top.rglob("*.py") if Path(__file__).parent not in path.parents)


@cache
def _addon_source() -> str:
    return "".join(path.read_text(encoding="utf-8") for path in ADDON.rglob("*.py"))


@cache
def _labels() -> set[str]:
    """The names and labels in the addon's views, its fields, and its scripts' templates."""
    labels = set(re.findall(r'"([A-Z][^"\n]*)"', _addon_source()))
    # "For the bridge: it moves opportunities with it": a choice and its explanation.
    labels |= {label.split(":")[0] for label in labels}
    for path in (path for path in ADDON.rglob("*.xml") if "static/lib" not in str(path)):
        for element in ElementTree.parse(path).iter():
            texts = (element.text, element.tail, *element.attrib.values())
            labels |= {" ".join(text.split()) for text in texts if text and text.strip()}
    return labels


@cache
def _spanish_labels() -> set[str]:
    """What the labels of the addon are called in Spanish."""
    return {entry.msgstr for entry in polib.pofile(str(ADDON / "i18n" / "es.po"))}

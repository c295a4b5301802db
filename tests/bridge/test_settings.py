from __future__ import annotations

import json
from pathlib import Path

import pytest

from bridge.errors import ConfigurationError
from bridge.settings import Settings, load, variable

from .conftest import Cli

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of ours, and no .env."""
    monkeypatch.chdir(tmp_path)
    for field in Settings.model_fields:
        monkeypatch.delenv(variable(field), raising=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BRIDGE_BATCH_SIZE", "33"),
        ("BRIDGE_BATCH_SIZE", "many"),
        ("BRIDGE_VISIBILITY_TIMEOUT", "0"),
        ("BRIDGE_MAX_ATTEMPTS", "0"),
        ("BRIDGE_POLL_INTERVAL", "-1"),
        ("BRIDGE_LOG_FORMAT", "xml"),
        ("BRIDGE_LOG_LEVEL", "loud"),
        ("BRIDGE_DATABASE_OPTIONS", "pool_size=1"),
        ("BRIDGE_DATABASE_OPTIONS", "[1]"),
    ],
)
def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert name in str(caught.value)


#: What people and programs put around a value without meaning it.
AROUND = (
    *("{}\n", "{}\r\n", " {}", "\t{}  ", "\u00a0{}", "\u200b{}", "\ufeff{}", "\u2060{}", "{}\u200e\n", "{}\u2028"),
    *('"{}"', "'{}'", '" {} "', "'{}'\r", '\ufeff"{}"\n', "“{}”", "«{}»", "„{}“", "`{}`"),
)
#: One setting of each kind: URL, connection string, key, word, number, fraction, path, JSON.
KINDS = {
    "database_url": "sqlite:///x.db",
    "queue_connection_string": "AccountName=a;AccountKey=YWJj==;QueueEndpoint=http://localhost/a",
    "odoo_url": "http://localhost:8069",
    "odoo_api_key": "k3y",
    "log_format": "json",
    "batch_size": "7",
    "poll_interval": "0.25",
    "api_keys_file": "kept/keys.json",
    "database_options": '{"pool_size": 10}',
}


def told(settings: Settings, name: str) -> str:
    value = getattr(settings, name)
    if isinstance(value, dict):
        return json.dumps(value)
    return value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("around", AROUND, ids=ascii)
def test_what_stands_around_a_value_is_stripped(monkeypatch: pytest.MonkeyPatch, name: str, around: str) -> None:
    monkeypatch.setenv(
        variable(name), around.format(KINDS[name]) if name != "database_options" else around.replace("{}", KINDS[name])
    )
    assert told(load(), name) == KINDS[name]


@pytest.mark.parametrize("blank", ["", " ", "\n", '""', "''", '" "', "\ufeff", "\r\n"], ids=ascii)
@pytest.mark.parametrize("name", KINDS)
def test_a_value_of_nothing_is_not_set(monkeypatch: pytest.MonkeyPatch, name: str, blank: str) -> None:
    monkeypatch.setenv(variable(name), blank)
    assert load() == Settings(_env_file=None) == Settings.model_construct()


@pytest.mark.parametrize("name", [name for name in KINDS if name != "database_options"])
@pytest.mark.parametrize("wrong", ['"{}', "{}'", "{}\n{}", "{}\x00", "{} \r\n # a comment"], ids=ascii)
def test_what_cannot_be_meant_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, wrong: str) -> None:
    if "\0" in wrong:
        wrong = wrong.replace("\0", "\x07")  # no environment can hold a NUL
    monkeypatch.setenv(variable(name), wrong.replace("{}", KINDS[name]))
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert variable(name) in str(caught.value)
    assert KINDS[name] not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"], ids=ascii)
@pytest.mark.parametrize("quoted", ["{}", '"{}"', "'{}'", '"{} "', " {} "])
def test_a_file_may_come_from_any_editor(tmp_path: Path, encoding: str, line_end: str, quoted: str) -> None:
    lines = [
        f"{variable(name)}={quoted.replace('{}', KINDS[name])}"
        for name in ("database_url", "batch_size", "odoo_api_key")
    ]
    (tmp_path / ".env").write_bytes(line_end.join([*lines, ""]).encode(encoding))
    settings = load()
    assert [told(settings, name) for name in ("database_url", "batch_size", "odoo_api_key")] == [
        *("sqlite:///x.db", "7", "k3y")
    ]


def test_a_byte_order_mark_of_an_env_file_is_no_part_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `docker run --env-file` passes it."""
    monkeypatch.setenv("\ufeffBRIDGE_DATABASE_URL", '"sqlite:///x.db"')
    assert told(load(), "database_url") == "sqlite:///x.db"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'BRIDGE_BATCH_SIZE=7\nBRIDGE_DATABASE_URL="sqlite:///x.db\n', "line 2"),
        ("BRIDGE_DATABASE_URL=sqlite:///x.db\n".encode("utf-16"), "UTF-8"),
    ],
    ids=["a quote that is not closed", "UTF-16"],
)
def test_a_file_that_cannot_be_read_is_not_skipped(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(ConfigurationError, match=words):
        load()


def test_a_line_break_makes_no_second_database_file(cli: Cli, tmp_path: Path) -> None:
    done = cli("db", "upgrade", database_url=f"sqlite:///{tmp_path / 'x.db'}\n")
    assert done.returncode == 0
    assert {each.name for each in tmp_path.glob("x.db*")} <= {"x.db", "x.db-wal", "x.db-shm"}
    assert (tmp_path / "x.db").exists()


def test_an_error_does_not_quote_what_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_BATCH_SIZE", "hunter2")
    monkeypatch.setenv("BRIDGE_DATABASE_OPTIONS", "hunter2")
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert "hunter2" not in str(caught.value)


def test_all_wrong_settings_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_BATCH_SIZE", "0")
    monkeypatch.setenv("BRIDGE_MAX_ATTEMPTS", "0")
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert "BRIDGE_BATCH_SIZE" in str(caught.value)
    assert "BRIDGE_MAX_ATTEMPTS" in str(caught.value)


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_ODOO_URL", "")
    monkeypatch.setenv("BRIDGE_DATABASE_OPTIONS", "")
    settings = load()
    assert (settings.odoo_url, settings.database_options) == (None, {})
    with pytest.raises(ConfigurationError, match="BRIDGE_ODOO_URL"):
        settings.require("odoo_url", "odoo_login")


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("QUEUE_CONNECTION_STRING", "DATABASE_URL", "ODOO_API_KEY", "WEBHOOK_KEY"):
        monkeypatch.setenv(f"BRIDGE_{name}", "hunter2")
    assert "hunter2" not in repr(load())


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("BRIDGE_BATCH_SIZE=7\nBRIDGE_MAX_ATTEMPTS=7\nODOO_OTHER=1\n")
    monkeypatch.setenv("BRIDGE_BATCH_SIZE", "8")
    settings = load()
    assert (settings.batch_size, settings.max_attempts) == (8, 7)


def test_the_example_file_documents_every_setting_with_its_default(tmp_path: Path) -> None:
    example = (ROOT / ".env.example").read_text()
    documented = dict(line.split("=", 1) for line in example.splitlines() if line.startswith("BRIDGE_"))
    assert documented.keys() == {variable(field) for field in Settings.model_fields}

    (tmp_path / ".env").write_text(example)
    assert load() == Settings(_env_file=None)

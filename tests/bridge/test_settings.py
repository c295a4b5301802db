from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bridge.errors import ConfigurationError
from bridge.settings import Settings, load, variable

from .conftest import Cli, World

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of ours, and no .env."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.upper().startswith("BRIDGE_"):
            monkeypatch.delenv(name)


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
        ("BRIDGE_DATABASE_OPTIONS", '{"a":' * 30_000),
        ("BRIDGE_DATABASE_OPTIONS", f'{{"pool_size": {"9" * 5_000}}}'),
        ("BRIDGE_POLL_INTERVAL", "nan"),
        ("BRIDGE_POLL_INTERVAL", "inf"),
        ("BRIDGE_MAX_ATTEMPTS", "9" * 5_000),
        ("BRIDGE_API_PORT", "\u0668\u0661\u0660"),
        # No key has them, and no header of a request can.
        *(
            (name, wrong)
            for name in ("BRIDGE_ODOO_API_KEY", "BRIDGE_WEBHOOK_KEY")
            for wrong in ("a b", "\u20acx", "\u00f1")
        ),
        # Bytes that are not UTF-8, as Python passes them on.
        ("BRIDGE_ODOO_LOGIN", "a\udcffb"),
        ("BRIDGE_ODOO_API_KEY", "a\udcffb"),
        ("BRIDGE_DATABASE_OPTIONS", '{"a": "\udcff"}'),
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


@pytest.mark.parametrize(
    "command",
    [
        *(["run"], ["check"], ["status"], ["db", "upgrade"], ["db", "current"], ["db", "sql"], ["db", "adopt"]),
        *(
            ["trace", "MC1"],
            ["purge", "--older-than", "90d"],
            ["erase", "--manychat-id", "MC1", "--yes"],
            ["dlq", "list"],
            ["key", "list"],
            ["reconcile"],
            ["api"],
        ),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("empty", [True, False], ids=["empty", "not set"])
def test_no_command_makes_a_database_that_was_not_named(
    cli: Cli, tmp_path: Path, command: list[str], empty: bool
) -> None:
    if empty:
        cli.environment["BRIDGE_DATABASE_URL"] = ""
    else:
        del cli.environment["BRIDGE_DATABASE_URL"]
    before = set(tmp_path.iterdir())
    done = cli(*command)
    said = done.stdout + done.stderr
    assert done.returncode in (1, 2)
    assert "BRIDGE_DATABASE_URL" in said
    assert [path.name for path in set(tmp_path.iterdir()) - before if "command-" not in path.name] == []


def test_a_missing_database_url_says_how_to_set_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load().require("database_url")
    said = str(caught.value)
    for words in (
        *("BRIDGE_DATABASE_URL is not set", "mssql+pyodbc://", "sqlite:///", "BRIDGE_DATABASE_URL_FILE"),
        f"a file .env in {tmp_path} (there is none)",
    ):
        assert words in said
    monkeypatch.setenv("BRIDGE_DATABASE_URL", " ")
    (tmp_path / ".env").touch()
    with pytest.raises(ConfigurationError) as caught:
        load().require("database_url")
    assert "BRIDGE_DATABASE_URL is empty in the environment" in str(caught.value)
    assert f"in the file {tmp_path / '.env'}" in str(caught.value)


def test_a_line_break_makes_no_second_database_file(cli: Cli, tmp_path: Path) -> None:
    done = cli("db", "upgrade", database_url=f"sqlite:///{tmp_path / 'x.db'}\n")
    assert done.returncode == 0
    assert {each.name for each in tmp_path.glob("x.db*")} <= {"x.db", "x.db-wal", "x.db-shm"}
    assert (tmp_path / "x.db").exists()


def test_check_says_which_file_the_tables_are_in_and_who_can_open_it(cli: Cli, world: World, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    file = tmp_path / "own" / "x.db"
    assert cli("db", "upgrade", database_url=f"sqlite:///{file}").returncode == 0
    assert file.stat().st_mode & 0o777 == 0o600
    # Written relative to the working directory, it is shown whole.
    said = cli("check", database_url="sqlite:///own/x.db").stdout
    assert f"sqlite {file}, revision" in said
    assert "chmod" not in said
    file.chmod(0o644)
    assert f"(mode 0644), to prevent it: chmod 600 {file}" in cli("check", database_url=f"sqlite:///{file}").stdout
    assert file.stat().st_mode & 0o777 == 0o644


def test_an_error_does_not_quote_what_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_BATCH_SIZE", "hunter2")
    monkeypatch.setenv("BRIDGE_DATABASE_OPTIONS", "hunter2")
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        *(
            (wrong, "must begin with https://")
            for wrong in ("crm.example.org", "localhost:8069", "http:/crm", "ftp://crm")
        ),
        *((wrong, "must begin with https://") for wrong in ("https://", "//crm.example.org", "crm", "http//crm")),
        *((f"https://crm{wrong}", "the address alone") for wrong in ("/web", "/web/login", "/odoo/crm", "/jsonrpc")),
        *((f"https://crm{wrong}", "the address alone") for wrong in ("/?db=crm", "/#action=1", "/WEB#id=1")),
        ("https://crm/api/v1/manychat/webhook/contact", "the address alone"),
        ("https://crm:80x", "port"),
        ("https://crm:99999", "port"),
        ("https://crm:0", "port"),
        ("https://crm example.org", "blank"),
        ("https://<host>", "placeholder"),
        ("https://admin:hunter2@crm", "no password"),
    ],
)
@pytest.mark.parametrize("name", ["odoo_url", "webhook_url", "manychat_api_url"])
def test_an_address_that_cannot_work_says_what_to_write(
    monkeypatch: pytest.MonkeyPatch, name: str, written: str, words: str
) -> None:
    monkeypatch.setenv(variable(name), written)
    with pytest.raises(ConfigurationError) as caught:
        load()
    said = str(caught.value)
    assert said.startswith(f"{variable(name)}: ")
    assert words in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    "written", ["https://crm.example.org", "http://localhost:8069", "http://[::1]:8069", "https://example.org/crm"]
)
def test_an_address_is_taken_without_its_last_slash(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    for end in ("", "/"):
        monkeypatch.setenv("BRIDGE_ODOO_URL", written + end)
        assert load().odoo_url == written


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


def test_the_example_file_documents_every_setting_with_its_default(tmp_path: Path) -> None:
    example = (ROOT / ".env.example").read_text()
    documented = dict(line.split("=", 1) for line in example.splitlines() if line.startswith("BRIDGE_"))
    assert documented.keys() == {variable(field) for field in Settings.model_fields}

    (tmp_path / ".env").write_text(example)
    assert load() == Settings(_env_file=None)


@pytest.mark.parametrize(
    ("name", "written", "words"),
    [
        ("manychat_api_url", "http://proxy.example.org", "unencrypted"),
        ("manychat_api_url", "http://10.0.0.7:8080", "unencrypted"),
        ("manychat_api_url", "https://api.manychat.com/fb", "without /fb"),
        ("manychat_calls_per_second", "0", "greater than or equal to 0.1"),
        ("manychat_calls_per_second", "8.5", "less than or equal to 8"),
        ("manychat_calls_per_second", "nan", "less than or equal to 8"),
        ("manychat_calls_per_second", "8,5", "valid number"),
        ("manychat_api_token", "123 abc", "Copy it again"),
    ],
)
def test_a_setting_of_manychat_that_cannot_work_says_why(
    monkeypatch: pytest.MonkeyPatch, name: str, written: str, words: str
) -> None:
    monkeypatch.setenv(variable(name), written)
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert str(caught.value).startswith(f"{variable(name)}: ")
    assert words in str(caught.value)
    assert "123 abc" not in str(caught.value)


@pytest.mark.parametrize("written", ["https://proxy.example.org", "http://127.0.0.1:8080", "http://localhost"])
def test_an_address_of_manychat_may_be_a_proxys_or_on_this_machine(
    monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    monkeypatch.setenv("BRIDGE_MANYCHAT_API_URL", written)
    assert load().manychat_api_url == written

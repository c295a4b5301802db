from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.errors import ConfigurationError
from bridge.settings import Settings, load, secrets, variable

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
        (b"BRIDGE_BATCH_SIZE=7\n\n\nBRIDGE_MAX_ATTEMPTS 3\n", "line 4"),
        (b"BRIDGE_MAX_ATTEMPTS\n", "line 1"),
        ("BRIDGE_DATABASE_URL=sqlite:///x.db\n".encode("utf-16"), "UTF-16.*UTF-8"),
        ("BRIDGE_DATABASE_URL=sqlite:///x.db\n".encode("utf-16-le"), "UTF-16.*UTF-8"),
        ("BRIDGE_DATABASE_URL=sqlite:///x.db\n".encode("utf-32"), "UTF-8"),
        ("\n# contrase\u00f1a\nBRIDGE_BATCH_SIZE=7\n".encode("latin-1"), "line 2.*UTF-8"),
        (b"BRIDGE_BATCH_SIZE=7\n" * 10_000, "larger"),
        (b"BRIDGE_BATCH_SIZE=7\n\nBRIDGE_BATCH_SIZE=8\n", "BRIDGE_BATCH_SIZE .*lines 1 and 3"),
        (b"BRIDGE_ODOO_API_KEY=hunter2\nbridge_odoo_api_key=hunter3\n", "BRIDGE_ODOO_API_KEY .*lines 1 and 2"),
        (b"BRIDGE_ODOO_API_KEY=hunter2${DATABASE_PASSWORT}\n", "DATABASE_PASSWORT.*line 1"),
    ],
    ids=[
        *("quote not closed", "no equals sign", "a name alone", "UTF-16", "UTF-16 without a mark", "UTF-32", "Latin-1"),
        *("too large", "two values", "two values by case", "an unknown variable in a value"),
    ],
)
def test_a_file_that_cannot_be_read_is_not_skipped(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(ConfigurationError, match=words) as caught:
        load()
    assert str(tmp_path / ".env") in str(caught.value)
    assert "hunter" not in str(caught.value)


#: Things other than a text file, by the words that name them.
NO_FILES: dict[str, Callable[[Path], object]] = {
    "is a directory": Path.mkdir,
    "no ordinary file": os.mkfifo,
    "a link to a file that does not exist": lambda path: path.symlink_to("nothing"),
    "cannot be read": lambda path: path.symlink_to(path.name),  # a link to itself: an error for root as well
}


@pytest.mark.parametrize("words", NO_FILES)
def test_what_is_no_file_is_refused_in_a_sentence(cli: Cli, tmp_path: Path, words: str) -> None:
    NO_FILES[words](tmp_path / ".env")
    done = cli("check")
    assert done.returncode == 2
    assert str(tmp_path / ".env") in done.stderr
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_name_twice_with_one_value_or_an_empty_one_is_no_mistake(tmp_path: Path) -> None:
    """The second is how a copy of .env.example looks to which an operator has added lines."""
    (tmp_path / ".env").write_text("BRIDGE_BATCH_SIZE=\nBRIDGE_BATCH_SIZE=7\nBRIDGE_BATCH_SIZE=7\n")
    assert load().batch_size == 7


def test_variables_in_the_file_are_put_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PASSWORD", "k3y")
    (tmp_path / ".env").write_text("END=x\nBRIDGE_ODOO_API_KEY=${PASSWORD}-${END}-${NONE:-}\n")
    assert told(load(), "odoo_api_key") == "k3y-x-"


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("BRIDGE_DATABSE_URL", "BRIDGE_DATABASE_URL"),
        ("BRIDGE_DATABASE_URI", "BRIDGE_DATABASE_URL"),
        ("BRIDGE_DATABASE", "BRIDGE_DATABASE_URL"),
        ("BRIDGE_DB_URL", "BRIDGE_DATABASE_URL"),
        ("bridge_databse_url", "BRIDGE_DATABASE_URL"),
        ("BRIDGE_DATABASE__URL", "BRIDGE_DATABASE_URL"),
        ("BRIDGE_DATABASE URL", "BRIDGE_DATABASE_URL"),
        ("BRIDGE-DATABASE-URL", "BRIDGE_DATABASE_URL"),
        ("BRIGDE_DATABASE_URL", "BRIDGE_DATABASE_URL"),
        ("BRIDGE_QUEUE_CONNECTIONSTRING", "BRIDGE_QUEUE_CONNECTION_STRING"),
        ("BRIDGE_MAX_ATTEMPT", "BRIDGE_MAX_ATTEMPTS"),
        ("BRIDGE_ODOO_APIKEY_FILE", "BRIDGE_ODOO_API_KEY_FILE"),
        ("BRIDGE_ODOO_URL_FILE", "BRIDGE_ODOO_URL"),
        ("BRIDGE_NONSENSE_QQ", "docs/settings.md"),
    ],
)
@pytest.mark.parametrize("in_file", [False, True], ids=["environment", "file"])
def test_an_unknown_name_is_refused_with_what_was_meant(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wrong: str, meant: str, in_file: bool
) -> None:
    if in_file:
        (tmp_path / ".env").write_text(f"'{wrong}'=hunter2\n")
    else:
        monkeypatch.setenv(wrong, "hunter2")
    with pytest.raises(ConfigurationError) as caught:
        load()
    (line,) = str(caught.value).splitlines()
    assert line.startswith(wrong.upper())
    assert meant in line
    assert (str(tmp_path / ".env") if in_file else "environment") in line
    assert "hunter2" not in line


def test_all_unknown_names_are_in_one_message(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("BRIDGE_BATCHSIZE=7\n")
    done = cli("check", databse_url="x", odoo_apikey="x")
    assert done.returncode == 2
    assert [line.split()[0] for line in done.stderr.splitlines()] == [
        *("BRIDGE_BATCHSIZE", "BRIDGE_DATABSE_URL", "BRIDGE_ODOO_APIKEY")
    ]


def test_names_of_other_programs_and_of_neighbours_in_a_cluster_are_none_of_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Kubernetes gives each container these variables about services called "bridge" and "bridge-api"."""
    address = "tcp://10.0.0.1:80"
    for name in ("BRIDGE_SERVICE_HOST", "BRIDGE_SERVICE_PORT", "BRIDGE_SERVICE_PORT_HTTP", "BRIDGE_API_SERVICE_HOST"):
        monkeypatch.setenv(name, "10.0.0.1" if name.endswith("HOST") else "80")
    for name in ("BRIDGE_PORT", "BRIDGE_PORT_80_TCP", "BRIDGE_API_PORT", "BRIDGE_API_PORT_80_TCP"):
        monkeypatch.setenv(name, address)
    for name in ("BRIDGE_PORT_80_TCP_ADDR", "BRIDGE_PORT_80_TCP_PROTO", "BRIDGE_API_PORT_80_TCP_PORT"):
        monkeypatch.setenv(name, "80")
    for name in ("MIASALUD_QUEUE_CONNECTION_STRING", "DATABASE_URL", "ODOO_URL", "BRIDGES"):
        monkeypatch.setenv(name, "x")
    (tmp_path / ".env").write_text("POSTGRES_PASSWORD=x\nAZURITE_KEY\n")
    assert load().api_port == 8000


@pytest.mark.parametrize(
    "written", ["BRIDGE_BATCH_SIZE ", " BRIDGE_BATCH_SIZE", "bridge_batch_size", "Bridge_Batch_Size\t"]
)
def test_blanks_around_a_name_and_its_case_do_not_count(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setenv(written, "7")
    assert load().batch_size == 7


def test_two_cases_of_one_name_with_two_values_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_BATCH_SIZE", "7")
    monkeypatch.setenv("bridge_batch_size", "7")
    assert load().batch_size == 7
    monkeypatch.setenv("bridge_batch_size", "8")
    with pytest.raises(ConfigurationError, match="BRIDGE_BATCH_SIZE has two values"):
        load()


def test_the_options_of_the_environment_replace_those_of_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text('BRIDGE_DATABASE_OPTIONS={"pool_size": 1}\n')
    monkeypatch.setenv("BRIDGE_DATABASE_OPTIONS", '{"max_overflow": 2}')
    assert load().database_options == {"max_overflow": 2}


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


SECRETS = ("queue_connection_string", "database_url", "adopt_url", "odoo_api_key", "webhook_key")


def test_each_secret_and_nothing_else_may_stand_in_a_file() -> None:
    assert set(SECRETS) <= set(secrets())
    assert "odoo_url" not in secrets()
    assert "api_keys_file" not in secrets()


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("content", [b"k3y", b"k3y\n", b"\xef\xbb\xbfk3y\r\n", b'"k3y"\n'])
@pytest.mark.parametrize("in_env_file", [False, True], ids=["environment", "file"])
def test_a_secret_is_read_from_its_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, content: bytes, in_env_file: bool
) -> None:
    (tmp_path / "secret").write_bytes(content)
    if in_env_file:
        (tmp_path / ".env").write_text(f"{variable(name)}_FILE=secret\n{variable(name)}=\n")
    else:
        monkeypatch.setenv(f"{variable(name)}_FILE", str(tmp_path / "secret"))
    assert told(load(), name) == "k3y"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is no file"),
        (b"", "empty"),
        (b" \n\n", "empty"),
        (b"hunter2\nhunter3\n", "line break"),
        (b"BRIDGE_ODOO_API_KEY=hunter2", "the value alone"),
        ("hunter2".encode("utf-16"), "UTF-16"),
        ("hunter2\u00f1".encode("latin-1"), "UTF-8"),
        (b"hunter2" * 10_000, "larger"),
    ],
    ids=["missing", "empty", "blank", "two lines", "with its name", "UTF-16", "Latin-1", "too large"],
)
def test_a_secret_file_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, words: str
) -> None:
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    monkeypatch.setenv("BRIDGE_ODOO_API_KEY_FILE", "secret")
    with pytest.raises(ConfigurationError, match=words) as caught:
        load()
    (line,) = str(caught.value).splitlines()
    assert line.startswith("BRIDGE_ODOO_API_KEY_FILE: ")
    assert str(tmp_path / "secret") in line
    assert "hunter" not in line


@pytest.mark.parametrize("words", NO_FILES)
def test_a_secret_in_no_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: str) -> None:
    NO_FILES[words](tmp_path / "secret")
    monkeypatch.setenv("BRIDGE_ODOO_API_KEY_FILE", str(tmp_path / "secret"))
    with pytest.raises(ConfigurationError, match=f"^BRIDGE_ODOO_API_KEY_FILE: .*{words}"):
        load()


def test_a_secret_and_its_file_at_once_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2")
    monkeypatch.setenv("BRIDGE_ODOO_API_KEY_FILE", "secret")
    monkeypatch.setenv("BRIDGE_ODOO_API_KEY", "hunter2")
    with pytest.raises(
        ConfigurationError, match="BRIDGE_ODOO_API_KEY and BRIDGE_ODOO_API_KEY_FILE are both set"
    ) as caught:
        load()
    assert "hunter2" not in str(caught.value)


def test_a_secret_file_of_the_environment_wins_over_a_secret_of_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("k3y")
    (tmp_path / ".env").write_text("BRIDGE_ODOO_API_KEY=other\nBRIDGE_WEBHOOK_KEY_FILE=none\n")
    monkeypatch.setenv("BRIDGE_ODOO_API_KEY_FILE", "secret")
    monkeypatch.setenv("BRIDGE_WEBHOOK_KEY", "mine")
    settings = load()
    assert [told(settings, name) for name in ("odoo_api_key", "webhook_key")] == ["k3y", "mine"]


def test_the_commands_work_with_a_secret_in_a_file(cli: Cli, world: World, tmp_path: Path) -> None:
    """As `docker compose exec bridge python -m bridge check` calls it."""
    for name in ("odoo_api_key", "queue_connection_string", "database_url"):
        (tmp_path / name).write_text(cli.environment.pop(variable(name)) + "\n")
        cli.environment[f"{variable(name)}_FILE"] = str(tmp_path / name)
    done = cli("check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"no file .env in {tmp_path}" in done.stderr
    assert cli("db", "current").returncode == 0


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

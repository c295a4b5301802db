"""Where settings stand: the environment, ``.env``, and a file for each secret."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.errors import ConfigurationError
from bridge.settings import load, secrets, variable

from .conftest import Cli, World
from .test_settings import KINDS, bare, told  # noqa: F401


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


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("BRIDGE_BATCH_SIZE=7\nBRIDGE_MAX_ATTEMPTS=7\nODOO_OTHER=1\n")
    monkeypatch.setenv("BRIDGE_BATCH_SIZE", "8")
    settings = load()
    assert (settings.batch_size, settings.max_attempts) == (8, 7)

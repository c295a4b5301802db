"""Database URLs and options as operators write them. Nothing here needs a server."""

from __future__ import annotations

import builtins
import importlib.util
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from bridge import connect
from bridge.errors import BadDatabaseUrl, ConfigurationError
from bridge.settings import Settings
from bridge.store import migrate, url
from bridge.store.engine import create_engine


def settings(database_url: str, **more: Any) -> Settings:
    return Settings(_env_file=None, database_url=database_url, **more)


def refusal(database_url: str, **more: Any) -> str:
    """What an operator reads. It never quotes the password."""
    with pytest.raises(ConfigurationError) as caught:
        migrate.current(connect.open_engine(settings(database_url, **more)))
    said = str(caught.value)
    assert "hunter2" not in said
    assert "\n" not in said
    return said


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("mssql+pyodbc://u:p@tcp:s.database.windows.net,1433/db", "mssql+pyodbc://u:p@s.database.windows.net:1433/db"),
        ("mssql+pyodbc://u:p@TCP:s.x, 1433/db?Encrypt=yes", "mssql+pyodbc://u:p@s.x:1433/db?Encrypt=yes"),
        ("mssql+pyodbc://u:p@tcp%3As.x%2C1433/db", "mssql+pyodbc://u:p@s.x:1433/db"),
        ("mssql+pyodbc://u:p@s.x,1433/db", "mssql+pyodbc://u:p@s.x:1433/db"),
        ("mssql+pyodbc://tcp:s.x/db", "mssql+pyodbc://s.x/db"),
        ("mssql://u:p@s/db", "mssql+pyodbc://u:p@s/db"),
        ("sqlserver://u:p@s:1433/db", "mssql+pyodbc://u:p@s:1433/db"),
        ("MSSQL+PyODBC://u:p@s/db", "mssql+pyodbc://u:p@s/db"),
        ("postgresql://u:p@s/db", "postgresql+psycopg://u:p@s/db"),
        ("postgres://u:p@s:5432/db?sslmode=require", "postgresql+psycopg://u:p@s:5432/db?sslmode=require"),
        ("postgresql:///db", "postgresql+psycopg:///db"),
        # A comma and "tcp:" in other places mean what they say.
        ("mssql+pyodbc://u:p,1@s/db", "mssql+pyodbc://u:p%2C1@s/db"),
        ("mssql+pyodbc://u:tcp:x@s/db", "mssql+pyodbc://u:tcp%3Ax@s/db"),
        ("mssql+pyodbc://u:p@s\\INSTANCE/db", "mssql+pyodbc://u:p@s\\INSTANCE/db"),
        ("mssql+pyodbc://u:p@dsn", "mssql+pyodbc://u:p@dsn"),
        ("mssql+pyodbc://u:p<x>{your_q}@s/db", "mssql+pyodbc://u:p%3Cx%3E{your_q}@s/db"),
        ("mssql+pyodbc:///?odbc_connect=DRIVER%3DX", "mssql+pyodbc:///?odbc_connect=DRIVER%3DX"),
    ],
)
def test_a_form_with_one_meaning_is_taken(written: str, meant: str) -> None:
    assert url.parse(written) == make_url(meant)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("hunter2", "mssql+pyodbc://USER"),
        ("sqlite:x.db", "sqlite:///"),
        ("postgresql:/u:hunter2@s/db", "not a database URL"),
        ("Server=tcp:s.database.windows.net,1433;Initial Catalog=db;Password=hunter2", "connection string"),
        ("Driver={ODBC Driver 18 for SQL Server};Server=tcp:s,1433;Pwd=hunter2", "connection string"),
        ("jdbc:sqlserver://s:1433;database=db;password=hunter2", "connection string"),
        ("host=s port=5432 dbname=db password=hunter2", "connection string"),
        ("mssql+pyodbc://u:hunter2@s:x/db", "port is not a number"),
        ("postgresql://u:hunter2@s:/db", "port is not a number"),
        ("postgresql://u:hunter2@s:5432x/db", "port is not a number"),
        ("postgresql://u:hunter2@s:99999/db", "port is not between"),
        ("mssql+pyodbc://u:p@hunter2/word@s/db", "%40"),
        ("mssql+pyodbc://u:p@hunter2@s/db", "%40"),
        ("mssql+pyodbc://us/er:hunter2@s/db", "%2F"),
        ("postgresql://u:p@ss:hunter2@s/db", "%3A"),
        ("mssql+pyodbc://u:hunter2@s s/db", "blank"),
        ("mssql+pyodbc://u:hunter2@s.database.windows.net", "no database"),
        ("mssql+pyodbc://u:hunter2@s:1433", "no database"),
        ("mssql+pyodbc://u:hunter2@localhost/", "no database"),
        ("postgresql://u:hunter2@s", "no database"),
        ("mssql+pyodbc://u:hunter2@s/db;Encrypt=yes", "question mark"),
        ("postgresql://u:{your_password}@s/db", "placeholder"),
        ("mssql+pyodbc://u:<password>@s/db", "placeholder"),
        ("mysql://u:hunter2@s/db", "PostgreSQL"),
        ("mariadb+pymysql://u:hunter2@s/db", "SQL Server"),
        ("hunter2://u@s/db", "SQLite"),
        ("mssql+pymssql://u:hunter2@s/db", "mssql+pyodbc://"),
        ("postgresql+asyncpg://u:hunter2@s/db", "postgresql+psycopg://"),
        ("sqlite+aiosqlite:///x.db", "SQLite"),
        ("sqlite://x.db", "three slashes"),
        ("sqlite:///x.db?nonsense=hunter2", "uri=true"),
        ("sqlite:///x.db?timeout=hunter2", "does not take it"),
        *((in_memory, "in memory") for in_memory in ("sqlite://", "sqlite:///", "sqlite:///:memory:")),
        ("sqlite:///file::memory:?uri=true", "in memory"),
        ("sqlite:///file:x?mode=memory&uri=true", "in memory"),
    ],
)
def test_a_url_that_cannot_be_meant_says_what_to_write(written: str, words: str) -> None:
    said = refusal(written)
    assert said.startswith("BRIDGE_DATABASE_URL: ")
    assert words in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pool_siz": 5}, "did you mean pool_size?"),
        ({"nonsense": 5, "other": 1}, "other is no option"),
        ({"fast_executemany": False}, "fast_executemany is no option"),
        ({"pool_size": "hunter2"}, "pool_size: "),
        ({"pool_size": "5"}, "pool_size: "),
        ({"pool_size": -1}, "pool_size: "),
        ({"pool_size": None}, "pool_size: "),
        ({"pool_timeout": "hunter2"}, "pool_timeout: "),
        ({"pool_pre_ping": "no"}, "pool_pre_ping: "),
        ({"echo": "hunter2"}, "echo: "),
        ({"echo": "hunter2", "pool_size": []}, "; pool_size: "),
        ({"isolation_level": "hunter2"}, "SERIALIZABLE"),
        ({"execution_options": 5}, "execution_options: "),
        ({"connect_args": "hunter2"}, "connect_args: "),
        ({"connect_args": {"nonsense": "hunter2"}}, "connect_args"),
        ({"connect_args": {"timeout": "hunter2"}}, "connect_args"),
        ({"poolclass": "NullPool"}, "poolclass"),
        ({"creator": "hunter2"}, "creator"),
        ({"dialect": "hunter2"}, "dialect"),
        ({"url": "hunter2"}, "url"),
        ({"plugins": ["hunter2"]}, "plugins"),
        ({"strategy": "mock"}, "strategy"),
    ],
    ids=str,
)
def test_wrong_options_are_no_fault_of_the_url(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    said = refusal(f"sqlite:///{tmp_path / 'x.db'}", database_options=options)
    assert "BRIDGE_DATABASE_OPTIONS" in said
    assert not said.startswith("BRIDGE_DATABASE_URL")
    assert words in said


@pytest.mark.parametrize(
    "options", [{"connect_args": {"nonsense": 1}}, {"connect_args": {"connect_timeout": "x"}}], ids=str
)
def test_what_postgresqls_driver_does_not_take_is_said(options: dict[str, Any]) -> None:
    said = refusal("postgresql+psycopg://u:hunter2@127.0.0.1:9/db", database_options=options)
    assert "connect_args of BRIDGE_DATABASE_OPTIONS" in said
    assert "BRIDGE_DATABASE_URL" in refusal("postgresql+psycopg://u:hunter2@127.0.0.1:9/db?nonsense=1")


def test_options_are_added_to_those_of_the_product(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'x.db'}", {"connect_args": {"cached_statements": 7}, "pool_size": 3})
    seen: dict[str, Any] = {}

    def connect_(_dialect: Any, _record: Any, _arguments: Any, named: dict[str, Any]) -> None:
        seen.update(named)

    sa.event.listen(engine, "do_connect", connect_)
    engine.connect().close()
    assert (seen["timeout"], seen["cached_statements"]) == (30, 7)
    assert engine.pool.size() == 3  # type: ignore[attr-defined]


def test_a_schema_in_sqlite_is_a_fault_of_the_schema(tmp_path: Path) -> None:
    assert refusal(f"sqlite:///{tmp_path / 'x.db'}", database_schema="x").startswith("BRIDGE_DATABASE_SCHEMA: ")


@pytest.mark.parametrize(
    ("written", "missing", "text", "words"),
    [
        ("postgresql://u:hunter2@s/db", "psycopg", "", "'.[postgresql]'"),
        ("postgresql+psycopg://u:hunter2@s/db", "psycopg", "", "'.[postgresql]'"),
        ("postgresql+psycopg2://u:hunter2@s/db", "psycopg2", "", "postgresql+psycopg://"),
        ("postgresql://u:hunter2@s/db", "psycopg", "no pq wrapper available", "libpq"),
        ("mssql+pyodbc://u:hunter2@s/db", "pyodbc", "", "'.[azure-sql]'"),
        ("mssql+pyodbc://u:hunter2@s/db", "pyodbc", "libodbc.so.2: cannot open shared object file", "libodbc2"),
    ],
)
def test_a_missing_driver_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, written: str, missing: str, text: str, words: str
) -> None:
    """The drivers are here, so that their import is made to fail as it does where they are not."""
    real = builtins.__import__

    def fail(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == missing:
            raise ImportError(text) if text else ModuleNotFoundError(f"No module named '{missing}'", name=missing)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", fail)
    said = refusal(written)
    assert said.startswith("BRIDGE_DATABASE_URL: ")
    assert words in said


@pytest.mark.parametrize(
    ("installed", "driver"),
    [({"psycopg", "psycopg2"}, "psycopg"), ({"psycopg2"}, "psycopg2"), (set(), "psycopg")],
    ids=str,
)
def test_postgresql_without_a_driver_takes_the_installed_one(
    monkeypatch: pytest.MonkeyPatch, installed: set[str], driver: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name in installed else None)
    assert url.parse("postgresql://u@s/db").get_driver_name() == driver


def test_a_file_named_by_a_uri_is_private_too(tmp_path: Path) -> None:
    """The umask of this process would let others read it."""
    path = tmp_path / "x.db"
    engine = create_engine(f"sqlite:///file:{path}?uri=true")
    migrate.upgrade(engine)
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
        modes = {each.name: each.stat().st_mode & 0o777 for each in tmp_path.glob("x.db*")}
    engine.dispose()
    assert set(modes.values()) == {0o600}
    assert {"x.db", "x.db-wal"} <= modes.keys()


def test_a_bad_url_of_the_source_is_refused_as_well() -> None:
    from bridge.importer import source

    for wrong in ("mssql+pyodbc://u:hunter2@s:x/db", "mysql://u:hunter2@s/db"):
        with pytest.raises(BadDatabaseUrl) as caught:
            source.open_source(wrong)
        assert "hunter2" not in str(caught.value)

"""Upgrades and downgrades of the tables, with Alembic. The migrations are inside the package."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib import resources
from io import StringIO
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from ..errors import ConfigurationError, UnfitTables
from . import ddl_rights, kept_keys
from .engine import in_transaction, patience, schema_of
from .schema import metadata
from .views import views

# Importing Alembic is a fifth of a bridge's start-up time, and only a change of tables needs it.
if TYPE_CHECKING:
    from alembic.config import Config

#: The revision of a database without tables.
BASE = "base"
#: Tables of every revision. Another program that uses Alembic too has not all of these.
_ALWAYS_OURS = {"audit", "campaign_contacts", "contact_states", "contacts", "dead_letters", "opportunities"}
#: Earlier tables have none of the views.
_FIRST_WITH_VIEWS = "0016"
_OR_BY_A_DBA = "Or let a DBA run what this prints: python -m bridge db sql"


def upgrade(engine: sa.Engine) -> None:
    """Create or update the tables, in one transaction.

    Tables of a later release stay as they are, if this version can use them.

    :raises ConfigurationError: the tables are another program's, or a right to create tables is missing; nothing was
        changed
    :raises bridge.errors.UnfitTables: the tables are of a later release, and this version cannot use them
    :raises bridge.errors.StoreUnavailable: the database is down, or forbids it
    """

    from alembic import command

    def work(config: Config) -> None:
        connection = config.attributes["connection"]
        if (found := _revision(connection)) == head():
            return
        if is_later(found):
            _require_fit(connection)
            return
        _require_free_names(connection, found)
        if lack := ddl_rights.lack(connection):
            raise ConfigurationError(f"{lack}. {_OR_BY_A_DBA}")
        schema = schema_of(connection)
        if schema and not sa.inspect(connection).has_schema(schema):
            connection.execute(sa.schema.CreateSchema(schema))
        command.upgrade(config, "head")
        kept_keys.bring_back(connection)

    _in_one_transaction(engine, work)


def _require_free_names(connection: sa.Connection, found: str | None) -> None:
    """Refuse to make the views where others have their names: an analyst may have made some."""
    if found is not None and found >= _FIRST_WITH_VIEWS:
        return
    schema, inspector = schema_of(connection), sa.inspect(connection)
    same = sorted(views.tables.keys() & {*inspector.get_view_names(schema), *inspector.get_table_names(schema)})
    if same:
        raise ConfigurationError(
            f"The database has views or tables of its own with names that the bridge needs ({', '.join(same)}). "
            "Nothing was changed. Rename them, or give the bridge another place: a database of its own in "
            "BRIDGE_DATABASE_URL."
        )


def downgrade(engine: sa.Engine, revision: str) -> None:
    """Take the tables back to ``revision`` (``base`` for none), in one transaction. The API's keys are kept aside.

    :raises ConfigurationError: there is no such revision, or the tables are not that far
    :raises bridge.errors.UnfitTables: the tables are of a later release, which alone knows the way back
    :raises bridge.errors.StoreUnavailable: the database is down, or forbids it
    """
    from alembic import command

    def work(config: Config) -> None:
        connection = config.attributes["connection"]
        if revision == BASE:
            kept_keys.forget(connection)
        else:
            kept_keys.put_aside(connection)
        command.downgrade(config, revision)

    require_earlier(current(engine), revision)
    _in_one_transaction(engine, work)


def require_earlier(present: str | None, revision: str) -> None:
    """Refuse a revision that the tables cannot be taken back to.

    :param present: revision of the tables
    :raises ConfigurationError: says which ones there are
    :raises bridge.errors.UnfitTables: the tables are of a later release
    """
    if present is None:
        raise ConfigurationError("The database has no tables of the bridge: there is nothing to downgrade.")
    if is_later(present):
        raise UnfitTables(
            f"The tables are at revision {present}, of a later release than this one. "
            "Run this command with that release: it knows what it added."
        )
    earlier = [BASE, *sorted(each for each in revisions() if each < present)]
    if revision not in earlier:
        raise ConfigurationError(
            f"The tables are at revision {present}, and cannot be taken back to “{revision[:80]}”. Give one of: "
            f"{', '.join(earlier)}."
        )


def losses(engine: sa.Engine, revision: str) -> dict[str, int]:
    """What :func:`downgrade` would delete: the number of rows of each table, and of values of each column.

    :param revision: an earlier one
    :raises bridge.errors.StoreUnavailable: the database is down
    """
    from alembic import command

    config = _config()
    # In any dialect that has a statement for each column: the names are the same in all.
    config.attributes |= {"dialect": "postgresql", "schema": None}
    config.output_buffer = StringIO()
    command.downgrade(config, f"{current(engine)}:{revision}", sql=True)
    script = config.output_buffer.getvalue()
    tables = re.findall(r"^DROP TABLE (\w+);", script, re.MULTILINE)
    columns = re.findall(r"^ALTER TABLE (\w+) DROP COLUMN (\w+);", script, re.MULTILINE)
    return in_transaction(engine, _count, tables, [pair for pair in columns if pair[0] not in tables])


def _count(connection: sa.Connection, tables: Sequence[str], columns: Sequence[tuple[str, str]]) -> dict[str, int]:
    def count(table: str, *conditions: sa.ColumnElement[bool]) -> int:
        statement = sa.select(sa.func.count()).select_from(sa.table(table, schema=schema_of(connection)))
        return connection.execute(statement.where(*conditions)).scalar_one()

    with patience(connection):
        found = {f"rows of {table}": count(table) for table in sorted(tables) if table != "alembic_version"}
        found |= {f"values of {table}.{name}": count(table, sa.column(name).is_not(None)) for table, name in columns}
    return {what: number for what, number in found.items() if number}


def sql(dialect: str, up_to: str = "head", schema: str | None = None) -> str:
    """The SQL that :func:`upgrade` runs.

    :param dialect: ``mssql``, ``postgresql`` or ``sqlite``
    :param up_to: a revision, from no tables at all; or ``from:to``
    :param schema: of the tables; default: the schema that the database uses for names without one
    :raises ValueError: there is no such revision
    """
    from alembic import command

    order = [BASE, *sorted(revisions()), "head"]
    ends = up_to.split(":")
    if len(ends) > 2 or not set(ends) <= set(order):
        raise ValueError(
            f"“{up_to[:80]}” is no revision. Give one of: {', '.join(order[1:])}; or two of them, as 0002:head."
        )
    if len(ends) == 2 and order.index(ends[0]) >= order.index(ends[1]):
        raise ValueError(f"“{up_to}” upgrades nothing: give the earlier revision first.")
    config = _config()
    config.attributes |= {"dialect": dialect, "schema": schema}
    config.output_buffer = StringIO()
    command.upgrade(config, up_to, sql=True)
    create_schema = _CREATE_SCHEMA.get(dialect, "").format(schema) if schema else ""
    return _PREAMBLES.get(dialect, "") + create_schema + config.output_buffer.getvalue()


_PREAMBLES = {
    "mssql": """\
-- Tables of the MiaSalud bridge. This script changes no other tables. Stop at the first error:
--   sqlcmd -b -i THIS_FILE
-- Filtered indexes need these settings. sqlcmd does not set them.
SET QUOTED_IDENTIFIER ON;
SET ANSI_NULLS ON;
SET XACT_ABORT ON;

GO

"""
}

# CREATE SCHEMA must be alone in its batch on SQL Server, hence EXEC. The name is letters, digits and _ (Settings).
_CREATE_SCHEMA = {
    "mssql": "IF SCHEMA_ID(N'{0}') IS NULL EXEC(N'CREATE SCHEMA [{0}]');\n\nGO\n\n",
    "postgresql": 'CREATE SCHEMA IF NOT EXISTS "{0}";\n\n',
}


def _in_one_transaction(engine: sa.Engine, work: Callable[[Config], None]) -> None:
    in_transaction(engine, _with_config, work)


def _with_config(connection: sa.Connection, work: Callable[[Config], None]) -> None:
    config = _config()
    config.attributes |= {"connection": connection, "schema": schema_of(connection)}
    with patience(connection):
        work(config)


def current(engine: sa.Engine) -> str | None:
    """The database's revision; ``None`` if it has none of our tables.

    :raises ConfigurationError: it has another program's tables
    :raises bridge.errors.StoreUnavailable: the database is down
    """
    return in_transaction(engine, _revision)


def is_later(revision: str | None) -> bool:
    """Whether a later release of the bridge upgraded the tables to ``revision``.

    Its migrations only add, so this version goes on working on its tables: bridges are upgraded one after the other,
    and a release can be taken back without its tables. :func:`require_fit` tells whether the tables are ours at all.
    """
    return revision is not None and _NUMBERED.fullmatch(revision) is not None and revision > head()


_NUMBERED = re.compile(r"\d{4}")


def require_fit(engine: sa.Engine) -> None:
    """Refuse tables that this version cannot use: older ones, and later ones without a column that it needs.

    :raises bridge.errors.UnfitTables: says what to run
    :raises bridge.errors.StoreUnavailable: the database is down
    """
    in_transaction(engine, _require_fit)


def _require_fit(connection: sa.Connection) -> None:
    revision = _revision(connection)
    if revision == head():
        return
    if not is_later(revision):
        raise UnfitTables(
            f"The database has {f'revision {revision}' if revision else 'no tables'} of this product; this version "
            f"needs revision {head()}. {_to_upgrade(connection)}"
        )
    obstacles = _obstacles(connection)
    if obstacles:
        raise UnfitTables(
            f"The database's tables are at revision {revision}, later than this version's {head()}, and this version "
            f"cannot use them: {'; '.join(obstacles)}. Install the release that upgraded them. If they are another "
            "program's, give the bridge a database of its own in BRIDGE_DATABASE_URL."
        )


def _obstacles(connection: sa.Connection) -> list[str]:
    """What keeps this version from reading and writing the tables of a later release."""
    schema, inspector = schema_of(connection), sa.inspect(connection)
    names = set(inspector.get_table_names(schema))
    absent = sorted(metadata.tables.keys() - names)
    if absent:
        return [f"the tables {', '.join(absent)} are missing"]
    return [
        problem
        for name, table in sorted(metadata.tables.items())
        for problem in _column_problems(name, set(table.columns.keys()), inspector.get_columns(name, schema))
    ]


def _column_problems(table: str, needed: set[str], found: Sequence[Any]) -> list[str]:
    columns = {column["name"]: column for column in found}
    missing = [f"{table}.{name} is missing" for name in sorted(needed - columns.keys())]
    required = [
        f"{table}.{name} needs a value, which this version does not write"
        for name in sorted(columns.keys() - needed)
        if not (columns[name]["nullable"] or columns[name]["default"] or columns[name].get("computed"))
    ]
    return missing + required


def head() -> str:
    """The revision that this version of the bridge needs."""
    # The files of the migrations are numbered. A test compares this with Alembic's own head.
    return max(revisions())


def revisions() -> set[str]:
    """All revisions of this version of the bridge."""
    files = (resources.files("bridge.store") / "migrations" / "versions").iterdir()
    return {file.name.partition("_")[0] for file in files if file.name.endswith(".py")}


def _revision(connection: sa.Connection) -> str | None:
    """The database's revision; ``None`` if it has none of our tables.

    :raises ConfigurationError: it has another program's tables
    """
    schema = schema_of(connection)
    names = set(sa.inspect(connection).get_table_names(schema))
    found = _stamps(connection, names)
    if problem := _problem(found, names):
        schemas = "" if connection.dialect.name == "sqlite" else ", or a schema of its own in BRIDGE_DATABASE_SCHEMA"
        raise ConfigurationError(
            f"The database {problem}. Nothing was changed. Give the bridge a database of its own in "
            f"BRIDGE_DATABASE_URL{schemas}."
        )
    return found[0] if found else None


def _stamps(connection: sa.Connection, names: set[str]) -> list[str]:
    """The revisions in the table of Alembic, which other programs use too. Ours is one."""
    if "alembic_version" not in names:
        return []
    version = sa.table("alembic_version", sa.column("version_num"), schema=schema_of(connection))
    try:
        return [str(revision) for revision in connection.execute(sa.select(version.c.version_num)).scalars()]
    except DBAPIError:
        if names >= _ALWAYS_OURS:
            raise
        return ["that the bridge's user may not read"]


def _problem(found: list[str], names: set[str]) -> str | None:
    """What shows that the tables ``names`` at the revisions ``found`` are another program's."""
    shown = "".join(filter(str.isprintable, ", ".join(found)))
    if len(found) > 1 or (found and found[0] not in revisions() and not is_later(found[0])):
        return f"is at revision {shown} of another program, which also has a table alembic_version"
    if found and (absent := sorted(_ALWAYS_OURS - names)):
        return (
            f"is at revision {shown}, and the tables {', '.join(absent)} are missing: it is another program's, or "
            "tables were dropped"
        )
    if not found and (same := sorted(metadata.tables.keys() & names)):
        return f"has tables of another program with names that the bridge needs ({', '.join(same)})"
    return None


def _to_upgrade(connection: sa.Connection) -> str:
    """What an operator does about tables that are missing, or older than this version."""
    lack = ddl_rights.lack(connection)
    return (
        f"{lack}. Then run: python -m bridge db upgrade. {_OR_BY_A_DBA}" if lack else "Run: python -m bridge db upgrade"
    )


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    # Alembic wants % doubled: it reads values as configparser does.
    config.set_main_option("script_location", str(resources.files("bridge.store") / "migrations").replace("%", "%%"))
    return config

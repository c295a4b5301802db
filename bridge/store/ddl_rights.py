"""The rights that an upgrade of the tables takes, asked before it: a database's own refusal names no remedy."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from .engine import schema_of
from .schema import metadata

_TABLES = [*metadata.tables, "alembic_version"]

# A schema that does not exist, and a right in it, are NULL.
_POSTGRESQL = sa.text(
    """
    SELECT current_user, current_database(), coalesce(:schema, current_schema()),
           to_regnamespace(quote_ident(coalesce(:schema, current_schema()))) IS NOT NULL,
           has_schema_privilege(to_regnamespace(quote_ident(coalesce(:schema, current_schema()))), 'CREATE'),
           has_schema_privilege(to_regnamespace(quote_ident(coalesce(:schema, current_schema()))), 'USAGE'),
           has_database_privilege(current_database(), 'CREATE')
    """
)
# https://learn.microsoft.com/sql/t-sql/functions/has-perms-by-name-transact-sql
_MSSQL = sa.text(
    """
    SELECT USER_NAME(), coalesce(:schema, SCHEMA_NAME()), SCHEMA_ID(coalesce(:schema, SCHEMA_NAME())),
           HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'CREATE TABLE')
           & HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'CREATE VIEW'),
           HAS_PERMS_BY_NAME(coalesce(:schema, SCHEMA_NAME()), 'SCHEMA', 'ALTER'),
           HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'CREATE SCHEMA')
    """
)


def lack(connection: sa.Connection) -> str | None:
    """What the user may not do that an upgrade of the tables takes, and the statement that allows it.

    :return: a sentence without its full stop; ``None`` if nothing is missing, and for SQLite, which has no users
    """
    kinds = {"postgresql": _lack_in_postgresql, "mssql": _lack_in_mssql}
    find = kinds.get(connection.dialect.name)
    missing = find(connection) if find else None
    return f"{missing[0]}. An administrator of the database runs: {missing[1]}" if missing else None


def _lack_in_postgresql(connection: sa.Connection) -> tuple[str, str] | None:
    """:return: what the user may not do, and what allows it"""
    row = connection.execute(_POSTGRESQL, {"schema": schema_of(connection)}).one()
    user, database, schema, exists, creates, uses, creates_schemas = row
    quote = connection.dialect.identifier_preparer.quote_identifier
    if schema is None:
        return "The database has no schema to create tables in", f"CREATE SCHEMA public AUTHORIZATION {quote(user)};"
    if not exists:
        allow = f"GRANT CREATE ON DATABASE {quote(database)} TO {quote(user)};"
        return None if creates_schemas else (f"The user {user} may not create the schema {schema}", allow)
    if not (creates and uses):
        allow = f"GRANT USAGE, CREATE ON SCHEMA {quote(schema)} TO {quote(user)};"
        return f"The user {user} may not create tables in the schema {schema}", allow
    # Only an owner may change a table.
    owners = connection.execute(
        sa.text(
            "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = :schema AND tablename = ANY(:tables) "
            "AND NOT pg_has_role(current_user, tableowner, 'USAGE')"
        ),
        {"schema": schema, "tables": _TABLES},
    ).scalars()
    if owner := next(iter(owners), None):
        return f"The user {user} does not own the tables", f"GRANT {quote(owner)} TO {quote(user)};"
    return None


def _lack_in_mssql(connection: sa.Connection) -> tuple[str, str] | None:
    """The same. Without a right to see a schema, the answer is NULL: then the upgrade says more."""
    try:
        row = connection.execute(_MSSQL, {"schema": schema_of(connection)}).one()
    except DBAPIError:
        return None
    user, schema, schema_id, creates, alters, creates_schemas = row
    allow = f"ALTER ROLE db_ddladmin ADD MEMBER [{str(user).replace(']', ']]')}];"
    if schema_id is None and creates_schemas == 0:
        return f"The user {user} may not create the schema {schema}", allow
    if creates == 0:
        return f"The user {user} may not create tables and views", allow
    if schema_id is not None and alters == 0:
        return f"The user {user} may not create tables in the schema {schema}", allow
    return None

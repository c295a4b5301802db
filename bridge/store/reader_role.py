"""The roles of the database for people who only read: SQL that a DBA runs, ``python -m bridge db sql --role``.

The bridge's own user is in neither. ``reader`` reads the views, and the tables for analysts without the columns that
say who a person is or what they said. ``personal_reader`` reads these columns too. Neither reads the tables that the
bridge works with: messages, keys, settings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import sqlalchemy as sa

from .descriptions import PERSONAL
from .schema import metadata
from .views import views

READER, PERSONAL_READER = "miasalud_reader", "miasalud_personal_reader"
ROLES = (READER, PERSONAL_READER)
#: What analysts read.
TABLES = (
    "channels",
    "advisors",
    "campaigns",
    "contacts",
    "contact_states",
    "campaign_contacts",
    "opportunities",
    "opportunity_stages",
)


def script(kind: str, role: str, schema: str | None) -> str:
    """The SQL that makes ``role`` and gives it its rights. It can run again, and does after each upgrade.

    :param kind: ``mssql`` or ``postgresql``
    :param schema: of the tables; default: the schema that the database uses for names without one
    :raises ValueError: the database has no roles
    """
    dialect = sa.engine.make_url(f"{kind}://").get_dialect()()
    if dialect.name == "sqlite":
        raise ValueError("SQLite has no users and no roles: give analysts a copy of the file.")
    end = "\nGO\n" if dialect.name == "mssql" else "\n"
    statements = [_create(dialect, role), *_usage(dialect, role, schema), *_grants(dialect, role, schema)]
    return _HEAD.format(role=role, member=_MEMBER[dialect.name].format(role=role)) + end.join([*statements, ""])


_HEAD = """\
-- The role {role} only reads. Run this again after each upgrade of the tables. Then, for each user:
--   {member}
"""
_MEMBER = {"mssql": "ALTER ROLE {role} ADD MEMBER [the user];", "postgresql": 'GRANT {role} TO "the user";'}


def grant_if_there(
    dialect: sa.Dialect, schema: str | None, roles: Sequence[str], names: Iterable[str]
) -> Iterator[str]:
    """Statements that let those of ``roles`` that exist read ``names``."""
    targets = [_target(dialect, schema, name) for name in names]
    for role in roles:
        if dialect.name == "mssql":
            grants = " ".join(f"GRANT SELECT ON {target} TO {role};" for target in targets)
            yield f"IF DATABASE_PRINCIPAL_ID(N'{role}') IS NOT NULL BEGIN {grants} END"
        elif dialect.name == "postgresql":
            grant = f"GRANT SELECT ON {', '.join(targets)} TO {role};"
            yield f"DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN {grant} END IF; END $$"


def _create(dialect: sa.Dialect, role: str) -> str:
    if dialect.name == "mssql":
        return f"IF DATABASE_PRINCIPAL_ID(N'{role}') IS NULL CREATE ROLE {role};"
    there = f"IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}')"
    return f"DO $$ BEGIN {there} THEN CREATE ROLE {role} NOLOGIN; END IF; END $$;"


def _usage(dialect: sa.Dialect, role: str, schema: str | None) -> Iterator[str]:
    if dialect.name == "postgresql" and schema:
        yield f"GRANT USAGE ON SCHEMA {dialect.identifier_preparer.quote(schema)} TO {role};"


def _grants(dialect: sa.Dialect, role: str, schema: str | None) -> Iterator[str]:
    for view in views.tables:
        yield f"GRANT SELECT ON {_target(dialect, schema, view)} TO {role};"
    for name in TABLES:
        columns = [column.name for column in metadata.tables[name].columns if (name, column.name) not in PERSONAL]
        # A right on columns is one to name them: SELECT * is refused.
        only = "" if role == PERSONAL_READER else f" ({', '.join(map(dialect.identifier_preparer.quote, columns))})"
        on = _target(dialect, schema, name)
        yield f"GRANT SELECT{only} ON {on} TO {role};"


def _target(dialect: sa.Dialect, schema: str | None, name: str) -> str:
    return f"{dialect.identifier_preparer.quote(schema)}.{name}" if schema else name

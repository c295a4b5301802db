"""What the roles for people who only read may do."""

from __future__ import annotations

import secrets

import pytest
import sqlalchemy as sa
import sqlglot
from sqlalchemy.exc import DBAPIError

from bridge.store import migrate, reader_role
from bridge.store.engine import create_engine

from .conftest import Store
from .funnel import Funnel, V


@pytest.mark.parametrize("kind", ["mssql", "postgresql"])
def test_a_reader_reads_views_and_tables_without_personal_columns(kind: str) -> None:
    made = reader_role.script(kind, reader_role.READER, "Bridge_2")
    for name in (*V, *reader_role.TABLES):
        assert f"Bridge_2{']' if kind == 'mssql' else chr(34)}.{name} TO miasalud_reader;" in made
    for name in ("api_keys", "audit", "dead_letters", "odoo_settings"):
        assert name not in made
    for column in ("phone", "email", "summary", "first_name"):
        assert column not in made
    for word in ("INSERT", "UPDATE", "DELETE", "ALL"):
        assert f"GRANT {word}" not in made
    personal = reader_role.script(kind, reader_role.PERSONAL_READER, None)
    assert "GRANT SELECT ON contacts TO miasalud_personal_reader;" in personal
    if kind == "mssql":
        for batch in made.split("\nGO\n"):
            assert sqlglot.parse(batch, read="tsql")


def test_sqlite_has_no_roles() -> None:
    with pytest.raises(ValueError, match="copy of the file"):
        reader_role.script("sqlite", reader_role.READER, None)


class Logins:
    """A user of the server for the test, as a DBA makes one for an analyst."""

    def __init__(self, engine: sa.Engine):
        self._engine, self._is_mssql = engine, engine.dialect.name == "mssql"
        self.name, password = f"analyst_{secrets.token_hex(4)}", f"{secrets.token_hex(8)}Aa1"
        self.url = engine.url.set(username=self.name, password=password)
        self._login = f"{'LOGIN' if self._is_mssql else 'ROLE'} {self.name}"
        self.run(f"CREATE {self._login} WITH {'PASSWORD =' if self._is_mssql else 'LOGIN PASSWORD'} '{password}'")
        if self._is_mssql:
            self.run(f"CREATE USER {self.name} FOR LOGIN {self.name}")

    def run(self, *batches: str) -> None:
        for batch in batches:
            with self._engine.begin() as connection:
                connection.exec_driver_sql(batch)

    def join(self, role: str) -> None:
        """Run the role's script twice, as after an upgrade, and let the user into the role."""
        script = reader_role.script(self._engine.dialect.name, role, None)
        batches = [batch for batch in script.split("\nGO\n") if batch.strip()] if self._is_mssql else [script]
        self.run(*batches, *batches)
        self.run(f"ALTER ROLE {role} ADD MEMBER {self.name}" if self._is_mssql else f"GRANT {role} TO {self.name}")

    def drop(self, role: str) -> None:
        if self._is_mssql:
            # The role stays: Babelfish drops none that has rights.
            self.run(f"DROP USER {self.name}", f"DROP {self._login}")
        else:
            self.run(
                f"GRANT {role} TO CURRENT_USER", f"DROP {self._login}", f"DROP OWNED BY {role}", f"DROP ROLE {role}"
            )


def test_what_a_reader_may_do_is_exactly_that_and_stays_when_the_views_are_made_anew(store: Store) -> None:
    engine = store.engine
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no roles")
    Funnel(store).lived(1, ("Nuevo", 0))
    user = Logins(engine)
    user.join(reader_role.READER)
    reader = create_engine(user.url.render_as_string(hide_password=False))

    def ask(statement: str) -> None:
        with reader.begin() as connection:
            result = connection.execute(sa.text(statement))
            if result.returns_rows:
                result.all()

    try:
        for _ in range(2):
            for view in V:
                ask(f"SELECT * FROM {view}")
            ask("SELECT manychat_id, last_state, updated_at FROM contacts")
            for forbidden in (
                *("SELECT phone FROM contacts", "SELECT * FROM api_keys", "SELECT * FROM audit"),
                *("UPDATE channels SET name = 'x'", "DELETE FROM opportunity_stages"),
                "INSERT INTO campaigns (id, name) VALUES (1, 'x')",
            ):
                with pytest.raises(DBAPIError, match=r"permission (was )?denied"):
                    ask(forbidden)
            migrate.downgrade(engine, "0015")
            migrate.upgrade(engine)
    finally:
        reader.dispose()
        user.drop(reader_role.READER)

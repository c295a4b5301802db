from contextlib import closing

import psycopg2

from odoo.sql_db import db_connect
from odoo.tests import TransactionCase, tagged

from .. import private_sql
from ..private_sql import fetch, private

_CHANGE = "UPDATE res_partner SET name = %s WHERE id = 0"


def _within(cr, *statement):
    with private(cr):
        cr.execute(*statement)


@tagged("post_install", "-at_install")
class TestPrivateSql(TransactionCase):
    """What Odoo logs of a statement once the connection is lost; conflicts and refusals are tests of their own."""

    def test_a_lost_connection_leaves_no_statement_to_be_logged_by_the_next_failure(self):
        for run in (_within, fetch):
            with self.subTest(run.__name__), closing(db_connect(self.env.cr.dbname).cursor()) as cr:
                statement = f"{_CHANGE} RETURNING id" if run is fetch else _CHANGE
                run(cr, statement, ["Ana"])
                cr.execute("SELECT pg_backend_pid()")
                self._end(cr.fetchone()[0])
                with self.assertRaises(psycopg2.Error):
                    run(cr, statement, ["Ana Secreta"])
                with self.assertLogs("odoo.sql_db", level="ERROR") as logs, self.assertRaises(psycopg2.Error):
                    cr.execute('ROLLBACK TO SAVEPOINT "any"')
                self.assertNotIn("Secreta", "".join(logs.output))

    def _end(self, process):
        """End the server's process of another connection, and wait until it has."""
        with db_connect("postgres", allow_uri=False).cursor() as other:
            other.execute("SELECT pg_terminate_backend(%s, 10000)", [process])
            self.assertTrue(other.fetchone()[0])

    def test_the_functions_are_the_databases_own(self):
        self.assertTrue(self._functions("current_schema"))
        fetch(self.env.cr, "SELECT 1 AS id")
        self.assertFalse(self._functions("pg_my_temp_schema()::regnamespace"))

    def test_without_an_upgrade_a_session_makes_its_own_functions(self):
        private_sql.uninstall(self.env.cr)
        self.assertFalse(self._functions("current_schema"))
        self.assertEqual(fetch(self.env.cr, "SELECT 1 AS id"), [{"id": 1}])
        self.assertEqual(len(self._functions("pg_my_temp_schema()::regnamespace")), 2)
        private_sql.install(self.env.cr)
        self.assertEqual(len(self._functions("current_schema")), 2)

    def test_an_upgrade_drops_the_functions_of_another_version(self):
        before = self._functions("current_schema")
        self.env.cr.execute("CREATE FUNCTION miasalud_query_00000000(boolean) RETURNS text LANGUAGE sql AS 'SELECT 1'")
        private_sql.install(self.env.cr)
        self.assertEqual(self._functions("current_schema"), before)

    def test_nothing_changed_is_no_conflict_and_counts_nothing(self):
        _within(self.env.cr, _CHANGE, ["Ana"])
        self.assertEqual(self.env.cr.rowcount, 0)

    def _functions(self, schema):
        self.env.cr.execute(
            f"SELECT proname FROM pg_proc WHERE proname LIKE 'miasalud%%' AND pronamespace = {schema}::regnamespace "
            "ORDER BY proname"
        )
        return [name for (name,) in self.env.cr.fetchall()]

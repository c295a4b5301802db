from contextlib import closing

import psycopg2

from odoo.sql_db import db_connect
from odoo.tests import TransactionCase, tagged

from .. import private_sql
from ..private_sql import fetch, private
from .common import Statements

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

    def test_a_database_without_the_functions_gets_them_for_each_transaction(self):
        """The server may be newer than the database, until the app is upgraded; and it goes on during an uninstall."""
        with closing(db_connect(self.env.cr.dbname).cursor()) as cr:
            private_sql.drop_functions(cr)
            for run in (_within, fetch):
                run(cr, "UPDATE res_partner SET name = name WHERE id = 1 RETURNING id")
            private_sql.make_functions(cr)
            self.assertEqual(fetch(cr, "SELECT 1 AS one"), [{"one": 1}])
            cr.rollback()

    def test_a_change_takes_two_statements(self):
        _within(self.env.cr, _CHANGE, ["Ana"])  # the first one asks for the functions
        for run in (_within, fetch):
            with Statements() as statements:
                run(self.env.cr, "UPDATE res_partner SET name = %s WHERE id = 1 RETURNING id", ["Ana"])
            self.assertEqual(len(statements), 2, statements)

    def _end(self, process):
        """End the server's process of another connection, and wait until it has."""
        with db_connect("postgres", allow_uri=False).cursor() as other:
            other.execute("SELECT pg_terminate_backend(%s, 10000)", [process])
            self.assertTrue(other.fetchone()[0])

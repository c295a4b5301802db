import json
from datetime import timedelta
from unittest.mock import patch

from odoo import fields
from odoo.tests import HttpCase, TransactionCase, new_test_user, tagged
from odoo.tools import mute_logger

from .. import wrong_keys
from ..controllers.api import throttle
from ..models import manychat_wrong_key
from .common import QueueCase, expire

CONTACT = "/api/v1/manychat/webhook/contact"
BODY = {"manychat_id": "MC-1", "nombre_lead": "Ana Secreta"}


@tagged("post_install", "-at_install")
class TestWrongKeysOverHttp(QueueCase, HttpCase):
    def setUp(self):
        super().setUp()
        throttle.forget()
        wrong_keys.forget()
        self.rows = self.env["manychat.wrong.key"]
        self.key = self.env["manychat.api.key"]._generate("Bot de ventas")
        self.record = self.env["manychat.api.key"]._authenticate(self.key)

    def call(self, key, path=CONTACT):
        headers = {"Content-Type": "application/json", **({"X-API-KEY": key} if key is not None else {})}
        return self.opener.post(self.base_url() + path, data=json.dumps(BODY), headers=headers, timeout=30)

    def counted(self, key, path=CONTACT, status=401):
        """The row of one request with ``key``, which is refused."""
        wrong_keys.forget()
        before = self.rows.search([])
        self.assertEqual(self.call(key, path).status_code, status)
        self.env.invalidate_all()
        return self.rows.search([]) - before

    def test_each_way_in_which_a_key_is_wrong_leaves_a_row_that_names_it(self):
        revoked, expired = (
            self.env["manychat.api.key"]._generate("Revocada"),
            self.env["manychat.api.key"]._generate("Vieja"),
        )
        self.env["manychat.api.key"]._authenticate(revoked).action_revoke()
        expire(self.env["manychat.api.key"]._authenticate(expired))
        for key, reason, name, prefix in (
            (revoked, "revoked", "Revocada", revoked[:12]),
            (expired, "expired", "Vieja", expired[:12]),
            (self.key[:-1], "mistyped", "Bot de ventas", self.key[:12]),
            ("mck_" + "x" * 43, "unknown", "", "mck_xxxxxxxx"),
            ("a secret of another kind", "unknown", "", ""),
            (None, "missing", "", ""),
        ):
            with self.subTest(reason=reason, prefix=prefix):
                throttle.forget()
                row = self.counted(key)
                self.assertEqual((row.reason, row.key_name, row.prefix, row.count), (reason, name, prefix, 1))
                self.assertEqual((row.address, row.path), ("127.0.0.1", CONTACT))
                self.assertTrue(row.first_at and row.last_at and row.day)

    def test_a_key_in_the_address_is_counted_however_it_is_written(self):
        row = self.counted(None, f"{CONTACT}?key={self.key}")
        self.assertEqual((row.reason, row.key_name, row.prefix), ("in_address", "Bot de ventas", self.key[:12]))
        other = self.key.replace("mck_", "m%63k_")
        self.assertFalse(self.counted(None, f"{CONTACT}?key={other}"), "it is the same row")
        self.assertEqual(row.count, 2)

    def test_the_row_keeps_nothing_of_the_key_but_its_beginning_and_nothing_of_the_body(self):
        row = self.counted(self.key + "x")
        self.env.cr.execute("SELECT row_to_json(w)::text FROM manychat_wrong_key w WHERE id = %s", [row.id])
        text = self.env.cr.fetchone()[0]
        self.assertNotIn(self.key[12:], text)
        self.assertNotIn("Secreta", text)

    def test_requests_that_follow_at_once_are_written_together(self):
        self.counted("mck_" + "x" * 43)
        for _ in range(4):
            self.call("mck_" + "x" * 43)
        self.assertEqual(sum(self.rows.search([]).mapped("count")), 1, "no write for each")
        wrong_keys.write(self.env)
        self.env.invalidate_all()
        self.assertEqual(self.rows.search([]).mapped("count"), [5])

    def test_slowed_down_requests_are_counted_too(self):
        for _ in range(throttle.TRIES + 3):
            status = self.call("mck_wrong").status_code
        self.assertEqual(status, 429)
        wrong_keys.write(self.env)
        self.env.invalidate_all()
        self.assertEqual(sum(self.rows.search([]).mapped("count")), throttle.TRIES + 3)

    def test_a_valid_key_leaves_no_row_and_neither_does_a_monitor(self):
        self.assertEqual(self.call(self.key).status_code, 200)
        self.assertEqual(self.url_open("/api/v1/reports/health").status_code, 401)
        wrong_keys.write(self.env)
        self.assertFalse(self.rows.search([]))


@tagged("post_install", "-at_install")
class TestWrongKeys(TransactionCase):
    def setUp(self):
        super().setUp()
        wrong_keys.forget()
        self.rows = self.env["manychat.wrong.key"]
        self.patch(self.env.cr, "rollback", lambda: None)

    def note(self, address="10.0.0.1", reason="unknown", prefix="", key_name=""):
        wrong_keys.note(self.env.cr.dbname, address, CONTACT, reason, prefix, key_name)

    def count(self, number, **values):
        now = fields.Datetime.to_string(fields.Datetime.now())
        count = {"day": now[:10], "count": 1, "first_at": now, "last_at": now, "path": CONTACT, "prefix": ""}
        return {
            **count,
            "address": f"10.0.{number // 256}.{number % 256}",
            "reason": "unknown",
            "key_name": "",
            **values,
        }

    def test_a_flood_from_many_addresses_is_one_statement_and_few_rows(self):
        for number in range(5000):
            self.note(f"10.0.{number // 256}.{number % 256}")
        with self.assertQueryCount(3):  # and a savepoint
            wrong_keys.write(self.env)
        rows = self.rows.search([])
        self.assertLessEqual(len(rows), wrong_keys.MOST + 1)
        self.assertEqual(sum(rows.mapped("count")), 5000)

    def test_a_day_has_a_limit_of_rows_and_a_bot_of_ours_is_still_named(self):
        self.patch(manychat_wrong_key, "MOST_PER_DAY", 5)
        for number in range(12):
            self.assertTrue(self.rows._add([self.count(number)]))
        rows = self.rows.search([])
        self.assertEqual((len(rows), sum(rows.mapped("count"))), (6, 12))
        self.assertTrue(
            self.rows._add([self.count(1), self.count(99, reason="revoked", prefix="mck_a", key_name="Bot")])
        )
        self.env.invalidate_all()
        self.assertEqual(self.rows.search([("address", "=", "10.0.0.1")]).count, 2)
        self.assertEqual(self.rows.search([("key_name", "=", "Bot")]).address, "10.0.0.99")

    def test_it_waits_for_no_other_process(self):
        with self.registry.cursor() as other:
            other.execute("SELECT pg_advisory_xact_lock(%s)", [manychat_wrong_key.LOCK])
            self.note()
            wrong_keys.write(self.env)
            self.assertFalse(self.rows.search([]))
        wrong_keys.write(self.env)
        self.assertEqual(self.rows.search([]).count, 1)

    def test_a_timer_writes_what_no_later_request_does(self):
        started = []
        with patch.object(wrong_keys.threading, "Timer", lambda *arguments: started.append(arguments) or _Timer()):
            for _ in range(3):
                self.note()
                wrong_keys.write_if_due(self.env.cr)
        self.assertEqual([arguments[0] for arguments in started], [wrong_keys.INTERVAL])
        wrong_keys._timers.clear()

    def test_counts_go_with_the_retention_time(self):
        self.rows._add([self.count(1), self.count(2, day="2020-01-01")])
        self.rows._gc_wrong_keys()
        self.assertEqual(self.rows.search([]).mapped("address"), ["10.0.0.1"])

    def test_seen_ones_are_counted_on_and_only_managers_mark_them(self):
        self.rows._add([self.count(1)])
        row = self.rows.search([])
        row.with_user(new_test_user(self.env, "jefa", "sales_team.group_sale_manager")).action_seen()
        since = fields.Datetime.now() - timedelta(hours=1)
        self.assertFalse(self.rows._unseen(since))
        self.rows._add([self.count(1)])
        self.env.invalidate_all()
        self.assertEqual(self.rows._unseen(since), row)
        with self.assertRaisesRegex(Exception, "sales managers"), mute_logger("odoo.sql_db"):
            row.with_user(new_test_user(self.env, "vera", "sales_team.group_sale_salesman")).action_seen()


class _Timer:
    def start(self):
        """Nothing: a test has no later."""

from datetime import timedelta

from odoo import fields
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import Form, new_test_user, tagged

from ..deliveries import REFUSED_PREFIX
from .common import ManychatCase, expire


@tagged("post_install", "-at_install")
class TestKeyState(ManychatCase):
    def setUp(self):
        super().setUp()
        self.keys = self.env["manychat.api.key"]
        self.admin = new_test_user(self.env, "administra", "base.group_system,sales_team.group_sale_manager", tz="UTC")
        self.manager = new_test_user(self.env, "jefa", "sales_team.group_sale_manager")
        self.now = fields.Datetime.now()

    def key(self, name="Bot", expires=False):
        return self.keys._authenticate(self.keys._generate(name, expires)).with_user(self.admin)

    def delivery(self, key, number, hours_ago=0, refused=False, **values):
        return self.env["manychat.event"].create(
            {
                "event_id": f"{REFUSED_PREFIX if refused else ''}{number:032x}",
                "type": "contact",
                "state": "refused" if refused else "done",
                "received_at": fields.Datetime.now() - timedelta(hours=hours_ago),
                "key_name": key.name,
                "key_prefix": key.prefix,
                **values,
            }
        )

    def test_each_state_is_said_in_words(self):
        revoked = self.key("Revocada")
        revoked.action_revoke()
        expired = self.key("Caducada", self.now + timedelta(days=1))
        expire(expired)
        for key, state, words in (
            (self.key(), "valid", "Valid"),
            (self.key("x", self.now + timedelta(days=60)), "valid", "Valid"),
            (self.key("x", self.now + timedelta(days=4, hours=12)), "expiring", "Expires in 5 days"),
            (self.key("x", self.now + timedelta(hours=5)), "expiring", "Expires within a day"),
            (self.key("x", self.now + timedelta(minutes=5)), "expiring", "Expires within an hour"),
            (expired, "expired", "Expired on"),
            (revoked, "revoked", "Revoked by administra"),
        ):
            self.assertEqual(key.state, state)
            self.assertIn(words, key.state_text)

    def test_who_archives_a_key_revokes_it_and_is_named(self):
        key = self.key()
        key.action_archive()
        self.assertEqual(key.revoked_uid, self.admin)
        self.assertTrue(key.revoked_at)

    def test_a_revoked_key_stays_in_the_list_and_stays_revoked(self):
        key = self.key()
        key.action_revoke()
        action = self.env["ir.actions.act_window"]._for_xml_id("miasalud_crm.manychat_api_key_action")
        shown = (
            self.keys.with_user(self.admin).with_context(active_test=False).search([("test_manychat_id", "=", False)])
        )
        self.assertIn("'active_test': False", str(action["context"]).replace('"', "'"))
        self.assertIn(key, shown)
        revoked_at = key.revoked_at
        for attempt in (key.action_unarchive, lambda: key.write({"active": True}), key.toggle_active):
            with self.assertRaisesRegex(UserError, "Replace"):
                attempt()
        key.with_user(self.manager).builder_ids = self.manager
        key.action_revoke()
        self.assertEqual(key.revoked_at, revoked_at, "revoked once")

    def test_what_it_sent_today_is_counted_in_few_queries(self):
        first, second = self.key("Uno"), self.key("Dos")
        for number in range(5):
            self.delivery(first, number)
        self.delivery(first, 10, refused=True)
        self.delivery(first, 11, refused=True, state="corrected")
        self.delivery(first, 12, refused=True, state="discarded")
        self.delivery(first, 13, hours_ago=30)
        today = fields.Datetime.to_string(self.now)
        row = {"day": today[:10], "address": "192.0.2.7", "reason": "mistyped", "key_name": "Dos", "count": 4}
        row |= {"prefix": second.prefix, "path": "/", "first_at": today, "last_at": today}
        self.env["manychat.wrong.key"]._add([row])
        keys = first | second
        keys.mapped("accepted_today")
        self.env.flush_all()
        keys.invalidate_recordset(["accepted_today", "refused_today"])
        with self.assertQueryCount(2):
            keys.mapped("accepted_today")
        self.assertEqual(keys.mapped("accepted_today"), [5, 0])
        self.assertEqual(keys.mapped("refused_today"), [3, 4])

    def test_today_begins_at_midnight_of_the_user(self):
        key = self.key().with_context(tz="Pacific/Kiritimati")
        here = fields.Datetime.context_timestamp(key, self.now)
        self.delivery(key, 1, hours_ago=here.hour + 1)
        self.delivery(key, 2)
        self.env.invalidate_all()
        self.assertEqual(key.accepted_today, 1)

    def test_a_replaced_key_ends_at_the_time_chosen_and_says_by_which(self):
        builder = new_test_user(self.env, "construye", "miasalud_crm.group_bot_builder")
        old = self.key("Bot de ventas")
        old.write({"tz": "America/Bogota", "builder_ids": builder.ids})
        form = Form(
            self.env["manychat.api.key.replace"].with_user(self.admin).with_context(**old.action_replace()["context"])
        )
        self.assertTrue(timedelta(days=6) < form.ends_at - self.now < timedelta(days=8))
        form.ends_at = self.now + timedelta(days=2)
        action = form.save().action_replace()
        new = self.keys._authenticate(action["context"]["default_key"])
        self.assertEqual((new.name, new.tz, new.builder_ids), ("Bot de ventas", "America/Bogota", builder))
        self.assertFalse(new.expiration_date)
        self.assertEqual((old.replaced_by_id.id, old.expiration_date), (new.id, self.now + timedelta(days=2)))
        self.assertTrue(old.is_valid)
        shown = self.env[action["res_model"]].with_user(self.admin).with_context(**action["context"])
        self.assertEqual(Form(shown, view=action["views"][0][0]).key, action["context"]["default_key"])

    def test_an_old_key_never_lives_longer_by_being_replaced(self):
        old = self.key("Bot", self.now + timedelta(days=1))
        old._replace(self.now + timedelta(days=7))
        self.assertEqual(old.expiration_date, self.now + timedelta(days=1))
        revoked = self.key()
        revoked.action_revoke()
        revoked._replace(self.now + timedelta(days=7))
        self.assertFalse(revoked.expiration_date or revoked.active)

    def test_an_expiry_that_has_passed_is_refused_wherever_it_is_entered(self):
        past, key = self.now - timedelta(minutes=1), self.key()
        with self.assertRaisesRegex(ValidationError, "has passed"):
            key.expiration_date = past
        form = Form(key)
        form.expiration_date = past
        with self.assertRaisesRegex(ValidationError, "has passed"):
            form.save()
        keys = self.keys.with_user(self.admin)
        messages = keys.load(["id", "expiration_date"], [[f"__export__.x{key.id}", str(past)]])["messages"]
        self.assertTrue(messages)
        for purpose in ("webhook", "bridge"):
            dialog = Form(self.env["manychat.api.key.create"].with_user(self.admin))
            dialog.name, dialog.purpose, dialog.expiration_date = "Tarde", purpose, past
            with self.assertRaisesRegex(ValidationError, "has passed"):
                dialog.save()
        with self.assertRaisesRegex(ValidationError, "has passed"):
            keys._generate("Tarde", past)
        for name in ("ends_at", "expiration_date"):
            values = {"key_id": key.id, name: past}
            with self.assertRaisesRegex(ValidationError, "has passed"):
                self.env["manychat.api.key.replace"].with_user(self.admin).create(values)

    def test_an_expired_key_can_still_be_renamed(self):
        key = self.key("Bot", self.now + timedelta(days=1))
        expire(key)
        form = Form(key)
        form.name = "Bot de antes"
        form.save()
        self.assertEqual(key.name, "Bot de antes")

    def test_a_key_that_a_bot_has_used_is_not_deleted(self):
        used, sent, never = self.key("Usada"), self.key("Con entregas"), self.key("Nunca")
        used.sudo().last_used = self.now
        self.delivery(sent, 1)
        for key in (used, sent):
            with self.assertRaisesRegex(UserError, "Revoke it"):
                key.unlink()
        never.unlink()
        self.assertFalse(never.exists())

    def test_a_delivery_keeps_the_name_of_its_key(self):
        key = self.key("Bot de ventas")
        event = self.delivery(key, 1)
        key.name = "Otro nombre"
        key.action_revoke()
        self.assertEqual(event.key_name, "Bot de ventas")

    def test_a_manager_sees_keys_and_changes_nothing_but_their_bot_builders(self):
        key, builder = self.key().with_user(self.manager), new_test_user(self.env, "construye", "base.group_user")
        self.assertTrue(key.read(["name", "state_text", "accepted_today", "last_used", "prefix"]))
        with self.assertRaises(AccessError):
            key.read(["digest"])
        form = Form(key)
        form.builder_ids.add(builder)
        form.save()
        self.assertEqual(key.builder_ids, builder)
        for values in ({"name": "x"}, {"active": False}, {"expiration_date": False}, {"tz": "UTC"}, {"prefix": "x"}):
            with self.assertRaises(AccessError):
                key.write({**values, "builder_ids": []})
        for method in (key.action_revoke, key.action_archive, key.action_replace, key.unlink, key.copy):
            with self.assertRaises(AccessError):
                method()
        self.assertEqual(key.builder_ids, builder)

    def test_the_standby_takes_the_old_key_and_the_new_one(self):
        old = self.key("Relevo")
        old._replace(self.now + timedelta(days=1))
        self.assertEqual([key["name"] for key in self.keys._for_standby()].count("Relevo"), 2)

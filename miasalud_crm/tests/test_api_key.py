from datetime import timedelta

from odoo import fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import TransactionCase, new_test_user, tagged

from bridge.contract import keys

from .. import valid_key
from .common import expire


@tagged("post_install", "-at_install")
class TestApiKey(TransactionCase):
    def setUp(self):
        super().setUp()
        self.keys = self.env["manychat.api.key"]

    def test_the_key_itself_is_not_stored(self):
        key = self.keys._generate("Prueba")
        self.env.flush_all()
        self.env.cr.execute("SELECT row_to_json(k)::text FROM manychat_api_key k")
        self.assertNotIn(key[20:], "".join(row[0] for row in self.env.cr.fetchall()))

    def test_only_administrators_create_keys(self):
        admin = new_test_user(self.env, "administra", "base.group_system")
        wizard = self.env["manychat.api.key.create"].with_user(admin).create({"name": "Prueba", "purpose": "webhook"})
        key = wizard.action_generate()["context"]["default_key"]
        self.assertEqual(self.keys._authenticate(key).create_uid, admin)
        manager = new_test_user(self.env, "jefa", "sales_team.group_sale_manager")
        with self.assertRaises(AccessError):
            self.keys.with_user(manager)._generate("Prueba")

    def test_a_key_is_valid_until_it_is_revoked_or_expires(self):
        soon = fields.Datetime.now() + timedelta(hours=1)
        key = self.keys._generate("Prueba", soon)
        record = self.keys._authenticate(key)
        self.assertEqual(record.name, "Prueba")
        expire(record)
        self.assertFalse(self.keys._authenticate(key))
        record.expiration_date = False
        record.action_revoke()
        self.assertFalse(self.keys._authenticate(key))

    def test_a_heartbeat_brings_the_standby_the_valid_keys_of_bots_and_no_key_itself(self):
        self.keys.search([]).action_revoke()
        later = fields.Datetime.now().replace(microsecond=0) + timedelta(hours=1)
        key = self.keys._generate("Bot", later, tz="America/Bogota")
        self.keys._generate("Prueba", later, test_manychat_id="MC1")
        expire(self.keys._authenticate(self.keys._generate("Caducada")))
        self.keys._authenticate(self.keys._generate("Revocada")).action_revoke()
        bridge = self.env["manychat.bridge"].with_user(self.env.ref("miasalud_crm.user_bridge"))
        answer = bridge.heartbeat("host/1", "1")
        self.assertEqual(
            answer["keys"],
            [
                {
                    "name": "Bot",
                    "prefix": keys.prefix(key),
                    "digest": keys.digest(key),
                    "expires_at": later.isoformat() + "+00:00",
                    "zone": "America/Bogota",
                    "scope": "webhook",
                }
            ],
        )
        self.assertEqual(keys.OdooKey(**answer["keys"][0]).digest, keys.digest(key))

    def test_a_request_reads_of_its_key_what_the_record_says(self):
        soon = fields.Datetime.now().replace(microsecond=0) + timedelta(hours=1)
        key = self.keys._generate("Prueba", soon, test_manychat_id="MC1", tz="America/Bogota")
        record = self.keys._authenticate(key)
        record._touch()
        self.env.flush_all()
        found = valid_key.find(self.env.cr, key)
        self.assertEqual(found._asdict(), {name: record[name] for name in found._fields})
        self.assertEqual(str(found.zone), "America/Bogota")

    def test_anything_else_is_no_key(self):
        key = self.keys._generate("Prueba")
        for wrong in ("", key[:-1], key + "x", key.swapcase(), key[:12], "mck_", "ñ" * 50, "\udcff"):
            self.assertFalse(self.keys._authenticate(wrong), wrong)

    def test_a_webhook_key_opens_no_rpc(self):
        key = self.keys._generate("Prueba")
        self.assertFalse(self.env["res.users.apikeys"]._check_credentials(scope="rpc", key=key))

    def test_the_bridge_key_is_one_of_the_bridges_user(self):
        key = self.keys._generate_bridge_key("Prueba")
        user_id = self.env["res.users.apikeys"]._check_credentials(scope="rpc", key=key)
        self.assertEqual(user_id, self.env.ref("miasalud_crm.user_bridge").id)

    def test_last_use_is_noted_at_most_once_a_minute(self):
        record = self.keys._authenticate(self.keys._generate("Prueba"))
        record._touch()
        first = record.last_used
        self.assertTrue(first)
        record.last_used = earlier = first - timedelta(seconds=30)
        record._touch()
        self.assertEqual(record.last_used, earlier)

    def test_the_dialog_shows_the_key_once(self):
        for purpose in ("webhook", "bridge"):
            dialog = self.env["manychat.api.key.create"].create({"name": "Prueba", "purpose": purpose})
            action = dialog.action_generate()
            self.assertTrue(action["context"]["default_key"])
            self.assertFalse(dialog.key)

    def test_only_administrators_make_keys(self):
        manager = new_test_user(self.env, "jefa", "sales_team.group_sale_manager")
        with self.assertRaises(AccessError):
            self.env["manychat.api.key.create"].with_user(manager).create({"name": "Prueba"})

    def _take_in(self, key, name="Bots de antes"):
        dialog = self.env["manychat.api.key.create"].create({"name": name, "existing_key": key})
        return dialog.action_generate()

    def test_a_key_of_another_system_is_taken_in_and_is_stored_nowhere(self):
        key = "clave-del-sistema-anterior-01"
        action = self._take_in(f" {key}\n")
        self.assertEqual(action["tag"], "display_notification")
        record = self.keys._authenticate(key)
        self.assertEqual((record.name, record.prefix), ("Bots de antes", key[:12]))
        self.env.flush_all()
        self.env.cr.execute(
            "SELECT row_to_json(k)::text FROM manychat_api_key k UNION ALL "
            "SELECT row_to_json(d)::text FROM manychat_api_key_create d"
        )
        self.assertNotIn(key[12:], "".join(row[0] for row in self.env.cr.fetchall()))

    def test_a_key_is_taken_in_once(self):
        key = self.keys._generate("Prueba")
        self.keys._authenticate(key).action_revoke()
        with self.assertRaisesRegex(UserError, "Prueba"):
            self._take_in(key)
        self.assertFalse(self.keys._authenticate(key))

    def test_what_can_be_guessed_is_no_key(self):
        for text in ("miasalud2025", "x" * 19, "una frase con varias palabras", "ñandú-ñandú-ñandú-ñandú", "a\tb" * 9):
            with self.assertRaises(UserError, msg=text):
                self._take_in(text)

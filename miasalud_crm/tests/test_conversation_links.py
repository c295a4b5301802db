from odoo.tests import new_test_user, tagged

from .common import ManychatCase, opportunity


@tagged("post_install", "-at_install")
class TestConversationLinks(ManychatCase):
    """The ways from an opportunity to its conversations, and what a salesperson may read of them."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env["ir.config_parameter"].set_param("miasalud_crm.chat_url", "https://example.com/{manychat_id}")
        cls.vera = new_test_user(cls.env, "vera", "sales_team.group_sale_salesman")

    def merge(self, *manychat_ids):
        leads = self.env["crm.lead"].union(*(self.lead(manychat_id) for manychat_id in manychat_ids))
        survivor = leads.merge_opportunity()
        survivor.user_id = self.vera
        self.env.invalidate_all()
        return survivor.with_user(self.vera)

    def names(self, links):
        return [link["name"] for link in links or ()]

    def test_a_merged_opportunity_leads_to_each_chat_the_newest_first(self):
        self.apply(
            opportunity("MC-A", 17, phone="+520000000001"),
            opportunity("MC-B", 18, 5, phone="+52 000 000 0002"),
            opportunity("MC-C", 18, 3, phone="+520000000001"),
        )
        lead = self.merge("MC-A", "MC-B", "MC-C")
        self.assertEqual(self.names(lead.manychat_chats), ["MC-B", "MC-C", "MC-A"])
        self.assertEqual(lead.manychat_chat_url, "https://example.com/MC-B")
        self.assertEqual(sorted(self.names(lead.manychat_whatsapps)), ["+520000000001", "+520000000002"])
        self.apply(opportunity("MC-A", 19, 9))
        self.env.invalidate_all()
        self.assertEqual(self.names(lead.manychat_chats), ["MC-A", "MC-B", "MC-C"])

    def test_a_number_without_country_code_is_the_one_that_odoo_finds(self):
        self.apply(opportunity("MC-A", 17, phone="55 1234 5678"), opportunity("MC-B", 18, 5, phone="+525512345678"))
        self.assertEqual(self.names(self.lead("MC-A").manychat_whatsapps), [])
        self.lead("MC-A").phone_sanitized = "+525512345678"  # as with the library phonenumbers, which Odoo may lack
        self.assertEqual(self.lead("MC-A").manychat_whatsapp_url, "https://wa.me/525512345678")
        self.assertEqual(self.names(self.merge("MC-A", "MC-B").manychat_whatsapps), ["+525512345678"])

    def test_a_chat_whose_events_have_expired_comes_last(self):
        self.apply(opportunity("MC-A", 17), opportunity("MC-B", 18, 5))
        lead = self.merge("MC-A", "MC-B")
        self.env["manychat.event"].search([("manychat_id", "=", "MC-B")]).unlink()
        self.env.invalidate_all()
        self.assertEqual(self.names(lead.manychat_chats), ["MC-A", "MC-B"])
        self.assertFalse(lead.manychat_chats[1]["at"])

    def test_one_chat_asks_the_event_log_nothing_and_others_ask_nothing_at_all(self):
        self.apply(opportunity("MC-A", 17, phone="+520000000001"))
        chat = self.lead("MC-A")
        plain = self.env["crm.lead"].create({"name": "Por teléfono", "phone": "+520000000001"})
        (chat | plain).read(["x_manychat_id", "phone", "phone_sanitized", "manychat_chat_url"])  # caches
        for lead, count in ((chat, 2), (plain, 0)):
            lead.invalidate_recordset()
            lead.read(["x_manychat_id", "phone", "phone_sanitized"])
            with self.assertQueryCount(count):  # the ids of the conversations, and the conversations
                lead.read(["manychat_chats", "manychat_whatsapps"])
        self.assertFalse(plain.manychat_whatsapps or plain.manychat_chats)

    def test_without_an_address_of_chats_there_is_no_button(self):
        self.apply(opportunity("MC-A", 17))
        self.env["ir.config_parameter"].set_param("miasalud_crm.chat_url", False)
        self.assertFalse(self.lead("MC-A").manychat_chats or self.lead("MC-A").manychat_whatsapps)

    def test_erasing_a_person_erases_the_number_of_a_merged_chat(self):
        self.apply(opportunity("MC-A", 17, phone="+520000000001"), opportunity("MC-B", 18, 5, phone="+520000000002"))
        self.merge("MC-A", "MC-B")
        identities = self.env["manychat.identity"].search([("manychat_id", "in", ["MC-A", "MC-B"])])
        self.assertEqual(set(identities.mapped("phone")), {"+520000000001", "+520000000002"})
        self.env["manychat.event"].with_user(self.bridge_user).erase("MC-B")
        self.env.invalidate_all()
        phones = {identity.manychat_id: identity.phone for identity in identities}
        self.assertEqual(phones, {"MC-A": "+520000000001", "MC-B": False})

    def test_a_salesperson_reads_the_words_of_their_own_opportunities_and_no_payload(self):
        self.apply(opportunity("MC-A", 17, summary="¿Hay citas?"), opportunity("MC-B", 17, summary="Secreto"))
        self.lead("MC-A").user_id = self.vera
        self.lead("MC-B").user_id = self.env.ref("base.user_admin")
        action = self.lead("MC-A").with_user(self.vera).action_view_manychat_events()
        events = self.env["manychat.event"].with_user(self.vera)
        own = events.search(action["domain"])
        self.assertEqual(own.mapped("words"), ["¿Hay citas?"])
        self.assertNotIn("payload", events.fields_get())
        self.assertFalse(events.search([("manychat_id", "=", "MC-B")]))

    def test_words_are_for_salespeople(self):
        other = new_test_user(self.env, "otra", "base.group_user")
        self.assertNotIn("words", self.env["manychat.event"].with_user(other).fields_get(["words"]))

    def test_an_erased_event_has_no_words(self):
        self.apply(opportunity("MC-A", 17, summary="¿Hay citas?"))
        self.env["manychat.event"].with_user(self.bridge_user).erase("MC-A")
        self.env.invalidate_all()
        self.assertFalse(self.env["manychat.event"].search([("lead_id", "=", self.lead("MC-A").id)]).words)

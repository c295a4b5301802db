from freezegun import freeze_time

from odoo.tests import new_test_user, tagged

from .common import ManychatCase, at, opportunity

MOVED = "The conversation in ManyChat moved this opportunity"


@tagged("post_install", "-at_install")
class TestChatter(ManychatCase):
    """What the chatter shows about a change, and which users it notifies."""

    def newest(self, lead=None):
        self.env.flush_all()
        self.env.cr.precommit.run()
        return (lead or self.lead()).message_ids.sorted("id")[-1:]

    def test_a_move_of_the_chat_reads_as_a_sentence_that_says_so(self):
        self.apply(opportunity(stage=17))
        before = self.lead().message_ids
        self.apply(opportunity(stage=21, minutes=1, summary="Quiere <b>una</b> cita."))
        message = self.lead().message_ids - before
        self.assertEqual(len(message), 1)
        self.assertEqual(message.subtype_id.description, MOVED)
        self.assertEqual(message.author_id, self.bridge_user.partner_id)
        self.assertIn("Quiere &lt;b&gt;una&lt;/b&gt; cita.", message.body)
        stages = [("Recién Suscrito Pendiente AC", "Derivado a AE")]
        self.assertEqual(self.stage_messages(self.lead()), stages)

    def test_each_reader_has_it_in_their_language(self):
        self.env["res.lang"]._activate_lang("es_ES")
        subtype = self.env.ref("miasalud_crm.mt_chat_stage")
        subtype.with_context(lang="es_ES").description = "La conversación movió esta oportunidad"
        with freeze_time(at(1).replace(tzinfo=None)):  # a late event tells its date
            self.apply(opportunity(stage=17))
            self.apply(opportunity(stage=21, minutes=1))
        message = self.newest()
        self.assertEqual(
            message.with_context(lang="es_ES").subtype_id.description, "La conversación movió esta oportunidad"
        )
        self.assertEqual(message.subtype_id.description, MOVED)
        self.assertFalse(message.body)  # nothing in it is of one language

    def test_creating_winning_and_restoring_have_sentences_too(self):
        with freeze_time(at(0).replace(tzinfo=None)):  # a late event tells its date in a line of its own
            self.apply(opportunity(stage=25))
        self.assertEqual(self.newest().subtype_id, self.env.ref("miasalud_crm.mt_chat_create"))
        self.apply(opportunity(stage=26, minutes=1))
        self.assertEqual(self.newest().subtype_id, self.env.ref("miasalud_crm.mt_chat_won"))
        self.apply(opportunity(stage=25, minutes=2))  # since Odoo 19 a won one cannot be lost
        with freeze_time(at(3).replace(tzinfo=None)):
            self.lead().action_set_lost()
        self.newest()
        self.apply(opportunity(stage=25, minutes=4))
        self.assertEqual(self.newest().subtype_id, self.env.ref("miasalud_crm.mt_chat_restored"))

    def test_a_persons_move_is_odoos_own(self):
        self.apply(opportunity(stage=17))
        self.lead().stage_id = self.stages[21]
        self.assertEqual(self.newest().subtype_id, self.env.ref("crm.mt_lead_stage"))

    def test_who_follows_changes_of_stage_hears_of_the_chats_moves(self):
        vera = new_test_user(self.env, "vera", "sales_team.group_sale_salesman_all_leads", notification_type="inbox")
        omar = new_test_user(self.env, "omar", "sales_team.group_sale_salesman_all_leads", notification_type="inbox")
        self.apply(opportunity(stage=17))
        self.lead().message_subscribe(vera.partner_id.ids, self.env.ref("crm.mt_lead_stage").ids)
        self.lead().message_subscribe(omar.partner_id.ids, self.env.ref("mail.mt_comment").ids)
        self.apply(opportunity(stage=21, minutes=1))
        self.assertEqual(self.newest().notified_partner_ids, vera.partner_id)

    def test_who_follows_a_teams_changes_of_stage_hears_of_the_chats_moves(self):
        vera = new_test_user(self.env, "vera", "sales_team.group_sale_salesman_all_leads", notification_type="inbox")
        team = self.env["crm.team"].create({"name": "Chat"})
        team.message_subscribe(vera.partner_id.ids, self.env.ref("crm.mt_salesteam_lead_stage").ids)
        self.env["manychat.stage.map"].search([("manychat_stage_id", "=", 17)]).team_id = team
        self.apply(opportunity(stage=17))
        self.apply(opportunity(stage=21, minutes=1))
        self.assertEqual(self.newest().notified_partner_ids, vera.partner_id)

    def test_no_user_has_to_follow_them_separately(self):
        subtypes = self.env["mail.message.subtype"].search([("res_model", "=", "crm.lead"), ("hidden", "=", False)])
        self.assertFalse([name for name in subtypes.mapped("name") if "Chat" in name])

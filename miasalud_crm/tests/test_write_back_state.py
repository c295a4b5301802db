from datetime import timedelta

from odoo import fields
from odoo.tests import new_test_user, tagged

from bridge.contract.outcomes import WriteBackState

from .common import ManychatCase, QueueCase, opportunity
from .manychat_stand_in import running


@tagged("post_install", "-at_install")
class TestWriteBackState(QueueCase, ManychatCase):
    """What managers see of the way to ManyChat: on the settings' page, in the checklist and in alerts."""

    def setUp(self):
        super().setUp()
        self.env["manychat.bridge"].search([]).unlink()
        self.admin = new_test_user(self.env, "admina", "base.group_system,sales_team.group_sale_manager")
        self.manager = new_test_user(self.env, "jefa", "sales_team.group_sale_manager")
        self.settings = self.env.ref("miasalud_crm.write_back").with_user(self.admin)
        self.settings.enabled = True
        with running():
            self.settings.action_refresh()
        field = self.env["manychat.account.item"].search([("name", "=", "Etapa CRM")])
        self.settings.stage_field_id = field

    def beat(self, state=None, name="host/1"):
        self.env["manychat.bridge"].with_user(self.bridge_user).heartbeat(name, "1", write_back=state)
        self.env.invalidate_all()

    def text(self):
        return self.settings.with_user(self.manager).bridge_text

    def step(self):
        steps = self.env["manychat.setup"].with_user(self.manager).checklist()
        return next((step for step in steps if step["name"] == "write_back"), None)

    def alert(self):
        self.env["manychat.alert"]._cron_check()
        return self.env["manychat.alert"].search([("kind", "=", "write_back"), ("since", "!=", False)])

    def test_each_state_has_its_own_sentence_and_one_bridge_that_can_write_is_enough(self):
        texts = [self.text()]
        for state in (None, *WriteBackState):
            self.env["manychat.bridge"].search([]).unlink()
            self.beat(state and state.value)
            texts.append(self.text())
        self.assertEqual(len(set(texts)), len(texts))
        self.beat("ready", "host/2")
        self.assertIn("can write", self.text())
        self.beat("no_token", "host/2")
        self.assertNotIn("can write", self.text())

    def test_the_page_says_whether_the_bridge_can_write_and_how_many_opportunities_were_refused(self):
        settings = self.settings.with_user(self.manager)
        for state in WriteBackState:
            self.beat(state.value)
            self.assertEqual(settings.is_bridge_ready, state == WriteBackState.READY)
        self.apply(opportunity("MC-A"), opportunity("MC-B"))
        before = settings.refused_count
        refused = {"event_id": "e", "code": "missing", "message": "", "at": "2026-03-02T09:00:00+00:00"}
        results = [refused | {"manychat_id": "MC-A"}, refused | {"manychat_id": "MC-B"}]
        self.env["crm.lead"].with_user(self.bridge_user).manychat_record_write_back(results)
        self.lead("MC-A").action_set_lost()
        self.env.invalidate_all()
        self.assertEqual(settings.refused_count, before + 2)

    def test_a_later_release_may_know_more_states(self):
        self.beat("on_holiday")
        self.assertIn("has not said", self.text())

    def test_the_token_of_odoo_is_named_and_never_shown(self):
        with running(token="unsecreto"):
            self.settings.invalidate_recordset()
            self.assertIn("Test asks", self.settings.token_text)
            self.assertNotIn("unsecreto", self.settings.token_text)
        self.settings.invalidate_recordset()
        self.assertIn("No API token is set", self.settings.token_text)

    def test_the_checklist_has_a_step_only_while_it_is_on(self):
        self.beat("ready")
        self.assertEqual(self.step()["state"], "done")
        self.beat("no_token")
        step = self.step()
        self.assertEqual(step["state"], "warning")
        self.assertIn("BRIDGE_MANYCHAT_API_TOKEN", step["text"])
        self.settings.enabled = False
        self.assertIsNone(self.step())

    def test_the_checklist_names_what_is_missing_in_manychat(self):
        self.beat("ready")
        with running() as stand_in:
            stand_in.fields = []
            self.settings.action_refresh()
        step = self.step()
        self.assertEqual(step["state"], "warning")
        self.assertIn("“Etapa CRM”", step["text"])

    def test_the_checklist_counts_the_refusals_of_a_day_that_no_user_has_seen(self):
        self.beat("ready")
        self.apply(opportunity("MC-A"), opportunity("MC-B"))
        now = fields.Datetime.now()
        for manychat_id, hours in (("MC-A", 1), ("MC-B", 25)):
            at = f"{(now - timedelta(hours=hours)).isoformat()}+00:00"
            result = {"manychat_id": manychat_id, "event_id": "e", "code": "window_closed", "message": "", "at": at}
            self.env["crm.lead"].with_user(self.bridge_user).manychat_record_write_back([result])
        self.env.invalidate_all()
        step = self.step()
        self.assertEqual(step["state"], "warning")
        self.assertIn("in the last 24 hours: 1.", step["text"])
        self.assertIn("miasalud_crm.crm_lead_unsent_action", [action["action"] for action in step["actions"]])
        self.lead("MC-A").action_manychat_unsent_seen()
        self.assertEqual(self.step()["state"], "done")

    def test_an_alert_opens_for_what_an_administrator_must_do_and_closes_by_itself(self):
        receiver = new_test_user(self.env, "guardia", "sales_team.group_sale_manager")
        self.env["manychat.settings"].create({"alert_user_id": receiver.id}).execute()
        self.beat("ready")
        self.assertFalse(self.alert())
        for state in ("stopped", "unreachable"):
            self.beat(state)
            self.assertFalse(self.alert(), "the bridge goes on by itself")
        self.beat("wrong_token")
        alert = self.alert()
        activity = alert.activity_ids
        self.assertEqual(activity.user_id, receiver)
        self.assertIn("does not accept the API token", activity.note)
        action = alert.with_user(receiver).action_view_events()
        self.assertEqual(action["res_model"], "manychat.write.back")
        self.beat("ready")
        self.assertFalse(self.alert())

    def test_switched_off_there_is_no_alert(self):
        self.settings.enabled = False
        self.beat("no_token")
        self.assertFalse(self.alert())

    def test_the_chatter_says_who_switched_it_and_who_chose_what(self):
        self.settle()
        self.settings.enabled = False
        self.settings.stage_field_id = False
        self.settle()
        message = self.settings.message_ids[0]
        self.assertEqual(message.author_id, self.admin.partner_id)
        changed = {value.field_id.name for value in message.sudo().tracking_value_ids}
        self.assertEqual(changed, {"enabled", "stage_field_id"})
        self.assertTrue(self.settings.with_user(self.manager).message_ids)

    def settle(self):
        self.env.flush_all()
        self.cr.flush()  # tracking values are made at precommit

from unittest.mock import patch

from odoo.tests import Form, tagged

from ..apply import history, history_overrides
from .common import opportunity
from .history_case import HistoryCase


class Cases(HistoryCase):
    def people(self, stage=17, minutes=0, names="ABC", **fields):
        return [opportunity(f"MC-{name}", stage, minutes, **fields) for name in names]

    def leads(self, names="ABC"):
        return self.env["crm.lead"].browse([self.lead(f"MC-{name}").id for name in names])

    def follow(self, leads, partner, *subtypes):
        leads.message_subscribe(partner.ids, [self.env.ref(name).id for name in subtypes])

    def patch_lead(self, name, method):
        """Put ``method`` in the place of the method of opportunities, as a module that inherits does."""
        self.startPatcher(patch.object(type(self.env["crm.lead"]), name, method))


@tagged("post_install", "-at_install")
class TestHistory(Cases):
    """The history of a batch, written together, is the same as Odoo's own in every field."""

    # --- Creating, moving, winning, losing

    def test_creating_and_moving(self):
        def case():
            created = self.apply(*self.people(summary="Quiere <b>una</b> cita."))
            return created + self.apply(*self.people(21, 1), *self.people(22, 2, "D"))

        left = self.assert_same(case)
        self.assertEqual(len(left["MC-A / 3 / with"]["mail_tracking_value"]), 1)

    def test_several_moves_of_one_opportunity_in_one_batch(self):
        def case():
            return self.apply(*self.people(17), *self.people(21, 1, summary="Uno"), *self.people(22, 2, summary="Dos"))

        left = self.assert_same(case)
        moves = [left[f"MC-A / {number} / with"]["mail_tracking_value"] for number in (2, 3)]
        self.assertEqual([len(values) for values in moves], [1, 1])

    def test_winning_losing_restoring_and_updating_in_one_batch(self):
        reason = self.env["crm.lost.reason"].create({"name": "Caro"})

        def case():
            self.apply(*self.people(21, names="ABCDE", commercial_advisor_id=700))
            self.leads("A").action_set_lost(lost_reason_id=reason.id)
            self.leads("B").user_id = self.inbox
            self.env.cr.precommit.run()
            return self.apply(
                opportunity("MC-A", 22, 6),
                opportunity("MC-B", 26, 6, summary="Compra"),
                opportunity("MC-C", 21, 3, first_name="Cecilia", summary="Nada nuevo"),
                opportunity("MC-D", 22, -90, summary="Llegó tarde"),
                opportunity("MC-E", 22, 3, commercial_advisor_id=701),
                opportunity("MC-F", 26, 3),
            )

        left = self.assert_same(case)
        self.assertTrue(left["MC-A"]["active"])

    def test_a_change_without_a_subtype_is_a_note(self):
        def case():
            self.apply(*self.people(names="ABCD"))
            return self.apply(
                opportunity("MC-A", 17, 1, commercial_advisor_id=700),
                opportunity("MC-B", 21, 1, commercial_advisor_id=700),
                opportunity("MC-C", 17, 1, commercial_advisor_id=702),
                opportunity("MC-D", 21, 1, phone="+520000000009", email_lead="d@ejemplo.test"),
            )

        left = self.assert_same(case)
        self.assertIn("message-notify", left["MC-A / 3"]["form"])

    # --- Who is notified

    def test_followers_of_all_kinds(self):
        def case():
            self.apply(*self.people(names="ABCDEF"))
            self.follow(self.leads("ABC"), self.inbox.partner_id, "crm.mt_lead_stage")
            self.follow(self.leads("AB"), self.mailed.partner_id, "crm.mt_lead_stage", "crm.mt_lead_won")
            self.follow(self.leads("BC"), self.portal.partner_id, "crm.mt_lead_stage")
            self.follow(self.leads("D"), self.partner, "crm.mt_lead_stage", "mail.mt_comment")
            self.follow(self.leads("DE"), self.bridge_user.partner_id, "crm.mt_lead_stage")
            self.follow(self.leads("E"), self.seller.partner_id, "mail.mt_comment")
            self.leads("F").write({"user_id": self.seller.id, "partner_id": self.partner.id})
            return self.apply(*self.people(21, 1, "ABCDE"), *self.people(26, 2, "BF", summary="Compra"))

        left = self.assert_same(case)
        self.assertEqual(len(left["MC-A / 2 / with"]["mail_notification"]), 2)
        self.assertTrue(left["bus"])
        self.assertTrue(left["MC-B / 2 / with"]["mailed"])

    def test_the_salesperson_follows_a_new_opportunity(self):
        def case():
            return self.apply(*self.people(commercial_advisor_id=700)) + self.apply(*self.people(21, 1))

        left = self.assert_same(case)
        self.assertIn(self.seller.partner_id.id, [partner for partner, _ in left["MC-A / followers"]])

    def test_followers_of_the_team(self):
        self.follow(self.team, self.inbox.partner_id, "crm.mt_salesteam_lead", "crm.mt_salesteam_lead_stage")
        self.follow(self.team, self.mailed.partner_id, "crm.mt_salesteam_lead_won")
        self.env["manychat.stage.map"].search([]).write({"team_id": self.team.id})

        def case():
            return self.apply(*self.people()) + self.apply(*self.people(21, 1, "AB"), *self.people(26, 1, "C"))

        left = self.assert_same(case)
        self.assertTrue(left["MC-A / 1 / with"]["mail_notification"])

    def test_addresses_for_answers_and_companies(self):
        company = self.env["res.company"].create({"name": "Segunda"})
        domain = self.env["mail.alias.domain"].create({"name": "ejemplo.test", "catchall_alias": "todos"})
        self.env.company.alias_domain_id = domain
        company.alias_domain_id = self.env["mail.alias.domain"].create({"name": "otro.test"})
        self.env["crm.team"].browse(self.team.id).write({"alias_name": "equipo-historia", "alias_domain_id": domain.id})
        there = self.env["crm.team"].create({"name": "Allá", "company_id": company.id})
        rows = {row.manychat_stage_id: row for row in self.env["manychat.stage.map"].search([])}
        rows[17].team_id, rows[18].team_id = self.team, there
        self.bridge_user.partner_id.email = "puente@ejemplo.test"

        def case():
            self.apply(*self.people(17, names="AB"), *self.people(18, names="C"), *self.people(19, names="D"))
            self.follow(self.leads("ABCD"), self.mailed.partner_id, "crm.mt_lead_stage")
            return self.apply(*self.people(21, 1, "ABCD"))

        left = self.assert_same(case)
        self.assertIn("equipo-historia@ejemplo.test", left["MC-A / 1"]["reply_to"])
        self.assertNotEqual(left["MC-A / 1"]["record_company_id"], left["MC-C / 1"]["record_company_id"])

    def test_a_message_that_a_person_wrote_before(self):
        def case():
            self.apply(*self.people(names="AB"))
            lead = self.leads("A").with_user(self.seller)
            lead.message_post(body="Le llamo", message_type="comment", subtype_xmlid="mail.mt_comment")
            lead.message_post(body="Nota")
            return self.apply(*self.people(21, 1, "AB"))

        self.assert_same(case)

    # --- Other modules

    def test_a_mail_template_of_a_stage(self):
        template = self.env["mail.template"].create(
            {
                "name": "Cita",
                "model_id": self.env["ir.model"]._get("crm.lead").id,
                "subject": "Su cita",
                "body_html": "<p>Hola <t t-out='object.name'/></p>",
                "email_to": "cliente@ejemplo.test",
            }
        )
        original = type(self.env["crm.lead"])._track_template

        def with_template(leads, changes):
            found = original(leads, changes)
            return {**found, "stage_id": (template, {})} if "stage_id" in changes else found

        self.patch_lead("_track_template", with_template)

        def case():
            return self.apply(*self.people()) + self.apply(*self.people(21, 1))

        left = self.assert_same(case)
        self.assertIn("auto_comment", [left[f"MC-A / {number}"]["message_type"] for number in (1, 2, 3)])

    def test_what_another_module_does_after_each_post(self):
        posted = []
        hook, notify = (
            getattr(type(self.env["crm.lead"]), name) for name in ("_message_post_after_hook", "_notify_thread")
        )
        subscribed = self.mailed.partner_id

        def after_post(lead, message, values):
            posted.append(
                (lead.manychat_identity_ids.manychat_id, message.body, values["subtype_id"], message.res_id == lead.id)
            )
            self.follow(lead, subscribed, "crm.mt_lead_stage", "crm.mt_lead_create")
            return hook(lead, message, values)

        def notify_thread(lead, message, msg_vals=False, **kwargs):
            posted.append((lead.manychat_identity_ids.manychat_id, "notify"))
            lead.message_post(body="Otro mensaje") if message.tracking_value_ids else None
            return notify(lead, message, msg_vals=msg_vals, **kwargs)

        self.patch_lead("_message_post_after_hook", after_post)
        self.patch_lead("_notify_thread", notify_thread)

        def case():
            posted.clear()
            results = self.apply(*self.people()) + self.apply(*self.people(21, 1))
            return [*results, {"lead_id": False, "posted": sorted(posted, key=str)}]

        left = self.assert_same(case)
        self.assertTrue(left["MC-A / 1 / with"]["mail_notification"])

    def test_another_subtype_of_another_module(self):
        mine = self.env["mail.message.subtype"].create({"name": "Otra", "res_model": "crm.lead"})
        original = type(self.env["crm.lead"])._track_subtype

        def track_subtype(lead, values):
            return mine if lead.x_manychat_id == "MC-B" else original(lead, values)

        self.patch_lead("_track_subtype", track_subtype)
        self.patch_lead("_creation_subtype", lambda lead: mine.browse())

        def case():
            return self.apply(*self.people()) + self.apply(*self.people(21, 1))

        self.assert_same(case)

    def test_an_override_of_what_is_passed_over_makes_it_odoos_own_way(self):
        def case():
            return self.apply(*self.people()) + self.apply(*self.people(21, 1))

        for model, methods in history_overrides.KNOWN.items():
            for name in methods:
                cls, called = type(self.env[model]), []
                with (
                    self.subTest(method=f"{model}.{name}"),
                    patch.object(cls, name, _recording(getattr(cls, name), called)),
                ):
                    found = history_overrides.overrides(self.env)
                    self.assertEqual(found, [f"{model}.{name} ({__name__})"])
                    self.assert_same(case, together=False)
                    self.assertEqual(called[: len(called) // 2], called[len(called) // 2 :])
                    if name in ("message_post", "_message_compute_parent_id"):
                        self.assertEqual(len(called), 12)  # two ways, two batches, three opportunities

    def test_the_log_says_once_who_makes_it_slower(self):
        cls = type(self.env["crm.lead"])
        self.startPatcher(patch.object(history_overrides, "_logged", set()))
        with (
            patch.object(cls, "message_post", _recording(cls.message_post, [])),
            patch.object(history_overrides._logger, "info") as log,
        ):
            self.apply(*self.people())
            self.apply(*self.people(21, 1))
        log.assert_called_once()
        self.assertIn(f"crm.lead.message_post ({__name__})", log.call_args.args)

    def test_a_method_that_only_looks_like_odoos_is_found(self):
        cls = type(self.env["crm.lead"])
        changed = _recording(cls.message_post, [])
        changed.__module__ = "odoo.addons.mail.models.mail_thread"  # as functools.wraps() has it
        with patch.object(cls, "message_post", changed):
            self.assertTrue(history_overrides.overrides(self.env))
        self.assertFalse(history_overrides.overrides(self.env))

    def test_a_message_of_another_module_while_an_opportunity_is_created(self):
        original = type(self.env["crm.lead"]).create

        def create(leads, vals_list):
            created = original(leads, vals_list)
            for lead in created:
                message = lead.message_post(body="Bienvenida", subtype_id=1, author_id=leads.env.user.partner_id.id)
                message.ensure_one()
            return created

        self.patch_lead("create", create)

        def case():
            return self.apply(*self.people())

        left = self.assert_same(case)
        self.assertIn("Bienvenida", left["MC-A / 2"]["body"])

    def test_automations(self):
        if "base.automation" not in self.env:
            self.skipTest("Automation Rules is not installed")
        model = self.env["ir.model"]._get("crm.lead")
        stage = self.env["ir.model.fields"]._get("crm.lead", "stage_id")
        for trigger, code, values in (
            ("on_stage_set", "record.write({'priority': '2'})", {"trigger_field_ids": stage.ids}),
            ("on_create_or_write", "record.message_post(body='Automático')", {"trigger_field_ids": stage.ids}),
        ):
            automation = self.env["base.automation"].create(
                {"name": trigger, "model_id": model.id, "trigger": trigger, **values}
            )
            action = {"name": trigger, "model_id": model.id, "state": "code", "code": code}
            self.env["ir.actions.server"].create(
                {**action, "base_automation_id": automation.id, "usage": "base_automation"}
            )

        def case():
            return self.apply(*self.people()) + self.apply(*self.people(21, 1))

        self.assert_same(case)
        self.env["base.automation"].create({"name": "m", "model_id": model.id, "trigger": "on_message_received"})
        self.assert_same(case, together=False)

    # --- What others see of it

    def test_a_user_is_never_in_this_way(self):
        lead = self.env["crm.lead"].create({"name": "A mano"})
        with Form(lead) as form:
            form.priority = "3"
        with patch.object(history, "parent_ids", side_effect=AssertionError):
            lead.with_user(self.seller).with_context(manychat_history={"posts": []}).write(
                {"stage_id": self.stages[21].id}
            )
            self.env.cr.precommit.run()
            message_id = lead.message_post(body="Hola").id
        self.assertIn(message_id, lead.message_ids.ids)

    def test_cost_of_a_batch(self):
        people = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
        self.apply(opportunity("MC-warm", 17), opportunity("MC-warm", 21, 1))
        counts = []
        for number in (8, 32):
            names = [f"{number}-{name}" for name in people[:number]]
            self.apply(*self.people(names=names))
            before = self.env.cr.sql_log_count
            self.apply(*self.people(21, 1, names))
            counts.append(self.env.cr.sql_log_count - before)
        self.assertEqual(*counts)
        self.assertLessEqual(counts[-1], 40)


@tagged("post_install", "-at_install")
class TestHistoryOfAnotherField(Cases):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env["ir.model.fields"].create(
            {
                "name": "x_hist_nivel",
                "model_id": cls.env["ir.model"]._get("crm.lead").id,
                "ttype": "selection",
                "tracking": 7,
                "field_description": "Nivel",
                "selection_ids": [(0, 0, {"value": "a", "name": "Alto"}), (0, 0, {"value": "b", "name": "Bajo"})],
            }
        )
        cls.registry.clear_cache()

    def test_a_tracked_field_of_another_module(self):
        self.assertIn("x_hist_nivel", self.env["crm.lead"]._track_get_fields())
        write = type(self.env["crm.lead"]).write

        def with_level(leads, vals):
            return write(leads, {**vals, "x_hist_nivel": "a"} if "stage_id" in vals else vals)

        self.patch_lead("write", with_level)

        def case():
            return self.apply(*self.people()) + self.apply(*self.people(21, 1))

        left = self.assert_same(case)
        self.assertEqual(len(left["MC-A / 2 / with"]["mail_tracking_value"]), 2)


def _recording(original, called):
    def method(self, *args, **kwargs):
        called.append(len(self))
        return original(self, *args, **kwargs)

    return method

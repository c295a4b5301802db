from contextlib import contextmanager
from unittest.mock import patch

from odoo.exceptions import AccessError, RedirectWarning, UserError, ValidationError
from odoo.tests import tagged
from odoo.tools import mute_logger

from ..apply import refusal
from .common import ManychatCase, opportunity

APPLY_LOGGER = "odoo.addons.miasalud_crm.models.crm_lead_apply"
#: What the events of these tests say of a person. No reason repeats it.
SECRET = "Confidencial"
PHONE = "+520000000001"


@tagged("post_install", "-at_install")
class TestRefusal(ManychatCase):
    """Why an event was refused, as people read it."""

    def setUp(self):
        super().setUp()
        self.env["res.lang"]._activate_lang("es_ES")
        self.env.company.partner_id.lang = "es_ES"

    def custom_field(self, label, label_es, **values):
        model = self.env["ir.model"]._get("crm.lead")
        vals = {"name": "x_extra", "model_id": model.id, "ttype": "char", "field_description": label, **values}
        field = self.env["ir.model.fields"].create(vals)
        field.with_context(lang="es_ES").field_description = label_es
        self.addCleanup(self.registry.clear_all_caches)
        return field

    def refuse(self, *statements, number=1):
        """The reason why an event is refused after these statements on the database."""
        for statement in statements:
            self.env.cr.execute(statement)
        with mute_logger("odoo.sql_db", APPLY_LOGGER):
            result = self.apply(opportunity(f"MC-{number}", first_name=SECRET, phone=PHONE))[0]
        self.assertEqual((result["status"], result["code"]), ("error", "refused"), result)
        row = self.env["manychat.event"].search([("event_id", "=", result["event_id"])])
        self.assertEqual(row.message, result["message"])
        self.assertNotIn(SECRET, result["message"])
        self.assertNotIn(PHONE, result["message"])
        self.assertNotRegex(result["message"], r"Violation|DETAIL|Failing row|psycopg2")
        return result["message"]

    def test_a_required_custom_field_is_named_as_people_see_it(self):
        self.custom_field("Patient File", "Expediente")
        self.assertIn("“Expediente”", self.refuse(_required("x_extra")))

    def refuse_in_an_action(self, code):
        """The reason why an event is refused by a server action that runs when an opportunity is created."""
        model = self.env["ir.model"]._get("crm.lead")
        action = self.env["ir.actions.server"].create(
            {"name": "Aviso", "model_id": model.id, "state": "code", "code": code}
        )
        create = self.registry["crm.lead"].create

        def create_and_run(leads, vals_list):
            created = create(leads, vals_list)
            context = {"active_model": "crm.lead", "active_id": created[:1].id, "active_ids": created.ids}
            action.with_env(leads.env(context=leads.env.context | context)).run()
            return created

        with patch.object(self.registry["crm.lead"], "create", create_and_run):
            return self.refuse()

    def test_an_error_in_a_server_action_names_the_action(self):
        message = self.refuse_in_an_action("record.no_such_method(record.contact_name)")
        self.assertIn("“Aviso”", message)
        self.assertIn("AttributeError", message)
        # Also where the error is raised in Odoo's own code.
        message = self.refuse_in_an_action("env['no.such.model'].create({})")
        self.assertIn("“Aviso”", message)

    def test_the_database_in_a_server_action_speaks_as_it_does_elsewhere(self):
        self.env.cr.execute("ALTER TABLE crm_tag ADD CONSTRAINT x_named CHECK (name IS NOT NULL AND color < 99)")
        message = self.refuse_in_an_action("env['crm.tag'].create({'name': record.contact_name, 'color': 100})")
        self.assertIn("x_named", message)
        self.assertNotIn("ValueError", message)
        self.assertEqual(self.refuse_in_an_action("raise UserError('Falta el documento.')"), "Falta el documento.")

    def test_a_standard_field_that_another_app_requires(self):
        self.assertIn("“Código postal”", self.with_label("zip", "Código postal", _required("zip")))

    def with_label(self, name, label, statement):
        field = self.env["ir.model.fields"]._get("crm.lead", name)
        field.with_context(lang="es_ES").field_description = label
        self.registry.clear_all_caches()
        return self.refuse(statement)

    def test_a_unique_index_and_a_unique_constraint(self):
        self.apply(opportunity("MC-0", first_name=SECRET, phone=PHONE))
        label = (
            self.env["crm.lead"]
            .with_context(lang="es_ES")
            ._fields["phone"]
            ._description_string(self.env(context={"lang": "es_ES"}))
        )
        self.assertIn(f"“{label}”", self.refuse("CREATE UNIQUE INDEX x_one_phone ON crm_lead (phone)"))
        self.env.cr.execute("DROP INDEX x_one_phone")
        message = self.refuse("ALTER TABLE crm_lead ADD CONSTRAINT x_one_phone UNIQUE (phone, name)", number=2)
        self.assertEqual(message.count("“"), 2, message)

    def test_an_exclusion_constraint_and_an_index_over_an_expression(self):
        self.apply(opportunity("MC-0", first_name=SECRET, phone=PHONE))
        rule = "ALTER TABLE crm_lead ADD CONSTRAINT x_one EXCLUDE USING btree (phone WITH =)"
        self.assertIn("“", self.refuse(rule))
        self.env.cr.execute("ALTER TABLE crm_lead DROP CONSTRAINT x_one")
        self.assertIn("x_lower", self.refuse("CREATE UNIQUE INDEX x_lower ON crm_lead (lower(contact_name))", number=2))

    def test_a_check_names_its_rule_and_its_field_or_says_what_its_module_says(self):
        rule = f"ALTER TABLE crm_lead ADD CONSTRAINT x_no_secret CHECK (contact_name <> '{SECRET}')"
        message = self.refuse(rule)
        self.assertIn("x_no_secret", message)
        self.assertEqual(message.count("“"), 2, message)
        module = self.env["ir.module.module"].search([("name", "=", "crm")])
        self.env["ir.model.constraint"].create(
            {
                "name": "x_no_secret",
                "module": module.id,
                "model": self.env["ir.model"]._get_id("crm.lead"),
                "type": "u",
                "message": "Sin secretos, por favor.",
            }
        )
        self.assertEqual(self.refuse(number=2), "Sin secretos, por favor.")

    def test_a_foreign_key(self):
        self.custom_field("Number", "Número", ttype="integer")
        message = self.refuse(
            "ALTER TABLE crm_lead ADD CONSTRAINT x_file FOREIGN KEY (x_extra) REFERENCES res_partner (id) NOT VALID",
            "CREATE FUNCTION x_fill() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN NEW.x_extra = 999999999; RETURN NEW; END'",
            "CREATE TRIGGER x_fill BEFORE INSERT ON crm_lead FOR EACH ROW EXECUTE FUNCTION x_fill()",
        )
        self.assertIn("“Número”", message)

    def test_a_text_that_is_too_long_for_the_database(self):
        message = self.refuse("ALTER TABLE crm_lead ALTER contact_name TYPE varchar(7)")
        self.assertIn("7", message)
        self.assertIn("“", message)

    def test_a_trigger(self):
        message = self.refuse(
            "CREATE FUNCTION x_no() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN RAISE EXCEPTION ''Not %'', NEW.contact_name; END'",
            "CREATE TRIGGER x_no BEFORE INSERT ON crm_lead FOR EACH ROW EXECUTE FUNCTION x_no()",
        )
        self.assertIn("trigger", message.lower())

    def test_a_value_that_the_database_cannot_take(self):
        self.assertTrue(
            self.refuse(
                "CREATE FUNCTION x_no() RETURNS trigger LANGUAGE plpgsql AS "
                "'BEGIN NEW.color = NEW.contact_name::int; RETURN NEW; END'",
                "CREATE TRIGGER x_no BEFORE INSERT ON crm_lead FOR EACH ROW EXECUTE FUNCTION x_no()",
            )
        )

    @contextmanager
    def raising(self, error):
        def fail(*args):
            raise error

        with patch.object(self.registry["crm.lead"], "_manychat_create", fail):
            yield

    def test_what_other_modules_say_to_people_stays_as_it_is(self):
        for error in (
            UserError("No se puede."),
            ValidationError("No se puede."),
            AccessError("No se puede."),
            RedirectWarning("No se puede.", 1, "Ir"),
        ):
            with self.raising(error):
                self.assertEqual(self.refuse(), "No se puede.")

    def test_a_text_with_a_nul_or_of_any_length_fails_no_batch(self):
        with self.raising(UserError("a\x00b" + "c" * 100_000)):
            message = self.refuse()
        self.assertEqual((message[:3], len(message)), ("abc", refusal.MOST_CHARS))

    def test_an_error_of_a_program_names_its_place_and_not_its_text(self):
        with self.raising(ValueError(f"Wrong value for crm.lead.x: {SECRET}")):
            message = self.refuse()
        self.assertIn("ValueError", message)
        self.assertIn("miasalud_crm", message)

    # --- the company's language

    def test_stage_names_reach_the_bridge_as_people_see_them(self):
        first, second = self.stages[17], self.stages[18]
        first.with_context(lang="es_ES").name = "Etapa primera"
        second.with_context(lang="es_ES").name = "Etapa segunda"
        self.apply(opportunity("MC-1", 17))
        event = opportunity("MC-1", 18, 1)
        result = self.apply(event)[0]
        self.assertEqual((result["stage_before"], result["stage_after"]), ("Etapa primera", "Etapa segunda"))
        again = self.apply(event)[0]
        self.assertEqual((again["stage_before"], again["stage_after"]), ("Etapa primera", "Etapa segunda"))
        [history] = self.env["manychat.event"].with_user(self.bridge_user).get_history(event_id=event["id"])
        self.assertEqual(
            (history["stage_before"], history["stage_after"], history["lead_stage"]),
            ("Etapa primera", "Etapa segunda", "Etapa segunda"),
        )
        self.assertEqual(self.stage_messages(self.lead("MC-1"))[-1], ("Etapa primera", "Etapa segunda"))

    def test_a_language_that_is_not_installed_is_english(self):
        self.env.company.partner_id.lang = False
        self.assertTrue(self.apply(opportunity("MC-1", 17))[0]["stage_after"])
        self.env.company.partner_id.lang = "es_ES"
        self.env.cr.execute("UPDATE res_lang SET active = FALSE WHERE code = 'es_ES'")
        self.registry.clear_all_caches()
        self.assertTrue(self.apply(opportunity("MC-2", 17))[0]["stage_after"])


def _required(column):
    """A statement that makes a column of text required, also where there are opportunities without it."""
    return (
        f"UPDATE crm_lead SET {column} = '-' WHERE {column} IS NULL; ALTER TABLE crm_lead ALTER {column} SET NOT NULL"
    )

from odoo.exceptions import AccessError, ValidationError
from odoo.tests import Form, new_test_user, tagged

from .common import ManychatCase


@tagged("post_install", "-at_install")
class TestStageText(ManychatCase):
    """What a manager writes for the bot in a row of the stage map."""

    def setUp(self):
        super().setUp()
        self.row = self.env["manychat.stage.map"].search([("manychat_stage_id", "=", 17)])

    def test_a_text_that_would_not_go_out_is_not_saved_and_the_message_says_why(self):
        for text, said in (
            ("Hola {nombre}", "{nombre} is no placeholder of this text. There are: {stage}, {salesperson}"),
            ("Hola {{first_name}}", "{{first_name}} is a field of ManyChat"),
            ("Hola {stage", "there is a single {."),
            ("\n\n".join("a" * 11), "these are 11 messages, and ManyChat takes 10 at most"),
            ("a" * 1001, "is too long. A message may have 1000 bytes"),
            ("ó" * 501, "is too long. A message may have 1000 bytes"),
        ):
            with self.subTest(text[:20]), self.assertRaises(ValidationError) as refused:
                self.row.answer_text = text
            self.assertIn(said, str(refused.exception))
            self.assertIn(f"“{self.row.name}”", str(refused.exception))

    def test_the_preview_shows_the_messages_while_they_are_written(self):
        with Form(self.row) as form:
            self.assertFalse(form.answer_preview)
            form.answer_text = "Etapa {stage}.\n\nSu asesora es {salesperson}."
            self.assertEqual(form.answer_preview, f"Etapa {self.row.name}.\n\nSu asesora es Ana Torres.")
            form.answer_text = "Hola {nombre}"
            self.assertIn("{nombre} is no placeholder", form.answer_preview)
            form.answer_text = "Hola {stage}"

    def test_managers_write_it_and_salespeople_read_it(self):
        manager = new_test_user(self.env, "jefa", "sales_team.group_sale_manager")
        seller = new_test_user(self.env, "vende", "sales_team.group_sale_salesman")
        self.row.with_user(manager).answer_text = "Hola"
        self.assertEqual(self.row.with_user(seller).answer_text, "Hola")
        with self.assertRaises(AccessError):
            self.row.with_user(seller).answer_text = "Adiós"

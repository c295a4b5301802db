from datetime import date

from odoo import fields
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import new_test_user, tagged

from ..models import manychat_field_seen
from ..models.manychat_field_seen import ATTRIBUTION
from .common import ManychatCase, opportunity


class FieldCase(ManychatCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.fields_ = cls.env["manychat.field.map"]
        cls.manager = new_test_user(cls.env, "mara-campos", "sales_team.group_sale_manager")

    def use(self, name, field_name, **values):
        """A used row, as a manager makes it."""
        rows = self.fields_.with_user(self.manager)
        row = rows.create({"name": name, "field_name": field_name, "fill_kept": False, **values})
        row.action_use()
        return row

    def event(self, manychat_id="MC-TEST-1"):
        return self.env["manychat.event"].search([("manychat_id", "=", manychat_id)], limit=1)


@tagged("post_install", "-at_install")
class TestFieldMap(FieldCase):
    # --- Which fields

    def test_what_an_event_may_never_change_cannot_be_chosen(self):
        options = {name for name, _label in self.fields_.with_user(self.manager)._select_field()}
        self.assertLessEqual({"email_from", "expected_revenue", "date_deadline", "tag_ids", "city"}, options)
        never = {"stage_id", "active", "type", "user_id", "team_id", "company_id", "partner_id", "phone", "name"}
        never |= {"x_manychat_id", "manychat_channel", "create_date", "write_uid", "message_ids", "probability"}
        never |= {"phone_sanitized", "date_closed", "lost_reason_id", "company_currency", "id", "day_open"}
        self.assertFalse(never & options)
        for name in options:
            field = self.env["crm.lead"]._fields[name]
            self.assertTrue(field.store and not field.related, name)
            self.assertTrue(not field.inverse or name == "email_from", name)
        for name in ("stage_id", "partner_id", "email_normalized", "nothing"):
            with self.assertRaisesRegex(ValidationError, name):
                self.use(f"campo {name}", name)

    def test_only_managers_choose_fields(self):
        row = self.use("presupuesto", "expected_revenue")
        salesperson = new_test_user(self.env, "vera-campos", "sales_team.group_sale_salesman")
        for action in ("action_use", "action_ignore", "action_stop", "action_choose", "action_fill"):
            with self.assertRaises(AccessError):
                getattr(row.with_user(salesperson), action)()
        with self.assertRaises(AccessError):
            self.fields_.with_user(salesperson)._action_open()

    def test_one_name_has_one_row_in_any_spelling(self):
        self.use("Fecha de Nacimiento", "date_deadline")
        with self.assertRaises(ValidationError):
            self.use("custom_fields.fecha-de-nacimiento", "date_deadline")

    def test_a_used_row_needs_a_field(self):
        row = self.fields_.create({"name": "presupuesto"})
        with self.assertRaises(ValidationError):
            row.state = "used"

    # --- Converting

    def test_each_type_takes_what_bots_write(self):
        wide = self.env["res.lang"]._activate_lang("es_MX")
        self.assertTrue(wide)
        tag = self.env["crm.tag"].create({"name": "Prueba urgente"})
        for name, field_name in (
            ("presupuesto", "expected_revenue"),
            ("cierre", "date_deadline"),
            ("nota", "description"),
            ("ciudad", "city"),
            ("prioridad", "priority"),
            ("pais", "country_id"),
            ("etiquetas", "tag_ids"),
            ("correo", "email_from"),
        ):
            self.use(name, field_name)
        self.apply(
            opportunity(
                presupuesto="$ 12,500.50 MXN",
                cierre="20 de octubre de 2026",
                nota="<b>Hola</b> & adiós",
                ciudad="  Mérida\n centro ",
                prioridad="high",
                pais="mexico",
                etiquetas="prueba URGENTE",
                correo="ana@example.com",
            )
        )
        lead = self.lead()
        self.assertEqual(lead.expected_revenue, 12500.50)
        self.assertEqual(lead.date_deadline, date(2026, 10, 20))
        self.assertIn("&lt;b&gt;Hola&lt;/b&gt; &amp; adi", str(lead.description))
        self.assertEqual(lead.city, "Mérida  centro")
        self.assertEqual(lead.priority, "2")
        self.assertEqual(lead.country_id, self.env.ref("base.mx"))
        self.assertEqual(lead.tag_ids, tag)
        self.assertEqual(lead.email_from, "ana@example.com")
        self.assertFalse(self.event().field_warnings)

    def test_a_field_inside_state_and_a_custom_field_are_found(self):
        self.use("state.presupuesto", "expected_revenue")
        self.use("ciudad", "city")
        body = opportunity(custom_fields=[{"name": "Ciudad", "value": "Puebla"}])
        body["payload"]["state"]["presupuesto"] = 700
        self.apply(body)
        self.assertRecordValues(self.lead(), [{"expected_revenue": 700, "city": "Puebla"}])

    def test_a_value_that_does_not_fit_is_left_out_with_a_warning_at_the_event(self):
        revenue = self.use("presupuesto", "expected_revenue")
        self.use("cierre", "date_deadline")
        self.use("pais", "country_id", create_missing=True)
        result = self.apply(opportunity(presupuesto="mucho", cierre="03/04/2026", pais="Atlantis"))[0]
        self.assertEqual(result["status"], "created")
        self.assertFalse(self.lead().expected_revenue)
        event = self.event()
        self.assertEqual(
            {each["name"]: each["reason"] for each in event.field_warnings},
            {"presupuesto": "not_number", "cierre": "ambiguous_date", "pais": "not_found"},
        )
        self.assertIn("presupuesto: left out of “Expected Revenue”: it is no number", event.warning_text)
        self.assertNotIn("mucho", event.warning_text)
        self.assertEqual(revenue.warning_count, 1)
        self.assertIn("it is no number (1)", revenue.warning_text)
        self.apply(opportunity("MC-2", minutes=1, cierre="nunca"))
        domain = revenue.action_view_warnings()["domain"]
        self.assertEqual(self.env["manychat.event"].search(domain), event)

    def test_dates_count_in_the_zone_of_the_key(self):
        self.env["manychat.api.key"]._generate("bot", tz="America/Bogota")
        key = self.env["manychat.api.key"].search([("name", "=", "bot")])
        self.use("cierre", "date_deadline")
        envelope = opportunity(cierre="2026-05-02T02:00:00Z")
        self.env["manychat.event"].create(
            {
                "event_id": envelope["id"],
                "type": "opportunity",
                "state": "queued",
                "payload": envelope["payload"],
                "key_prefix": key.prefix,
            }
        )
        self.apply(envelope)
        self.assertEqual(self.lead().date_deadline, date(2026, 5, 1))

    # --- Merging

    def test_a_users_value_stays_and_an_older_event_does_not_win(self):
        self.use("ciudad", "city")
        self.apply(opportunity(minutes=10, ciudad="Puebla"))
        self.apply(opportunity(minutes=5, ciudad="Toluca"))
        self.assertEqual(self.lead().city, "Puebla")
        self.apply(opportunity(minutes=20, ciudad="León"))
        self.assertEqual(self.lead().city, "León")
        self.lead().city = "Querétaro"
        self.apply(opportunity(minutes=30, ciudad="Cancún"))
        self.assertEqual(self.lead().city, "Querétaro")

    def test_no_and_zero_are_values_too(self):
        self.use("presupuesto", "expected_revenue")
        self.apply(opportunity(presupuesto=100))
        self.apply(opportunity(minutes=1, presupuesto=0))
        self.assertEqual(self.lead().expected_revenue, 0)

    def test_repeating_a_value_changes_nothing(self):
        for name, field_name in (("nota", "description"), ("monto", "expected_revenue"), ("cierre", "date_deadline")):
            self.use(name, field_name)
        said = {"nota": "a <b>\n\nb", "monto": "10.005", "cierre": "2026-05-02"}
        self.apply(opportunity(**said))
        self.assertEqual(self.apply(opportunity(minutes=1, **said))[0]["status"], "unchanged")
        said = {"nota": "otra", "monto": "11.5", "cierre": "2026-05-03"}
        self.assertEqual(self.apply(opportunity(minutes=2, **said))[0]["status"], "updated")
        self.assertEqual(self.lead().expected_revenue, 11.5)
        self.assertIn("otra", str(self.lead().description))

    def test_tags_are_added_and_never_taken_away(self):
        self.use("etiquetas", "tag_ids", create_missing=True)
        own = self.env["crm.tag"].create({"name": "De la vendedora"})
        self.apply(opportunity(etiquetas=["Uno de prueba", "Dos de prueba"]))
        lead = self.lead()
        lead.tag_ids |= own
        lead.tag_ids -= lead.tag_ids.filtered(lambda tag: tag.name == "Uno de prueba")
        self.apply(opportunity(minutes=1, etiquetas="Uno de prueba, Dos de prueba; Tres de prueba"))
        self.assertEqual(set(lead.tag_ids.mapped("name")), {"Dos de prueba", "De la vendedora", "Tres de prueba"})

    def test_the_customer_is_not_touched(self):
        self.use("correo", "email_from")
        partner = self.env["res.partner"].create({"name": "Ana"})
        self.apply(opportunity())
        lead = self.lead()
        lead.partner_id = partner
        written = partner.write_date
        count = self.env["res.partner"].search_count([])
        self.apply(opportunity(minutes=1, correo="otra@example.com"))
        self.assertEqual(lead.email_from, "otra@example.com")
        self.assertFalse(partner.email)
        self.assertEqual((partner.write_date, self.env["res.partner"].search_count([])), (written, count))

    # --- Records by name

    def test_a_missing_record_is_created_only_if_the_manager_says_so(self):
        row = self.use("etiqueta", "tag_ids")
        self.apply(opportunity(etiqueta="Nunca vista"))
        self.assertFalse(self.lead().tag_ids)
        self.assertEqual(self.event().field_warnings[0]["reason"], "not_found")
        row.create_missing = True
        self.apply(opportunity(minutes=1, etiqueta="Nunca vista"))
        self.assertEqual(self.lead().tag_ids.mapped("name"), ["Nunca vista"])

    def test_a_renamed_record_is_found_again(self):
        self.apply(opportunity("MC-1", ad_id="2385100000"))
        campaign = self.lead("MC-1").campaign_id
        self.assertEqual(campaign.name, "2385100000")
        campaign.write({"title": "Campaña de verano", "name": "Campaña de verano"})
        self.apply(opportunity("MC-2", ad_id="2385100000"))
        self.assertEqual(self.lead("MC-2").campaign_id, campaign)
        campaign.unlink()
        self.apply(opportunity("MC-3", ad_id="2385100000"))
        self.assertEqual(self.lead("MC-3").campaign_id.name, "2385100000")

    def test_a_record_that_needs_more_than_a_name_is_left_out(self):
        row = self.use("etiqueta", "tag_ids", create_missing=True)
        self.patch(type(self.env["crm.tag"]), "create", _refuse)
        result = self.apply(opportunity("MC-1", etiqueta="Otra"), opportunity("MC-2", ciudad="León"))
        self.assertEqual([each["status"] for each in result], ["created", "created"])
        self.assertEqual(self.event("MC-1").field_warnings[0]["reason"], "not_created")
        self.assertEqual(row.warning_count, 1)

    # --- Fields that go

    def test_a_field_that_is_gone_refuses_nothing_and_says_so(self):
        row = self.use("ciudad", "city")
        self.env.cr.execute("UPDATE manychat_field_map SET field_name = 'x_de_otra_app' WHERE id = %s", [row.id])
        self.env.invalidate_all()
        self.env.registry.clear_cache()
        self.assertTrue(row.is_gone)
        self.assertIn("x_de_otra_app", dict(self.fields_._select_field()))
        self.assertEqual(self.apply(opportunity(ciudad="León"))[0]["status"], "created")
        self.assertEqual(row.read(["field_name"])[0]["field_name"], "x_de_otra_app")

    # --- Attribution

    def test_a_campaign_fills_odoos_utm_fields(self):
        self.apply(opportunity(channel="WhatsApp", utm_source="Google", utm_medium="cpc", utm_campaign="Verano 100%"))
        lead = self.lead()
        self.assertEqual(
            (lead.source_id.name, lead.medium_id.name, lead.campaign_id.name), ("Google", "cpc", "Verano 100%")
        )
        self.assertEqual(lead.manychat_channel, "WhatsApp")

    def test_the_channel_fills_the_source_until_a_campaign_names_one(self):
        self.apply(opportunity(channel="Facebook"))
        self.assertEqual(self.lead().source_id.name, "Facebook")
        self.apply(opportunity(minutes=2, channel="Facebook", utm_source="Google"))
        self.assertEqual(self.lead().source_id.name, "Google")
        self.apply(opportunity(minutes=3, channel="Instagram"))
        self.assertEqual(self.lead().source_id.name, "Google")
        self.assertEqual(self.lead().manychat_channel, "Instagram")

    def test_the_first_touch_stays_whatever_the_order_of_arrival(self):
        self.apply(opportunity(minutes=10, utm_campaign="Segunda"))
        self.apply(opportunity(minutes=20, utm_campaign="Tercera"))
        self.assertEqual(self.lead().campaign_id.name, "Segunda")
        self.apply(opportunity(minutes=5, utm_campaign="Primera"))
        self.assertEqual(self.lead().campaign_id.name, "Primera")

    def test_the_last_touch_counts_if_the_manager_says_so(self):
        self.fields_.search([("key", "=", "utm_campaign")]).keep_first = False
        self.apply(opportunity(utm_campaign="Primera"))
        self.apply(opportunity(minutes=1, utm_campaign="Segunda"))
        self.assertEqual(self.lead().campaign_id.name, "Segunda")

    def test_a_named_campaign_counts_more_than_a_ref_or_an_ad(self):
        self.apply(opportunity("MC-1", ad_id="238", ref="enlace-1", utm_campaign="Verano"))
        self.apply(opportunity("MC-2", ad_id="238", ref="enlace-1"))
        self.apply(opportunity("MC-3", referral={"source_id": "239", "headline": "Consulta"}))
        names = [self.lead(each).campaign_id.name for each in ("MC-1", "MC-2", "MC-3")]
        self.assertEqual(names, ["Verano", "enlace-1", "239"])

    def test_attribution_can_be_switched_off(self):
        self.fields_.search([("key", "=", "utm_campaign")]).with_user(self.manager).action_ignore()
        self.apply(opportunity(utm_campaign="Verano"))
        self.assertFalse(self.lead().campaign_id)

    def test_the_installation_makes_the_rows_of_attribution_once(self):
        rows = self.fields_.search([("name", "in", [name for name, _field in ATTRIBUTION])])
        self.assertEqual(len(rows), len(ATTRIBUTION))
        self.fields_._make_attribution()
        self.assertEqual(len(self.fields_.search([("name", "in", rows.mapped("name"))])), len(ATTRIBUTION))


def _refuse(self, vals_list):
    raise UserError(self.env._("Only sales managers may do this."))


@tagged("post_install", "-at_install")
class TestUnknownFields(FieldCase):
    def arrive(self, number=1, **extra):
        for index in range(number):
            envelope = opportunity(f"MC-{index}", **extra)
            self.apply(envelope)

    def test_unknown_fields_are_suggested_with_count_example_and_date(self):
        self.arrive(3, talla="38")
        self.fields_._collect()
        row = self.fields_.search([("name", "=", "talla")])
        self.assertRecordValues(row, [{"state": "new", "seen_count": 3, "example": "38"}])
        self.assertEqual(row.seen_at.date(), date(2026, 3, 2))
        self.arrive(2, talla="40", Talla="41")
        self.fields_._collect()
        self.assertEqual((row.seen_count, row.example), (3, "38"))  # the same events again are no new events

    def test_each_event_is_looked_at_once(self):
        self.arrive(2, talla="38")
        self.fields_._collect()
        self.fields_._collect()
        self.assertEqual(self.fields_.search([("name", "=", "talla")]).seen_count, 2)

    def test_a_bot_that_invents_names_does_not_fill_the_list_nor_stop_the_look(self):
        self.patch(manychat_field_seen, "MOST_NAMES", self.fields_.search_count([("state", "=", "new")]) + 2)
        self.patch(manychat_field_seen, "PAGE", 2)
        for number in range(5):
            self.apply(opportunity(f"MC-{number}", **{f"campo_{number}": "x"}))
        self.assertTrue(self.fields_._collect())
        while self.fields_._collect():
            pass
        self.assertEqual(self.fields_.search_count([("name", "=like", "campo_%")]), 2)
        self.assertEqual(self.fields_._looked_to(), self.env["manychat.event"].search([], limit=1).id)

    def test_what_manychat_always_sends_is_ignored_at_first(self):
        self.arrive(1, page_id="1", live_chat_url="https://example.com", custom_fields={"Talla": "40"})
        self.fields_._collect()
        states = {row.name: row.state for row in self.fields_.search([("seen_count", ">", 0)])}
        self.assertEqual(states, {"page_id": "ignored", "live_chat_url": "ignored", "Talla": "new"})

    def test_the_example_goes_with_the_person(self):
        self.arrive(1, alergia="penicilina")
        self.fields_._collect()
        row = self.fields_.search([("name", "=", "alergia")])
        self.assertEqual(row.example, "penicilina")
        self.env["manychat.event"].with_user(self.bridge_user).erase("MC-0")
        self.env.invalidate_all()
        self.assertFalse(row.example)
        self.assertEqual(row.seen_count, 1)

    def test_applying_events_without_a_used_field_asks_nothing(self):
        self.fields_.search([]).write({"state": "ignored"})
        self.apply(opportunity("MC-warm", talla="1"))
        statements = []
        for talla in ({}, {"talla": "38"}):
            envelope = opportunity(f"MC-{len(talla)}", **talla)
            before = self.env.cr.sql_log_count
            self.apply(envelope)
            statements.append(self.env.cr.sql_log_count - before)
        self.assertEqual(*statements)

    def test_the_preview_shows_what_the_last_values_would_become(self):
        self.apply(opportunity("MC-1", monto="1,200.50"), opportunity("MC-2", monto="mucho"))
        self.fields_._collect()
        row = self.fields_.search([("name", "=", "monto")]).with_user(self.manager)
        row.field_name = "expected_revenue"
        self.assertEqual(set(row.preview.splitlines()), {"1,200.50 → 1200.5", "mucho → it is no number"})

    def test_a_preview_creates_nothing(self):
        self.apply(opportunity("MC-1", etiqueta="Solo una idea"))
        self.fields_._collect()
        row = self.fields_.search([("name", "=", "etiqueta")])
        row.write({"field_name": "tag_ids", "create_missing": True})
        self.assertEqual(row.preview, "Solo una idea → will be created")
        self.assertFalse(self.env["crm.tag"].search([("name", "=", "Solo una idea")]))


@tagged("post_install", "-at_install")
class TestFillFromKept(FieldCase):
    def fill(self, row):
        row.action_fill()
        while row.fill_state == "running":
            row.sudo()._fill_page()
        self.env.invalidate_all()

    def test_kept_events_fill_their_opportunities(self):
        self.apply(opportunity("MC-1", talla="38"), opportunity("MC-2", talla="40"), opportunity("MC-3", talla="x"))
        self.apply(opportunity("MC-1", minutes=5, talla="39"), opportunity("MC-4"))
        row = self.use("talla", "expected_revenue")
        self.assertIn("4", row.kept_text)
        self.fill(row)
        self.assertEqual([self.lead(f"MC-{n}").expected_revenue for n in (1, 2, 3, 4)], [39, 40, 0, 0])
        self.assertRecordValues(row, [{"fill_state": "done", "fill_events": 4, "fill_changed": 2, "fill_failed": 1}])
        self.assertEqual(self.event("MC-3").field_warnings[0]["reason"], "not_number")

    def test_what_a_user_or_a_newer_event_set_stays(self):
        self.apply(opportunity("MC-1", ciudad="Puebla"), opportunity("MC-2", ciudad="Toluca"))
        self.lead("MC-1").city = "De la vendedora"
        row = self.use("ciudad", "city")
        self.apply(opportunity("MC-2", minutes=9, ciudad="León"))
        self.fill(row)
        self.assertEqual(self.lead("MC-1").city, "De la vendedora")
        self.assertEqual(self.lead("MC-2").city, "León")
        self.fill(row)
        self.assertEqual(row.fill_changed, 0)

    def test_the_first_value_of_kept_events_counts_where_the_first_is_kept(self):
        self.apply(opportunity("MC-1", campana="Primera"))
        self.apply(opportunity("MC-1", minutes=5, campana="Segunda"))
        row = self.use("campana", "campaign_id", keep_first=True, create_missing=True)
        self.fill(row)
        self.assertEqual(self.lead("MC-1").campaign_id.name, "Primera")

    def test_a_rule_of_another_app_leaves_out_one_event_and_not_its_neighbours(self):
        self.apply(opportunity("MC-1", ciudad="Prohibida"), opportunity("MC-2", ciudad="Toluca"))
        row = self.use("ciudad", "city")
        plain = type(self.env["crm.lead"]).write

        def write(leads, vals):
            if vals.get("city") == "Prohibida":
                raise UserError(leads.env._("Only sales managers may do this."))
            return plain(leads, vals)

        self.patch(type(self.env["crm.lead"]), "write", write)
        self.fill(row)
        self.assertFalse(self.lead("MC-1").city)
        self.assertEqual(self.lead("MC-2").city, "Toluca")
        self.assertIn("Only sales managers may do this.", self.event("MC-1").warning_text)
        self.assertEqual(self.event("MC-1").state, "done")

    def test_a_stopped_field_ends_the_filling(self):
        self.apply(opportunity("MC-1", ciudad="Puebla"))
        row = self.use("ciudad", "city")
        row.action_fill()
        row.action_stop()
        row.sudo()._fill_page()
        self.assertEqual(row.fill_state, "done")
        self.assertFalse(self.lead("MC-1").city)

    def test_choosing_a_field_fills_from_kept_events_at_once_if_wanted(self):
        row = self.fields_.create({"name": "ciudad", "field_name": "city"})
        row.with_user(self.manager).action_use()
        self.assertEqual(row.fill_state, "running")
        self.assertTrue(
            self.env["ir.cron.trigger"].search_count(
                [
                    ("cron_id", "=", self.env.ref("miasalud_crm.cron_fields").id),
                    ("call_at", "<=", fields.Datetime.now()),
                ]
            )
        )

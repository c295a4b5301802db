from datetime import datetime
from itertools import pairwise, permutations

from freezegun import freeze_time

from odoo.exceptions import AccessError
from odoo.tests import new_test_user, tagged

from ..hooks import STAGES
from .common import ManychatCase, at, opportunity


@tagged("post_install", "-at_install")
class TestManychatApply(ManychatCase):
    # --- Creating

    def test_each_stage_of_the_users_table_creates_an_opportunity_in_its_stage(self):
        results = self.apply(*(opportunity(f"MC-{number}", number) for _label, number, _name in STAGES))
        self.assertEqual([result["status"] for result in results], ["created"] * 11)
        self.assertEqual([result["stage_after"] for result in results], [name for _label, _number, name in STAGES])
        for _label, number, name in STAGES:
            self.assertEqual(self.lead(f"MC-{number}").stage_id.name, name)

    def test_a_stage_is_found_by_its_label_in_any_spelling(self):
        result = self.apply(opportunity(stage=None, label="  comienza   COTIZACIO\u0301N "))[0]
        self.assertEqual(result["stage_after"], "Comienza Cotización")

    def test_the_number_wins_over_the_label(self):
        result = self.apply(opportunity(stage=18, label="Comienza Cotización"))[0]
        self.assertEqual(result["stage_after"], "Retornó en AC")

    def test_a_new_opportunity_carries_what_the_event_says(self):
        advisor = self.env["manychat.advisor"].create({"external_id": 700, "role": "commercial"})
        advisor.user_id = salesperson = new_test_user(self.env, "vera", "sales_team.group_sale_salesman")
        self.apply(
            opportunity(
                first_name="Ana",
                last_name="Inventada",
                phone="+520000000001",
                channel="Facebook",
                entry_date="2026-03-01T08:00:00.250Z",
                commercial_advisor_id=700,
                medical_advisor_id=101,
                summary="Quiere una cita.",
            )
        )
        lead = self.lead()
        self.assertRecordValues(
            lead,
            [
                {
                    "type": "opportunity",
                    "name": "Ana Inventada",
                    "contact_name": "Ana Inventada",
                    "phone": "+520000000001",
                    "manychat_channel": "Facebook",
                    "user_id": salesperson.id,
                    "partner_id": False,
                    "manychat_summary": "Quiere una cita.",
                    "x_manychat_id": "MC-TEST-1",
                }
            ],
        )
        self.assertEqual(lead.source_id.name, "Facebook")
        self.assertEqual(lead.manychat_medical_advisor_id.external_id, 101)
        self.assertEqual(lead.manychat_entry_date.isoformat(), "2026-03-01T08:00:00.250000")

    def test_an_opportunity_without_a_name_is_called_by_phone_or_id(self):
        self.apply(opportunity("MC-A", phone="+520000000002"), opportunity("MC-B"))
        self.assertEqual(self.lead("MC-A").name, "+520000000002")
        self.assertEqual(self.lead("MC-B").name, "MC-B")

    def test_a_name_that_comes_later_replaces_the_phone_number(self):
        self.apply(opportunity(phone="+520000000002"))
        self.apply(opportunity(minutes=1, first_name="Ana"))
        self.assertEqual(self.lead().name, "Ana")

    def test_there_is_no_salesperson_unless_an_adviser_is_mapped(self):
        self.apply(opportunity(commercial_advisor_id=999))
        self.assertFalse(self.lead().user_id)
        self.assertNotIn(self.bridge_user.partner_id, self.lead().message_partner_ids)
        self.assertTrue(self.env["manychat.advisor"].search([("external_id", "=", 999), ("role", "=", "commercial")]))

    def test_the_team_of_the_stage_map_is_the_default(self):
        team = self.env["crm.team"].create({"name": "Chat"})
        self.env["manychat.stage.map"].search([("manychat_stage_id", "=", 17)]).team_id = team
        self.apply(opportunity())
        self.assertEqual(self.lead().team_id, team)

    # --- Moving

    def test_a_newer_event_moves_the_opportunity_with_one_chatter_line(self):
        self.apply(opportunity(stage=17))
        result = self.apply(opportunity(stage=21, minutes=5))[0]
        self.assertEqual(
            (result["status"], result["stage_before"], result["stage_after"]),
            ("moved", "Recién Suscrito Pendiente AC", "Derivado a AE"),
        )
        self.assertEqual(self.stage_messages(self.lead()), [("Recién Suscrito Pendiente AC", "Derivado a AE")])

    def test_every_move_within_one_batch_stands_in_the_history(self):
        self.apply(*(opportunity(stage=stage, minutes=minute) for minute, stage in enumerate([17, 19, 21, 19])))
        names = ["Recién Suscrito Pendiente AC", "Comienza AC", "Derivado a AE", "Comienza AC"]
        self.assertEqual(self.stage_messages(self.lead()), list(pairwise(names)))

    def test_results_keep_the_order_of_the_call_with_any_order_of_events(self):
        newer, older = opportunity(stage=21, minutes=5), opportunity(stage=17, minutes=1)
        results = self.apply(newer, older)
        self.assertEqual([result["event_id"] for result in results], [newer["id"], older["id"]])
        self.assertEqual([result["status"] for result in results], ["moved", "created"])
        self.assertEqual(self.lead().stage_id, self.stages[21])

    def test_an_older_event_does_not_move_the_opportunity_back(self):
        self.apply(opportunity(stage=21, minutes=5))
        result = self.apply(opportunity(stage=17, minutes=1))[0]
        self.assertEqual((result["status"], result["stage_after"]), ("stale", "Derivado a AE"))
        self.assertFalse(self.stage_messages(self.lead()))

    def test_events_within_one_second_are_distinguished(self):
        self.apply(opportunity(stage=21, minutes=0.0050))
        self.assertEqual(self.apply(opportunity(stage=17, minutes=0.0049))[0]["status"], "stale")
        self.assertEqual(self.apply(opportunity(stage=18, minutes=0.0051))[0]["status"], "moved")

    def test_the_later_received_of_two_simultaneous_events_counts(self):
        self.apply(opportunity(stage=21, minutes=5, received=7))
        self.assertEqual(self.apply(opportunity(stage=17, minutes=5, received=6))[0]["status"], "stale")
        self.assertEqual(self.apply(opportunity(stage=18, minutes=5, received=8))[0]["status"], "moved")

    def test_an_event_dated_far_in_the_future_counts_as_of_its_receipt(self):
        self.apply(opportunity(stage=21, minutes=60 * 24 * 365, received=5))
        self.assertEqual(self.apply(opportunity(stage=18, minutes=6))[0]["status"], "moved")

    def test_applying_an_event_again_gives_the_first_result_and_changes_nothing(self):
        event = opportunity(stage=17, summary="Hola")
        first = self.apply(event)[0]
        messages = self.lead().message_ids
        self.apply(opportunity(stage=18, minutes=1))
        again = self.apply(event, event)
        # The state is the present one.
        self.assertEqual([each["state"]["stage_id"] for each in again], [self.stages[18].id] * 2)
        self.assertEqual(first["state"]["stage_id"], self.stages[17].id)
        self.assertEqual(again, [{**first, "code": "duplicate", "state": again[0]["state"]}] * 2)
        self.assertEqual(self.lead().stage_id, self.stages[18])
        self.assertEqual(len(self.lead().message_ids - messages), 1)

    def test_an_event_without_news_changes_nothing(self):
        self.apply(opportunity(stage=17))
        lead = self.lead()
        changed, messages = lead.date_last_stage_update, lead.message_ids
        self.assertEqual(self.apply(opportunity(stage=17, minutes=1))[0]["status"], "unchanged")
        self.assertEqual((lead.date_last_stage_update, lead.message_ids), (changed, messages))

    def test_moving_to_the_won_stage_closes_and_moving_on_reopens(self):
        self.apply(opportunity(stage=25))
        self.apply(opportunity(stage=26, minutes=1))
        lead = self.lead()
        self.assertTrue(lead.date_closed)
        self.assertEqual(lead.probability, 100)
        self.apply(opportunity(stage=25, minutes=2))
        self.assertFalse(self.lead().date_closed)

    # --- Summaries

    def test_a_summary_arrives_as_text_and_not_as_markup(self):
        self.apply(opportunity(summary="<b onclick='x()'>hola</b>\n<script>1</script>"))
        body = str(self.lead().message_ids.filtered(lambda message: "hola" in message.body).body)
        self.assertIn("&lt;b onclick", body)
        self.assertNotIn("<b ", body)
        self.assertNotIn("<script", body)

    def test_the_summary_of_a_move_stands_on_the_line_of_the_move(self):
        self.apply(opportunity(stage=17))
        before = self.lead().message_ids
        self.apply(opportunity(stage=18, minutes=1, summary="Volvió."))
        new = self.lead().message_ids - before
        self.assertEqual(len(new), 1)
        self.assertIn("Volvió.", new.body)
        self.assertTrue(new.sudo().tracking_value_ids)

    # --- People

    def test_an_event_older_than_a_persons_move_changes_nothing(self):
        self.apply(opportunity(stage=17))
        with freeze_time(at(10).replace(tzinfo=None)):
            self.lead().stage_id = self.stages[20]
        self.assertEqual(self.apply(opportunity(stage=18, minutes=9))[0]["status"], "stale")
        self.assertEqual(self.lead().stage_id, self.stages[20])

    def test_an_event_newer_than_a_persons_move_moves_on(self):
        self.apply(opportunity(stage=17))
        with freeze_time(at(10).replace(tzinfo=None)):
            self.lead().stage_id = self.stages[20]
        self.assertEqual(self.apply(opportunity(stage=18, minutes=11))[0]["status"], "moved")

    def test_saving_without_a_change_is_no_decision(self):
        self.apply(opportunity(stage=17))
        with freeze_time(at(10).replace(tzinfo=None)):
            self.lead().write({"stage_id": self.stages[17].id, "active": True})
        self.assertEqual(self.apply(opportunity(stage=18, minutes=9))[0]["status"], "moved")

    def test_a_lost_opportunity_is_restored_by_a_newer_event_only(self):
        self.apply(opportunity(stage=17))
        reason = self.env["crm.lost.reason"].create({"name": "Sin respuesta"})
        with freeze_time(at(10).replace(tzinfo=None)):
            self.lead().action_set_lost(lost_reason_id=reason.id)
        self.assertEqual(self.apply(opportunity(stage=18, minutes=9))[0]["status"], "stale")
        self.assertFalse(self.lead().active)
        self.assertEqual(self.apply(opportunity(stage=18, minutes=11))[0]["status"], "moved")
        lead = self.lead()
        self.assertTrue(lead.active)
        self.assertFalse(lead.lost_reason_id)
        self.assertGreater(lead.probability, 0)

    def test_a_lost_opportunity_that_is_restored_in_its_stage_has_entered_it(self):
        self.apply(opportunity(stage=17))
        with freeze_time(at(10).replace(tzinfo=None)):
            self.lead().action_set_lost()
        restored = opportunity(stage=17, minutes=11)
        for _again in range(2):
            [result] = self.apply(restored)
            self.assertEqual(
                (result["status"], result["stage_before"], result["stage_after"]),
                ("moved", False, self.stages[17].name),
            )

    def test_what_a_person_changed_stays(self):
        self.apply(opportunity(first_name="Ana", phone="+520000000001"))
        self.lead().write({"phone": "+520000000009", "name": "Plan familiar"})
        self.apply(opportunity(minutes=1, first_name="Ana María", phone="+520000000002"))
        self.assertRecordValues(
            self.lead(), [{"name": "Plan familiar", "contact_name": "Ana María", "phone": "+520000000009"}]
        )

    def test_a_salesperson_that_a_user_chose_stays(self):
        vera = new_test_user(self.env, "vera", "sales_team.group_sale_salesman")
        omar = new_test_user(self.env, "omar", "sales_team.group_sale_salesman")
        for number, user in ((700, vera), (701, omar)):
            self.env["manychat.advisor"].create({"external_id": number, "role": "commercial", "user_id": user.id})
        self.apply(opportunity(commercial_advisor_id=700))
        self.apply(opportunity(minutes=1, commercial_advisor_id=701))
        self.assertEqual(self.lead().user_id, omar)
        self.lead().user_id = self.env.user
        self.apply(opportunity(minutes=2, commercial_advisor_id=700))
        self.assertEqual(self.lead().user_id, self.env.user)

    def test_an_event_never_blanks_what_it_does_not_carry(self):
        self.apply(opportunity(first_name="Ana", phone="+520000000001", channel="Facebook", summary="Hola"))
        self.apply(opportunity(minutes=1, stage=18))
        self.assertRecordValues(
            self.lead(),
            [
                {
                    "contact_name": "Ana",
                    "phone": "+520000000001",
                    "manychat_channel": "Facebook",
                    "manychat_summary": "Hola",
                }
            ],
        )

    def test_an_older_event_fills_only_what_is_empty(self):
        self.apply(opportunity(minutes=5, first_name="Ana"))
        result = self.apply(opportunity(minutes=1, first_name="Otra", phone="+520000000001"))[0]
        self.assertEqual(result["status"], "stale")
        self.assertRecordValues(self.lead(), [{"contact_name": "Ana", "phone": "+520000000001"}])

    def test_half_a_name_leaves_the_other_half(self):
        self.apply(opportunity(first_name="Ana", last_name="Inventada"))
        self.apply(opportunity(minutes=1, first_name="Anabel"))
        self.assertEqual(self.lead().contact_name, "Anabel Inventada")
        self.apply(opportunity(minutes=2, last_name="Ficticia"))
        self.assertRecordValues(self.lead(), [{"name": "Anabel Ficticia", "contact_name": "Anabel Ficticia"}])

    def test_an_older_event_completes_a_name(self):
        self.apply(opportunity(minutes=5, first_name="Ana"))
        self.apply(opportunity(minutes=1, first_name="Otra", last_name="Inventada"))
        self.assertEqual(self.lead().contact_name, "Ana Inventada")

    def test_a_team_that_is_set_stays_when_a_salesperson_comes(self):
        vera = new_test_user(self.env, "vera", "sales_team.group_sale_salesman")
        hers, chosen = self.env["crm.team"].create([{"name": "Suyo", "member_ids": vera.ids}, {"name": "Elegido"}])
        self.env["manychat.advisor"].create({"external_id": 700, "role": "commercial", "user_id": vera.id})
        self.apply(opportunity("MC-A"), opportunity("MC-B", commercial_advisor_id=700))
        self.assertEqual(self.lead("MC-B").team_id, hers)
        self.lead("MC-A").team_id = chosen
        self.apply(opportunity("MC-A", minutes=1, commercial_advisor_id=700))
        self.assertRecordValues(self.lead("MC-A"), [{"user_id": vera.id, "team_id": chosen.id}])

    def test_a_salesperson_without_access_is_left_out_and_the_event_is_applied(self):
        company = self.env["res.company"].create({"name": "Otra Empresa"})
        team = self.env["crm.team"].create({"name": "Otro", "company_id": company.id})
        self.env["manychat.stage.map"].search([("manychat_stage_id", "=", 17)]).team_id = team
        vera = new_test_user(self.env, "vera", "sales_team.group_sale_salesman")
        gone = new_test_user(self.env, "gone", "sales_team.group_sale_salesman")
        gone.active = False
        for number, user in ((700, vera), (701, gone)):
            self.env["manychat.advisor"].create({"external_id": number, "role": "commercial", "user_id": user.id})
        self.apply(opportunity("MC-A", commercial_advisor_id=700), opportunity("MC-B", 18, commercial_advisor_id=701))
        self.assertRecordValues(self.lead("MC-A"), [{"user_id": False, "team_id": team.id}])
        self.assertFalse(self.lead("MC-B").user_id)

    def test_a_channel_that_comes_later_becomes_the_source(self):
        self.apply(opportunity())
        self.apply(opportunity(minutes=1, channel="Instagram"))
        self.assertEqual(self.lead().source_id.name, "Instagram")

    def sources_of(self, *channels, people="MC"):
        """The sources of opportunities with these channels: one batch, then one more event of each."""
        named = {f"{people}-{number}": channel for number, channel in enumerate(channels)}
        self.apply(*[opportunity(name, 17, minutes, channel=named[name]) for minutes, name in enumerate(named)])
        first = [self.lead(name).source_id for name in named]
        for minutes, (name, channel) in enumerate(named.items(), start=100):
            self.apply(opportunity(name, 18, minutes, channel=channel))
        self.assertEqual([self.lead(name).source_id for name in named], first)
        return first

    def test_all_spellings_of_a_channel_are_one_source(self):
        before = self.env["utm.source"].search([])
        sources = self.sources_of("TikTok Ads", "tiktok ads", "TIKTOK  ADS", " TikTok Ads", "T\u0131kTok")
        self.assertEqual(len({source.id for source in sources[:4]}), 1)
        self.assertEqual(sources[0].name, "TikTok Ads")
        self.assertEqual(len(self.env["utm.source"].search([]) - before), 2)
        # The opportunity still says what its bot said.
        self.assertEqual(self.lead("MC-2").manychat_channel, "TIKTOK  ADS")

    def test_a_source_that_people_made_is_taken_whatever_its_spelling(self):
        people = self.env["utm.source"].create([{"name": "Página Web"}, {"name": "otra cosa"}])
        [source] = self.sources_of("PÁGINA WEB")
        self.assertEqual((source, source.name), (people[0], "Página Web"))

    def test_a_channel_that_looks_like_a_counter_of_odoo_or_like_a_pattern_is_one_source_of_that_name(self):
        names = ["Promo [2025] IG", "Promo [2]", "50% off", "a_b", "axb", "50 % off", "C:\\x", "Promo"]
        sources = self.sources_of(*names)
        self.assertEqual([source.name for source in sources], names)
        count = self.env["utm.source"].search_count([])
        self.assertEqual(self.sources_of(*names, people="MD"), sources)
        self.assertEqual(self.env["utm.source"].search_count([]), count)

    def test_a_source_that_a_user_renames_or_deletes(self):
        [source] = self.sources_of("Facebook Lead Ads")
        source.name = "Meta"
        self.assertEqual(self.sources_of("facebook lead ads", people="MD"), [source])
        # Another channel has the name that a user gave.
        self.assertNotIn(self.sources_of("Meta", people="ME")[0], (source, self.env["utm.source"]))
        self.env["crm.lead"].search([]).source_id = False
        source.unlink()
        self.apply(opportunity("MC-9", channel="Facebook Lead Ads"))
        self.assertEqual(self.lead("MC-9").source_id.name, "Facebook Lead Ads")

    def test_the_stage_in_which_a_person_creates_an_opportunity_is_a_decision(self):
        with freeze_time(at(10).replace(tzinfo=None)):
            for manychat_id, values in (("MC-A", {"stage_id": self.stages[25].id}), ("MC-B", {})):
                self.env["crm.lead"].create(
                    {"name": manychat_id, "type": "opportunity", "x_manychat_id": manychat_id, **values}
                )
        results = self.apply(opportunity("MC-A", 18, minutes=9), opportunity("MC-B", 18, minutes=9))
        self.assertEqual([result["status"] for result in results], ["stale", "moved"])

    # --- Order

    def test_every_order_of_arrival_ends_in_the_same_opportunity(self):
        """As in SQL: each field has the value of the newest event that says it (``bridge.contract.newest``)."""
        vera = new_test_user(self.env, "vera", "sales_team.group_sale_salesman")
        self.env["manychat.advisor"].create({"external_id": 700, "role": "commercial", "user_id": vera.id})
        said = [
            {"minutes": 4, "stage": 20, "first_name": "Ana"},
            {"minutes": 1, "last_name": "Vieja", "phone": "+520000000001", "summary": "Fiebre", "channel": "Facebook"},
            {"minutes": 2, "first_name": "Otra", "phone": "+520000000002", "medical_advisor_id": 101},
            {"minutes": 3, "last_name": "Nueva", "commercial_advisor_id": 700, "entry_date": "2026-03-01T08:00:00Z"},
        ]
        for together in (False, True):
            for order in permutations(range(len(said))):
                manychat_id = f"MC-{together}-{order}"
                events = [opportunity(manychat_id, **said[index]) for index in order]
                for batch in [events] if together else [[event] for event in events]:
                    self.apply(*batch)
                lead = self.lead(manychat_id)
                self.assertRecordValues(
                    lead,
                    [
                        {
                            "name": "Ana Nueva",
                            "contact_name": "Ana Nueva",
                            "phone": "+520000000002",
                            "manychat_channel": "Facebook",
                            "manychat_summary": "Fiebre",
                            "manychat_entry_date": datetime(2026, 3, 1, 8),  # noqa: DTZ001 (Odoo's form)
                            "user_id": vera.id,
                            "stage_id": self.stages[20].id,
                        }
                    ],
                )
                self.assertEqual(lead.manychat_medical_advisor_id.external_id, 101)
                self.assertEqual(lead.manychat_commercial_advisor_id.external_id, 700)

    def test_an_opportunity_without_a_name_is_called_by_the_newest_phone_in_every_order(self):
        said = [{"minutes": 1}, {"minutes": 2, "phone": "+520000000001"}, {"minutes": 3, "phone": "+520000000002"}]
        for order in permutations(range(3)):
            for index in order:
                self.apply(opportunity(f"MC-{order}", **said[index]))
            self.assertEqual(self.lead(f"MC-{order}").name, "+520000000002")

    def test_an_event_between_the_last_one_and_a_persons_move_still_says_its_fields(self):
        self.apply(opportunity(phone="+520000000001", summary="Primero"))
        with freeze_time(at(10).replace(tzinfo=None)):
            self.lead().stage_id = self.stages[20]
        self.apply(opportunity(stage=18, minutes=9, phone="+520000000002", summary="Segundo"))
        self.assertRecordValues(
            self.lead(),
            [{"stage_id": self.stages[20].id, "phone": "+520000000002", "manychat_summary": "Segundo"}],
        )

    def test_values_from_before_their_versions_count_as_of_the_newest_event(self):
        self.apply(opportunity(minutes=5, phone="+520000000001", summary="Primero"))
        lead = self.lead()
        lead.write(
            {
                "manychat_versions": False,
                "manychat_values": {name: lead[name] for name in ("name", "phone")},
            }
        )
        self.apply(opportunity(minutes=1, phone="+520000000002", summary="Antes", channel="Facebook"))
        expected = {"phone": "+520000000001", "manychat_summary": "Primero", "manychat_channel": "Facebook"}
        self.assertRecordValues(lead, [expected])
        self.apply(opportunity(minutes=6, phone="+520000000003", summary="Después"))
        self.assertRecordValues(lead, [{"phone": "+520000000003", "manychat_summary": "Después"}])

    # --- Customers

    def test_no_customer_is_created_or_changed(self):
        customer = self.env["res.partner"].create({"name": "Clienta Inventada", "phone": "+520000000005"})
        self.apply(opportunity("MC-A", first_name="Ana"))
        self.lead("MC-A").partner_id = customer
        self.env.flush_all()
        self.env.cr.execute("SELECT md5(string_agg(p::text, ',' ORDER BY id)) FROM res_partner p")
        before = self.env.cr.fetchone()
        self.apply(
            opportunity("MC-A", stage=18, minutes=1, phone="+520000000006", first_name="Ana"),
            opportunity("MC-B", first_name="Beto", phone="+520000000007", commercial_advisor_id=5),
        )
        self.env.flush_all()
        self.env.cr.execute("SELECT md5(string_agg(p::text, ',' ORDER BY id)) FROM res_partner p")
        self.assertEqual(self.env.cr.fetchone(), before)

    # --- The event log

    def test_the_event_row_shows_the_result_of_the_event(self):
        self.apply(opportunity(stage=17))
        event = opportunity(stage=18, minutes=1)
        self.apply(event)
        self.assertRecordValues(
            self.env["manychat.event"].search([("event_id", "=", event["id"])]),
            [
                {
                    "state": "done",
                    "outcome": "moved",
                    "lead_id": self.lead().id,
                    "stage_before_id": self.stages[17].id,
                    "stage_after_id": self.stages[18].id,
                    "manychat_id": "MC-TEST-1",
                }
            ],
        )

    # --- Rights

    def test_only_the_bridge_may_apply_events(self):
        manager = new_test_user(self.env, "jefa", "sales_team.group_sale_manager,base.group_system")
        with self.assertRaises(AccessError):
            self.env["crm.lead"].with_user(manager).manychat_apply([opportunity()])

    def test_the_bridges_user_can_read_and_write_nothing(self):
        for model in ("crm.lead", "res.partner", "manychat.event", "manychat.api.key", "crm.stage", "res.users"):
            for operation in ("read", "write", "create", "unlink"):
                if (model, operation) == ("res.users", "read"):
                    continue  # everybody may read a part of their own user
                self.assertFalse(self.env[model].with_user(self.bridge_user).has_access(operation), (model, operation))

    # --- Cost

    def test_the_number_of_queries_does_not_grow_with_each_event_of_a_batch(self):
        def count(size, prefix):
            self.apply(*(opportunity(f"{prefix}{n}", 17, summary=None) for n in range(size)))
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            self.apply(*(opportunity(f"{prefix}{n}", 18, minutes=1) for n in range(size)))
            return self.env.cr.sql_log_count - before

        count(2, "warm")
        few, many = count(10, "few"), count(40, "many")
        # Odoo posts one message for each tracked move; everything else is done for the batch together.
        # A change takes two statements: the first one holds the values, the second one may fail (see private_sql).
        self.assertLess((many - few) / 30, 11, f"{few} queries for 10 moves, {many} for 40")

from datetime import timedelta

from freezegun import freeze_time

from odoo.tests import new_test_user, tagged

from .common import ManychatCase, at, opportunity


def naive(minutes):
    return at(minutes).replace(tzinfo=None)


@tagged("post_install", "-at_install")
class TestStageHistory(ManychatCase):
    def person_moves(self, minutes, stage=None, *, user=None, lead=None, **vals):
        """A person writes on the opportunity, that many minutes into the conversation."""
        lead = lead or self.lead()
        if stage:
            vals["stage_id"] = self.stages[stage].id
        with freeze_time(naive(minutes)):
            lead.with_user(user or self.env.user).write(vals)
        self.settle()

    def settle(self):
        """End the transaction as far as tests can: what Odoo tracks is written at its end."""
        self.env.flush_all()
        self.env.cr.precommit.run()

    def periods(self, lead=None):
        """The stage periods, oldest first, as tuples: from, stage, to (or ``lost``), minute in, minute out, by."""
        number = {stage.id: key for key, stage in self.stages.items()}
        lead = lead or self.lead()

        def minutes(moment):
            return moment and round((moment - naive(0)) / timedelta(minutes=1), 2)

        return [
            (
                number.get(period.previous_stage_id.id),
                number.get(period.stage_id.id),
                "lost" if period.lost else number.get(period.next_stage_id.id),
                minutes(period.entered_at),
                minutes(period.left_at),
                period.moved_by,
            )
            for period in self.env["manychat.stage.history"].search([("lead_id", "=", lead.id)], order="id")
        ]

    # --- The chat

    def test_an_opportunity_that_the_chat_creates_enters_its_stage_at_the_events_time(self):
        self.apply(opportunity(stage=17, minutes=3, received=9))
        self.assertEqual(self.periods(), [(None, 17, None, 3, False, "chat")])

    def test_each_move_of_a_batch_is_a_stay(self):
        self.apply(*(opportunity(stage=stage, minutes=minute) for minute, stage in enumerate([17, 19, 17])))
        self.assertEqual(
            self.periods(),
            [(None, 17, 19, 0, 1, "chat"), (17, 19, 17, 1, 2, "chat"), (19, 17, None, 2, False, "chat")],
        )

    def test_a_stay_names_the_event_and_outlives_it(self):
        event = opportunity()
        self.apply(event)
        self.env["manychat.event"].search([("event_id", "=", event["id"])]).unlink()
        period = self.env["manychat.stage.history"].search([("lead_id", "=", self.lead().id)])
        self.assertEqual((period.event_id, period.user_id.id), (event["id"], False))

    def test_events_that_move_nothing_are_no_stays(self):
        newest = opportunity(stage=19, minutes=5)
        self.apply(newest)
        self.apply(newest, opportunity(stage=17, minutes=1), opportunity(stage=19, minutes=6))
        self.assertEqual(self.periods(), [(None, 19, None, 5, False, "chat")])

    def test_a_refused_event_leaves_no_stay(self):
        self.apply(opportunity(stage=17))
        self.apply(opportunity(stage=99, minutes=1))
        self.assertEqual(len(self.periods()), 1)

    # --- People

    def test_a_persons_move_is_theirs_and_of_now(self):
        vera = new_test_user(self.env, "vera", "sales_team.group_sale_salesman_all_leads")
        self.apply(opportunity(stage=17))
        self.person_moves(10, 21, user=vera)
        self.assertEqual(self.periods(), [(None, 17, 21, 0, 10, "chat"), (17, 21, None, 10, False, "person")])
        self.assertEqual(self.env["manychat.stage.history"].search([], limit=1).user_id, vera)

    def test_writing_the_same_stage_again_is_no_stay(self):
        self.apply(opportunity(stage=17))
        self.person_moves(10, 17)
        self.assertEqual(len(self.periods()), 1)

    def test_an_opportunity_without_a_conversation_has_no_history(self):
        lead = self.env["crm.lead"].create({"name": "Sin chat", "type": "opportunity"})
        self.person_moves(1, 21, lead=lead)
        self.assertFalse(self.periods(lead))

    def test_losing_ends_the_stay_and_restoring_begins_another(self):
        self.apply(opportunity(stage=17))
        lead = self.lead()
        with freeze_time(naive(10)):
            lead.action_set_lost()
        with freeze_time(naive(20)):
            lead.action_unarchive()
        self.assertEqual(self.periods(lead), [(None, 17, "lost", 0, 10, "chat"), (17, 17, None, 20, False, "person")])

    def test_an_event_that_restores_and_moves_is_one_stay(self):
        self.apply(opportunity(stage=17))
        with freeze_time(naive(10)):
            self.lead().action_set_lost()
        self.apply(opportunity(stage=18, minutes=11))
        self.assertEqual(self.periods(), [(None, 17, "lost", 0, 10, "chat"), (17, 18, None, 11, False, "chat")])

    def test_an_event_that_only_restores_begins_a_stay(self):
        self.apply(opportunity(stage=17))
        with freeze_time(naive(10)):
            self.lead().action_set_lost()
        self.apply(opportunity(stage=17, minutes=11))
        self.assertEqual(self.periods(), [(None, 17, "lost", 0, 10, "chat"), (17, 17, None, 11, False, "chat")])

    def test_moving_a_lost_opportunity_is_no_stay_until_it_is_restored(self):
        self.apply(opportunity(stage=17))
        lead = self.lead()
        with freeze_time(naive(10)):
            lead.action_set_lost()
        self.person_moves(12, 20, lead=lead)
        with freeze_time(naive(20)):
            lead.action_unarchive()
        self.assertEqual(self.periods(lead), [(None, 17, "lost", 0, 10, "chat"), (17, 20, None, 20, False, "person")])

    def test_winning_by_hand_is_a_move(self):
        self.apply(opportunity(stage=25))
        with freeze_time(naive(10)):
            self.lead().action_set_won()
        won = self.lead().stage_id
        self.assertTrue(won.is_won)
        self.assertEqual(
            [period[3:] for period in self.periods()],
            [(0, 10, "chat"), (10, False, "person")],
            self.lead().stage_id.name,
        )

    def test_moments_never_run_backwards(self):
        # Dated ten hours ahead, which is believed; a person moves it before that.
        self.apply(opportunity(stage=17, minutes=600, received=0))
        self.person_moves(10, 21)
        self.assertEqual(self.periods(), [(None, 17, 21, 600, 600, "chat"), (17, 21, None, 600, False, "person")])

    # --- Merge, duplicate, delete

    def test_the_survivor_of_a_merge_keeps_its_own_history(self):
        self.apply(opportunity("MC-A", 17), opportunity("MC-B", 21))
        self.apply(opportunity("MC-A", 18, minutes=1), opportunity("MC-B", 22, minutes=2))
        leads = self.lead("MC-A") | self.lead("MC-B")
        before = {lead.id: self.periods(lead) for lead in leads}
        survivor = leads.merge_opportunity()
        self.settle()
        self.assertEqual(self.periods(survivor), before[survivor.id])
        self.apply(opportunity("MC-A", 23, minutes=5), opportunity("MC-B", 24, minutes=6))
        self.assertEqual([period[1] for period in self.periods(survivor)][-2:], [23, 24])

    def test_a_survivor_that_came_otherwise_begins_with_its_own_past(self):
        self.apply(opportunity("MC-A", 17))
        with freeze_time(naive(5)):
            other = self.env["crm.lead"].create(
                {"name": "Por teléfono", "type": "opportunity", "stage_id": self.stages[24].id, "probability": 90}
            )
        self.settle()
        self.person_moves(8, 25, lead=other)
        survivor = (self.lead("MC-A") | other).merge_opportunity()
        self.assertEqual(survivor, other)
        self.assertEqual([period[:3] for period in self.periods(other)], [(None, 24, 25), (24, 25, None)])

    def test_a_duplicate_has_no_history_and_deleting_takes_it_along(self):
        self.apply(opportunity())
        lead = self.lead()
        self.assertFalse(self.periods(lead.copy()))
        lead.unlink()
        self.assertFalse(self.env["manychat.stage.history"].search([("lead_id", "=", lead.id)]))

    def test_a_stage_that_is_deleted_leaves_the_stay(self):
        stage = self.env["crm.stage"].create({"name": "Pasajera"})
        self.apply(opportunity(stage=17))
        self.person_moves(1, stage_id=stage.id)
        self.person_moves(2, 18)
        stage.unlink()
        self.assertEqual([period[1] for period in self.periods()], [17, None, 18])

    # --- What was there before

    def test_linking_an_opportunity_to_a_conversation_begins_with_its_past(self):
        with freeze_time(naive(0)):
            lead = self.env["crm.lead"].create(
                {"name": "A mano", "type": "opportunity", "stage_id": self.stages[17].id}
            )
            self.env.cr.execute("UPDATE crm_lead SET create_date = %s WHERE id = %s", [naive(0), lead.id])
        lead.invalidate_recordset()
        self.settle()
        self.person_moves(10, 19, lead=lead)
        with freeze_time(naive(20)):
            lead.action_set_lost()
        self.settle()
        with freeze_time(naive(30)):
            lead.write({"active": True, "stage_id": self.stages[21].id})
        self.settle()
        self.assertFalse(self.periods(lead))
        messages = self.env["mail.message"].search([("model", "=", "crm.lead"), ("res_id", "=", lead.id)], order="id")
        for minutes, message in zip((10, 20, 30), messages.filtered("tracking_value_ids"), strict=False):
            message.date = naive(minutes)
        lead.x_manychat_id = "MC-H"
        self.assertEqual(
            self.periods(lead),
            [
                (None, 17, 19, 0, 10, "person"),
                (17, 19, "lost", 10, 20, "person"),
                (19, 21, None, 30, False, "person"),
            ],
        )

    def test_what_leads_elsewhere_is_not_the_past(self):
        lead = self.env["crm.lead"].create({"name": "A mano", "type": "opportunity", "stage_id": self.stages[17].id})
        self.settle()
        self.person_moves(10, 19, lead=lead)
        # Moved without tracking, as an import may do: what is known is where it is, and since when.
        with freeze_time(naive(30)):
            lead.with_context(tracking_disable=True).stage_id = self.stages[21]
        self.env.cr.execute("UPDATE crm_lead SET create_date = %s WHERE id = %s", [naive(0), lead.id])
        lead.invalidate_recordset()
        self.settle()
        lead.x_manychat_id = "MC-H"
        self.assertEqual(self.periods(lead), [(None, 21, None, lead_minutes(lead), False, "person")])

    def test_upgrading_begins_only_what_has_not_begun(self):
        self.apply(opportunity("MC-A", 17), opportunity("MC-B", 18))
        history = self.env["manychat.stage.history"]
        history.search([("lead_id", "=", self.lead("MC-A").id)]).unlink()
        kept = self.periods(self.lead("MC-B"))
        history._begin_all()
        history._begin_all()
        self.assertEqual([period[:3] for period in self.periods(self.lead("MC-A"))], [(None, 17, None)])
        self.assertEqual(self.periods(self.lead("MC-B")), kept)

    def last_events_after_upgrading(self, *names):
        """The minutes of *Last Chat Event* that an upgrade finds for these opportunities."""
        leads = [self.lead(name) for name in names]
        for lead in leads:
            lead.manychat_last_event_date = False
        self.env["crm.lead"]._manychat_date_last_events()
        dates = [lead.manychat_last_event_date for lead in leads]
        return [date and (date - naive(0)) / timedelta(minutes=1) for date in dates]

    def test_upgrading_dates_the_last_event_of_each_conversation(self):
        self.apply(opportunity("MC-A", 17), opportunity("MC-A", 18, minutes=5), opportunity("MC-B", 18, minutes=7))
        self.assertEqual(self.last_events_after_upgrading("MC-A", "MC-B"), [5, 7])

    def test_upgrading_does_not_take_a_persons_move_for_an_event(self):
        self.apply(opportunity("MC-A", 17, minutes=3))
        self.person_moves(30, 19, lead=self.lead("MC-A"))
        with freeze_time(naive(10)):
            by_hand = self.env["crm.lead"].create(
                {"name": "A mano", "type": "opportunity", "x_manychat_id": "MC-H", "stage_id": self.stages[21].id}
            )
        self.assertTrue(by_hand.manychat_last_date)
        self.assertEqual(self.last_events_after_upgrading("MC-A", "MC-H"), [3, False])

    def test_upgrading_dates_the_last_event_also_when_the_log_has_forgotten_it(self):
        self.apply(opportunity("MC-A", 17, minutes=3), opportunity("MC-B", 17, minutes=4))
        self.person_moves(30, 19, lead=self.lead("MC-B"))
        self.env["manychat.event"].search([("manychat_id", "in", ["MC-A", "MC-B"])]).unlink()
        self.assertEqual(self.last_events_after_upgrading("MC-A", "MC-B"), [3, 4])

    def test_upgrading_leaves_a_date_that_is_known(self):
        self.apply(opportunity("MC-A", 17, minutes=3))
        self.lead("MC-A").manychat_last_event_date = naive(1)
        self.env["crm.lead"]._manychat_date_last_events()
        self.assertEqual(self.lead("MC-A").manychat_last_event_date, naive(1))

    # --- Rules

    def test_at_most_one_stay_is_open(self):
        self.apply(opportunity())
        self.env.cr.execute("SELECT indexdef FROM pg_indexes WHERE indexname = 'manychat_stage_history_one_open'")
        self.assertIn("UNIQUE", self.env.cr.fetchone()[0])

    def test_upgrading_replaces_the_index_of_the_first_releases(self):
        self.env.cr.execute(
            "DROP INDEX manychat_stage_history_periods;"
            "CREATE INDEX manychat_stage_history_lead ON manychat_stage_history (lead_id, id)"
        )
        self.env["manychat.stage.history"].init()
        self.env.cr.execute("SELECT indexname FROM pg_indexes WHERE tablename = 'manychat_stage_history'")
        names = {name for (name,) in self.env.cr.fetchall()}
        self.assertIn("manychat_stage_history_periods", names)
        self.assertNotIn("manychat_stage_history_lead", names)


def lead_minutes(lead):
    return round((lead.date_last_stage_update - naive(0)) / timedelta(minutes=1), 2)

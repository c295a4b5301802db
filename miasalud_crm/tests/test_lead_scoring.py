from freezegun import freeze_time

from odoo.tests import tagged

from .common import ManychatCase, at, opportunity


@tagged("post_install", "-at_install")
class TestLeadScoring(ManychatCase):
    """Odoo's lead scoring counts what the chat wins and reopens as it counts what people do."""

    def setUp(self):
        super().setUp()
        self.env["ir.config_parameter"].set_param("crm.pls_start_date", "2020-01-01")
        self.env["ir.config_parameter"].set_param("crm.pls_fields", "source_id,phone_state,tag_ids")
        self.team = self.env["crm.team"].create({"name": "Chat"})
        self.env["manychat.stage.map"].search([("manychat_stage_id", "=", 17)]).team_id = self.team
        people = [f"MC-{number}" for number in range(6)]
        self.apply(
            *(
                opportunity(person, 17 + number % 2, channel=f"Canal {number % 2}", phone="+525500000000")
                for number, person in enumerate(people)
            )
        )
        self.leads = {person: self.lead(person) for person in people}
        self.leads["MC-0"].tag_ids = self.env["crm.tag"].create({"name": "Plan"})
        self.env.flush_all()

    def frequencies(self):
        self.env["manychat.scoring"]._add_up()
        rows = self.env["crm.lead.scoring.frequency"].search([])
        return {
            (row.team_id.id, row.variable, row.value): (round(row.won_count, 1), round(row.lost_count, 1))
            for row in rows
        }

    def by_chat(self, stage, minutes, *people):
        self.apply(*(opportunity(person, stage, minutes) for person in people))
        self.env["manychat.scoring"]._add_up()  # as after a commit

    def by_user(self, stage, _minutes, *people):
        for person in people:
            lead = self.leads[person]
            if not lead.active:
                lead.action_unarchive()
        self.env["crm.lead"].union(*(self.leads[person] for person in people)).write(
            {"stage_id": self.stages[stage].id}
        )

    def play(self, move):
        """Opportunities are won, reopened and lost; ``move`` moves them."""
        move(26, 1, "MC-0", "MC-1", "MC-2")
        move(26, 2, "MC-3")
        move(20, 3, "MC-0")
        with freeze_time(at(10).replace(tzinfo=None)):
            (self.leads["MC-4"] | self.leads["MC-5"]).action_set_lost()
        move(18, 11, "MC-4")
        move(26, 12, "MC-4", "MC-0")
        move(26, 13, "MC-5")
        move(19, 14, "MC-1", "MC-2", "MC-3")
        return self.frequencies()

    def test_the_counts_are_those_of_the_same_moves_by_users(self):
        with self.env.cr.savepoint() as before:
            by_user = self.play(self.by_user)
            before.close(rollback=True)
        self.env.invalidate_all()
        none = self.frequencies()
        by_chat = self.play(self.by_chat)
        self.assertNotEqual(by_user, none)
        self.assertEqual(by_chat, by_user)

    def test_one_batch_into_several_stages_counts_like_users(self):
        moves = (("MC-1", 19), ("MC-0", 26), ("MC-2", 26), ("MC-3", 20))
        phone = "55"  # which changes what else is counted

        def by_user():
            for person, stage in moves:
                self.leads[person].phone = phone
                self.leads[person].stage_id = self.stages[stage]

        def by_chat():
            self.apply(*(opportunity(person, stage, 1, phone=phone) for person, stage in moves))

        (self.leads["MC-4"] | self.leads["MC-5"]).action_set_lost()
        (self.leads["MC-0"] | self.leads["MC-3"]).probability = 0  # not lost, but Odoo counts one that is won as such
        none, counts, probabilities = self.frequencies(), [], []
        for move in (by_user, by_chat):
            with self.env.cr.savepoint() as before:
                move()
                counts.append(self.frequencies())
                self.env.invalidate_all()
                probabilities.append([lead.probability for lead in self.leads.values()])
                before.close(rollback=True)
            self.env.invalidate_all()
        self.assertNotEqual(counts[0], none)
        self.assertEqual(counts[1], counts[0])
        self.assertEqual(probabilities[1], probabilities[0])

    def test_a_rebuild_counts_what_was_kept_and_it_is_not_added_again(self):
        self.apply(opportunity("MC-0", 26, 1), opportunity("MC-1", 26, 1))
        self.leads["MC-2"].action_set_lost()
        self.assertTrue(self.env["manychat.scoring"].search([]))
        self.env["crm.lead"]._rebuild_pls_frequency_table()
        rebuilt = self.frequencies()
        self.env["crm.lead"]._rebuild_pls_frequency_table()
        self.assertEqual(self.frequencies(), rebuilt)

    def test_a_team_that_was_deleted_meanwhile_stops_nothing(self):
        self.apply(opportunity("MC-0", 26, 1), opportunity("MC-1", 26, 1))
        self.env["crm.lead"].union(*self.leads.values()).team_id = False
        self.env["manychat.stage.map"].search([]).team_id = False
        self.team.unlink()
        before = self.frequencies()
        self.by_chat(26, 2, "MC-2")
        self.assertNotEqual(self.frequencies(), before)

    def test_what_is_rolled_back_is_not_counted(self):
        with self.env.cr.savepoint() as before:
            self.apply(opportunity("MC-0", 26, 1))
            self.assertTrue(self.env["manychat.scoring"].search([]))
            before.close(rollback=True)
        self.env.invalidate_all()
        self.assertFalse(self.env["manychat.scoring"].search([]))

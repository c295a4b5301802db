import itertools
import random
from collections import defaultdict
from statistics import median

from freezegun import freeze_time

from odoo.tests import new_test_user, tagged

from ..hooks import STAGES
from .common import ManychatCase, at, opportunity

MEASURES = (
    "entered:count_distinct",
    "in_stage:count_distinct",
    "left:count_distinct",
    "lost:count_distinct",
    "advanced:count_distinct",
    "conversion:avg",
    "hours:avg",
)


@tagged("post_install", "-at_install")
class TestFunnel(ManychatCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # Demo data has a funnel of its own.
        cls.others = cls.env["crm.lead"].with_context(active_test=False).search([]).ids

    def chat(self, name, hour, stage, **fields):
        self.apply(opportunity(name, stage, minutes=60 * hour, **fields))

    def loses(self, name, hour):
        with freeze_time(at(60 * hour).replace(tzinfo=None)):
            self.lead(name).action_set_lost()
            self.env.flush_all()

    def moves(self, name, hour, stage):
        with freeze_time(at(60 * hour).replace(tzinfo=None)):
            self.lead(name).stage_id = self.stages[stage]
            self.env.flush_all()

    def funnel(self, *groupby, domain=(), user=None):
        """The figures of each group, rounded: dict of the group's value (stage number for stages) → list."""
        model = self.env["manychat.funnel"].with_user(user or self.env.user)
        domain = [("lead_id", "not in", self.others), *domain]
        rows = model._read_group(domain, groupby, MEASURES, order=",".join(groupby) or None)  # as views ask for it
        return {
            tuple(getattr(value, "manychat_stage_id", value) for value in row[: len(groupby)]): [
                None if value is False else round(value, 1) for value in row[len(groupby) :]
            ]
            for row in rows
        }

    def conversations(self):
        """Four opportunities, by hours:

        ======  ============================================================================
        Ana     17 at 0, 19 at 2, back to 17 at 3, 19 again at 7, won (26) at 8
        Beto    17 at 0, 21 at 1 (19 is skipped), a person loses it at 5
        Clara   19 at 0, and still there
        Dora    17 at 0, a person loses it at 4, the chat restores it to 17 at 6, still there
        ======  ============================================================================
        """
        for name, channel in (("Ana", "Facebook"), ("Beto", "Facebook"), ("Dora", "Instagram")):
            self.chat(name, 0, 17, channel=channel)
        self.chat("Clara", 0, 19)
        for hour, stage in ((2, 19), (3, 17), (7, 19), (8, 26)):
            self.chat("Ana", hour, stage)
        self.chat("Beto", 1, 21)
        self.loses("Beto", 5)
        self.loses("Dora", 4)
        self.chat("Dora", 6, 17)

    # --- Figures

    def test_each_stage_has_its_figures(self):
        self.conversations()
        self.assertEqual(
            self.funnel("map_id"),
            {
                # Stays: Ana 0–2 and 3–7, Beto 0–1, Dora 0–4 (lost) and from 6 on. Ended: 2, 4, 1, 4 hours: median 3.
                # Ana and Beto went further, of three: 66.7 %.
                (17,): [3, 1, 3, 1, 2, 66.7, 3.0],
                # Ana 2–3 and 7–8, Clara from 0 on. Ended: 1, 1. Ana went further, of two.
                (19,): [2, 1, 1, 0, 1, 50.0, 1.0],
                # Beto 1–5, lost there.
                (21,): [1, 0, 1, 1, 0, 0.0, 4.0],
                # Ana from 8 on. Nothing comes after won, and no period has ended.
                (26,): [1, 1, 0, 0, 0, None, None],
            },
        )

    def test_the_total_counts_each_opportunity_once(self):
        self.conversations()
        # In a stage now: Ana, Clara, Dora. Left one: all but Clara. Lost once: Beto, Dora. Went further: Ana, Beto.
        # Ended periods: 1, 1, 1, 2, 4, 4, 4 hours: median 2.
        self.assertEqual(self.funnel(), {(): [4, 3, 3, 2, 2, 50.0, 2.0]})

    def test_groups_within_groups_have_their_own_median(self):
        self.conversations()
        figures = self.funnel("map_id", "channel")
        # Facebook in 17: Ana 2 and 4 hours, Beto 1: median 2; both went further. Instagram: Dora, 4 hours, lost there.
        self.assertEqual(figures[17, "Facebook"], [2, 0, 2, 0, 2, 100.0, 2.0])
        self.assertEqual(figures[17, "Instagram"], [1, 1, 1, 1, 0, 0.0, 4.0])

    def test_stages_stand_in_the_maps_order(self):
        for _label, number, _name in reversed(STAGES):
            self.chat(f"MC-{number}", 0, number)
        self.assertEqual([number for (number,) in self.funnel("map_id")], list(range(16, 27)))
        self.env["manychat.stage.map"].search([("manychat_stage_id", "=", 26)]).sequence = 1
        self.assertEqual(next(iter(self.funnel("map_id"))), (26,))

    def test_further_is_by_the_maps_order_and_not_by_time(self):
        self.chat("MC-A", 0, 19)
        self.chat("MC-A", 1, 18)
        self.assertEqual(self.funnel("map_id")[19,][4:6], [0, 0.0])
        self.env["manychat.stage.map"].search([("manychat_stage_id", "=", 18)]).sequence = 100
        self.assertEqual(self.funnel("map_id")[19,][4:6], [1, 100.0])

    def test_a_stage_of_the_pipeline_that_is_not_mapped_is_no_step_unless_it_is_won(self):
        new, won = self.env["crm.stage"].create(
            [{"name": "Otra etapa", "sequence": 99}, {"name": "Otra ganada", "is_won": True}]
        )
        for name, stage in (("MC-A", new), ("MC-B", won)):
            self.chat(name, 0, 17)
            with freeze_time(at(60).replace(tzinfo=None)):
                self.lead(name).stage_id = stage
        figures = self.funnel("map_id")
        self.assertEqual(figures[17,], [2, 0, 2, 0, 1, 50.0, 1.0])
        self.assertEqual(figures[False,][:2], [2, 2])

    def test_moves_by_users_and_by_the_chat_are_distinguished(self):
        self.chat("MC-A", 0, 17)
        self.moves("MC-A", 1, 19)
        figures = self.funnel("moved_by")
        self.assertEqual((figures["chat",][0], figures["person",][0]), (1, 1))

    def test_where_opportunities_went_makes_a_matrix(self):
        self.conversations()
        rows = self.env["manychat.funnel"]._read_group(
            [("stage_id", "=", self.stages[17].id), ("lead_id", "not in", self.others), ("left_at", "!=", False)],
            ["next_stage_id"],
            ["entered:count_distinct", "lost:count_distinct"],
        )
        # Twice Ana to 19, once Beto to 21, and Dora nowhere: lost.
        self.assertEqual(
            {stage.id: counts for stage, *counts in rows},
            {self.stages[19].id: [1, 0], self.stages[21].id: [1, 0], False: [1, 1]},
        )

    def test_days_are_those_of_the_users_time_zone(self):
        self.chat("MC-A", -6, 17)  # 3:00 UTC of March 2, which is 22:00 of March 1 in Bogotá
        model = self.env["manychat.funnel"].with_context(tz="America/Bogota")
        rows = model._read_group([("lead_id", "not in", self.others)], ["entered_at:day"], ["__count"])
        self.assertEqual([(day.day, count) for day, count in rows], [(1, 1)])

    def test_random_histories_agree_with_a_model_of_a_few_lines(self):
        chance = random.Random(4)
        numbers = [17, 18, 19, 20, 26]
        places = defaultdict(list)  # name → [(hour, stage number or None for lost)], one entry per change
        names = [f"MC-{n}" for n in range(10)]
        for hour in range(8):
            events = []
            for name in names:
                now = places[name][-1][1] if places[name] else None
                stage = chance.choice(numbers)
                what = chance.choice(["chat", "chat", "person", "lose", "nothing"])
                if what == "chat" or not places[name]:
                    events.append(opportunity(name, stage, minutes=60 * hour))
                elif what == "person" and now:
                    self.moves(name, hour, stage)
                elif what == "lose" and now and now != 26:  # since Odoo 19 a won one cannot be lost
                    self.loses(name, hour)
                    stage = None
                else:
                    continue
                if stage != now:
                    places[name].append((hour, stage))
            self.apply(*events)
        self.assertEqual(self.funnel("map_id"), {(number,): _figures(places, number) for number in numbers})

    def test_many_periods_have_the_same_figures_as_few(self):
        chance = random.Random(14)
        numbers = [16, 17, 19, 22, 26]
        vera = new_test_user(self.env, "vera", "sales_team.group_sale_salesman")
        for hour in range(12):
            names = chance.sample([f"MC-{n}" for n in range(12)], 6)
            channel = chance.choice(["Facebook", "Instagram", "Ávila", ""])
            self.apply(*(opportunity(n, chance.choice(numbers), minutes=61 * hour, channel=channel) for n in names))
            lead = self.lead(chance.choice(names))
            if hour % 3 == 0 and not lead.stage_id.is_won:
                self.loses(lead.x_manychat_id, hour + 0.5)
            elif hour % 3 == 1:
                lead.user_id = chance.choice([vera, self.env.user])
        self.env.cr.execute("UPDATE manychat_stage_history SET answers = id % 3, answers_late = 1 WHERE id % 3 > 0")
        measures = [
            *MEASURES,
            "convertible:count_distinct",
            "answers:sum",
            "answered_in_time:avg",
            "lead_id:count_distinct",
        ]
        measures += ["overdue_now:count_distinct", "overdue_hours:sum", "__count"]
        groupings = [[], *([name] for name in ("map_id", "stage_id", "channel", "user_id", "status", "moved_by"))]
        groupings += [["channel", "map_id"], ["map_id", "entered_at:hour"], ["previous_stage_id", "next_stage_id"]]
        noon = at(180).strftime("%Y-%m-%d %H:%M:%S")
        filters = [[("status", "=", "open")], [("entered_at", ">=", noon)], [("left_at", "=", False)]]
        filters += [
            [],
            [("moved_by", "=", "chat"), ("map_id.manychat_stage_id", "!=", 17)],
            [("advanced", "!=", False)],
        ]
        model = self.env["manychat.funnel"]
        for user, domain, groupby in itertools.product((vera, self.env.user), filters, groupings):
            found = []
            for is_large in (False, True):
                self.patch(type(model), "_is_large", lambda _model, is_large=is_large: is_large)
                rows = model.with_user(user)._read_group(domain, groupby, measures, order=",".join(groupby) or None)
                found.append(rows)
            self.assertEqual(*found, (user.login, domain, groupby))
            self.assertTrue(found[0])
        self.assertTrue(all(model._read_group([], [], MEASURES)[0]))

    def test_groups_are_chosen_and_ordered_by_their_measures(self):
        self.conversations()
        arguments = {"having": [("entered:count_distinct", ">", 1)], "order": "entered:count_distinct desc"}
        rows = self.env["manychat.funnel"]._read_group(
            [("lead_id", "not in", self.others)], ["map_id"], ["entered:count_distinct"], **arguments
        )
        self.assertEqual([(row.manychat_stage_id, entered) for row, entered in rows], [(17, 3), (19, 2)])

    # --- From a figure to its opportunities

    def test_rows_open_their_opportunity_and_all_of_them_together(self):
        self.conversations()
        domain = [("map_id.manychat_stage_id", "=", 17), ("lead_id", "not in", self.others)]
        rows = self.env["manychat.funnel"].search(domain)
        self.assertEqual(rows[0].action_open_lead()["res_id"], rows[0].lead_id.id)
        expected = self.lead("Ana") | self.lead("Beto") | self.lead("Dora")
        for action in (
            rows.action_open_leads(),
            self.env["manychat.funnel"].with_context(active_domain=domain).action_open_leads(),
        ):
            leads = self.env["crm.lead"].with_context(**action["context"]).search(action["domain"])
            self.assertEqual(leads, leads & expected)
            self.assertEqual(len(leads), 3)

    # --- Rights

    def test_a_salesperson_sees_what_belongs_to_opportunities_that_they_may_see(self):
        vera = new_test_user(self.env, "vera", "sales_team.group_sale_salesman")
        omar = new_test_user(self.env, "omar", "sales_team.group_sale_salesman_all_leads")
        for name in ("Ana", "Beto", "Clara"):
            self.chat(name, 0, 17)
        self.lead("Ana").user_id = vera
        self.lead("Beto").user_id = omar
        # Vera: her own, and Clara's, which is unassigned.
        self.assertEqual(self.funnel("map_id", user=vera)[17,][0], 2)
        self.assertEqual(self.funnel("map_id", user=omar)[17,][0], 3)

    def test_another_companys_opportunities_are_not_counted(self):
        company = self.env["res.company"].create({"name": "Otra Empresa"})
        manager = new_test_user(self.env, "jefa", "sales_team.group_sale_manager")
        for name in ("Ana", "Beto"):
            self.chat(name, 0, 17)
        self.lead("Ana").write({"company_id": company.id, "team_id": False, "user_id": False})
        self.env.flush_all()
        self.assertEqual(self.funnel("map_id", user=manager)[17,][0], 1)


def _figures(places, number):
    """What the funnel should show of stage ``number``, in the order of MEASURES."""
    entered, in_stage, left, lost, advanced, hours = set(), set(), set(), set(), set(), []
    for name, changes in places.items():
        for position, (hour, stage) in enumerate(changes):
            if stage != number:
                continue
            entered.add(name)
            later = changes[position + 1 :]
            if later:
                left.add(name)
                hours.append(later[0][0] - hour)
                if later[0][1] is None:
                    lost.add(name)
            else:
                in_stage.add(name)
            if any(after and after > number for _hour, after in later):
                advanced.add(name)
    conversion = None if number == 26 else round(100 * len(advanced) / len(entered), 1)
    return [
        *map(len, (entered, in_stage, left, lost, advanced)),
        conversion,
        round(median(hours), 1) if hours else None,
    ]

from contextlib import ExitStack, closing, contextmanager

from odoo import SUPERUSER_ID, api
from odoo.sql_db import db_connect
from odoo.tests import tagged

from .common import ManychatCase, opportunity

#: No transaction may wait for another one.
IMPATIENT = "SET lock_timeout = '3s'"


@tagged("post_install", "-at_install")
class TestAtOnce(ManychatCase):
    """Two bridges at the same moment, on real connections that commit."""

    def setUp(self):
        super().setUp()
        self.people = [f"MC-AT-ONCE-{number}" for number in range(4)]
        self.addCleanup(self.clean)
        with self.bridge() as apply:
            apply(*(opportunity(person) for person in self.people))

    @contextmanager
    def bridge(self):
        """A transaction in which events are applied; it commits at the end."""
        with closing(db_connect(self.env.cr.dbname).cursor()) as cr:
            cr.execute(IMPATIENT)
            env = api.Environment(cr, self.bridge_user.id, {})
            yield lambda *events: [each["status"] for each in env["crm.lead"].manychat_apply(list(events))]
            cr.commit()  # pylint: disable=invalid-commit

    @contextmanager
    def superuser(self):
        with closing(db_connect(self.env.cr.dbname).cursor()) as cr:
            yield api.Environment(cr, SUPERUSER_ID, {})
            cr.commit()  # pylint: disable=invalid-commit

    def clean(self):
        with self.superuser() as env:
            leads = env["manychat.identity"].search([("manychat_id", "in", self.people)]).lead_id
            leads.unlink()
            env["manychat.event"].search([("manychat_id", "in", self.people)]).unlink()
            env["crm.lead"]._rebuild_pls_frequency_table()

    def won(self):
        with self.superuser() as env:
            rows = env["crm.lead.scoring.frequency"].search([("variable", "=", "stage_id")])
            self.assertFalse(env["manychat.scoring"].search([]))
            return round(max(rows.mapped("won_count"), default=0))

    def test_both_win_opportunities_and_both_are_counted(self):
        with self.superuser() as env:
            env["ir.config_parameter"].set_param("crm.pls_start_date", "2020-01-01")
        for move in range(3):  # first without any count
            before = self.won()
            with ExitStack() as open_ones:
                for number, person in enumerate(self.people):
                    apply = open_ones.enter_context(self.bridge())
                    self.assertEqual(apply(opportunity(person, 26, 2 * move + 1, received=number)), ["moved"])
            self.assertEqual(self.won(), before + len(self.people))
            with self.bridge() as apply:
                statuses = apply(*(opportunity(person, 18, 2 * move + 2) for person in self.people))
                self.assertEqual(statuses, ["moved"] * len(self.people))

    def test_of_a_batch_only_the_opportunity_that_another_one_has_just_moved_waits(self):
        with self.bridge() as late:
            late()  # its transaction begins
            with self.bridge() as apply:
                apply(opportunity(self.people[1], 18, 1))
            events = [opportunity(person, 19, 2) for person in self.people]
            self.assertEqual(late(*events), ["moved", "retry", "moved", "moved"])

    def test_of_a_batch_only_the_event_waits_whose_row_has_just_changed(self):
        events = [opportunity(person, 19, 2) for person in self.people]
        with self.bridge() as late:
            late()
            with self.superuser() as env:
                env["manychat.event"].create(
                    {"event_id": events[2]["id"], "manychat_id": self.people[2], "type": "opportunity"}
                )
            self.assertEqual(late(*events[:2], events[3]), ["moved"] * 3)
        with self.bridge() as late:
            late()
            with self.superuser() as env:
                env["manychat.event"].search([("event_id", "=", events[2]["id"])]).state = "queued"
            more = [opportunity(person, 20, 3) for person in self.people[:2]]
            self.assertEqual(late(events[2], *more), ["retry", "moved", "moved"])

    def test_the_same_new_person_is_created_once_and_the_other_bridge_waits(self):
        self.people.append("MC-AT-ONCE-NEW")
        with self.bridge() as first, self.bridge() as second:
            self.assertEqual(first(opportunity("MC-AT-ONCE-NEW")), ["created"])
            self.assertEqual(second(opportunity("MC-AT-ONCE-NEW", 18, 1)), ["retry"])

"""Waiting customers among many opportunities: an index finds them, and no row costs a statement of its own."""

import json
from datetime import timedelta

from odoo import fields
from odoo.tests import tagged

from .common import ManychatCase, opportunity

#: Enough for PostgreSQL to prefer an index to reading all.
ROWS = 20000


@tagged("post_install", "-at_install")
class TestWaitingPlans(ManychatCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env["crm.lead"].with_user(cls.bridge_user).manychat_apply(
            [opportunity(f"MC-{number}", 17, number, summary="Hola") for number in range(40)]
        )
        cls.env.flush_all()
        cls.env.cr.execute(
            """
            INSERT INTO crm_lead (name, type, active, stage_id, manychat_words_at, create_date, probability)
            SELECT 'Cliente ' || n, 'opportunity', TRUE, stage_id,
                   (now() AT TIME ZONE 'UTC') - n * interval '10 minutes', now() AT TIME ZONE 'UTC', 10
              FROM (SELECT stage_id FROM crm_lead WHERE x_manychat_id = 'MC-1') AS one, generate_series(1, %s) AS n
            """,
            [ROWS],
        )
        cls.env.cr.execute("UPDATE crm_lead SET manychat_waits_since = NULL WHERE x_manychat_id > 'MC-2'")
        cls.env.cr.execute("ANALYZE crm_lead")
        cls.env.invalidate_all()

    def plan(self, domain, order):
        statement = self.env["crm.lead"]._search(domain, order=order, limit=80).select("id")
        self.env.cr.execute(f"EXPLAIN (FORMAT JSON) {statement.code}", statement.params)
        plan = self.env.cr.fetchone()[0]
        return json.dumps(plan if not isinstance(plan, str) else json.loads(plan))

    def test_who_waits_is_found_by_an_index(self):
        plan = self.plan([("manychat_waits_since", "!=", False)], order="manychat_waits_since, id")
        self.assertRegex(plan, "manychat_waits_since_index|crm_lead_manychat_waiting")  # both know those who wait only

    def test_whose_window_closes_is_found_by_an_index(self):
        now = fields.Datetime.now()
        domain = [
            ("manychat_words_at", ">", now - timedelta(hours=24)),
            ("manychat_words_at", "<", now - timedelta(hours=20)),
        ]
        self.assertIn("manychat_words_at_index", self.plan(domain, order="manychat_words_at"))

    def test_the_cards_and_the_list_cost_no_statement_a_row(self):
        Lead = self.env["crm.lead"]
        card = {"x_manychat_id": {}, "manychat_channel": {}, "manychat_words": {}, "manychat_words_at": {}}
        card |= {"manychat_waits_since": {}, "name": {}}
        domain = [("x_manychat_id", "=like", "MC-%")]
        Lead.web_search_read(domain, card, limit=1)  # caches
        for limit in (1, 40):
            self.env.invalidate_all()
            with self.assertQueryCount(1):  # the cards themselves; a page that is not full needs no count
                found = Lead.search_fetch(domain, list(card), limit=limit).read(list(card), load="")
            self.assertEqual(len(found), limit)

    def test_the_events_of_a_chat_cost_no_statement_a_row(self):
        lead = self.lead("MC-1")
        self.apply(*(opportunity("MC-1", 17 + number % 2, 100 + number, summary="Hola") for number in range(20)))
        action = lead.action_view_manychat_events()
        names = ["occurred_at", "words", "outcome"]
        events = self.env["manychat.event"].search(action["domain"])
        events.read(names)
        for limit in (2, 20):
            self.env.invalidate_all()
            with self.assertQueryCount(2):  # the events, and their payloads
                found = self.env["manychat.event"].search_fetch(action["domain"], names[:1], limit=limit).read(names)
            self.assertTrue(all(row["words"] == "Hola" for row in found))

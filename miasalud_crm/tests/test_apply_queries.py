from odoo import release
from odoo.tests import tagged

from .common import ManychatCase, opportunity

SIZE = 32
MOST = (
    {"moves": 34, "won": 39, "creations": 42}
    if release.version_info[0] < 19
    else {"moves": 36, "won": 41, "creations": 42}
)


@tagged("post_install", "-at_install")
class TestApplyQueries(ManychatCase):
    """How many statements a batch of 32 events takes: the same for 1,000 opportunities as for 100,000."""

    def setUp(self):
        super().setUp()
        if "base.automation" in self.env:
            self.skipTest("other apps are installed, which ask more")
        self.env["ir.config_parameter"].set_param("crm.pls_start_date", "2020-01-01")
        self.people = [f"MC-{number}" for number in range(SIZE)]
        self.apply(*self.events(self.people, 0))
        self.apply(*self.events(self.people, 1))
        self.apply(*self.events([f"MC-FIRST-{number}" for number in range(SIZE)], 0))
        self.apply(opportunity("MC-WON", 26))
        self.env["manychat.scoring"]._add_up()
        self.env.flush_all()

    def events(self, people, minutes, *, won_of=0):
        """Events of ``people`` that say all that bots send each time; they go to several stages.

        :param int won_of: one in so many is won
        """
        return [
            opportunity(
                person,
                26 if won_of and number % won_of == 0 else 16 + (number + minutes) % 9,
                minutes,
                first_name="Ana",
                last_name="Inventada",
                phone=f"+5255000000{number:02}",
                channel="Facebook",
                entry_date="2026-03-01T08:00:00Z",
                commercial_advisor_id=700,
                medical_advisor_id=101,
            )
            for number, person in enumerate(people)
        ]

    def count(self, events, status):
        """Statements of a batch, as another process would begin it: nothing is known from before."""
        for event in events:
            self.env["manychat.event"].create(
                {
                    "event_id": event["id"],
                    "type": event["type"],
                    "manychat_id": event["payload"]["manychat_id"],
                    "state": "queued",
                    "payload": event["payload"],
                }
            )
        self.env.flush_all()
        self.env.invalidate_all()
        before = self.env.cr.sql_log_count
        results = self.apply(*events)
        self.env.flush_all()
        self.assertEqual({result["status"] for result in results}, {status})
        return self.env.cr.sql_log_count - before

    def test_moves(self):
        self.assertLessEqual(self.count(self.events(self.people, 2), "moved"), MOST["moves"])

    def test_moves_with_won_among_them(self):
        self.assertLessEqual(self.count(self.events(self.people, 2, won_of=11), "moved"), MOST["won"])

    def test_creations(self):
        self.assertLessEqual(
            self.count(self.events([f"MC-NEW-{n}" for n in range(SIZE)], 2), "created"), MOST["creations"]
        )

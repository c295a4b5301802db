"""What tests of decisions share."""

import os
from unittest.mock import patch

from bridge.contract.event import from_envelope

from .. import decisions
from .common import ManychatCase, opportunity

#: Nothing listens there: these tests commit nothing, or wake no relay.
QUEUE = (
    "DefaultEndpointsProtocol=http;AccountName=decisions;AccountKey=ZGVjaXNpb25z;"
    "QueueEndpoint=http://127.0.0.1:9/decisions"
)
PERSON = "MC-DECIDED-1"


class DecisionCase(ManychatCase):
    """An opportunity in stage 17 that follows a conversation, a salesperson, and a configured queue."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        configured = patch.dict(os.environ, MIASALUD_QUEUE_CONNECTION_STRING=QUEUE)
        cls.startClassPatcher(configured)
        cls.user = cls.env["res.users"].create(
            {
                "name": "Laura Prueba",
                "login": "laura.decisions@miasalud.example",
                "email": "laura.decisions@miasalud.example",
                ("group_ids" if "group_ids" in cls.env["res.users"]._fields else "groups_id"): [
                    (4, cls.env.ref("sales_team.group_sale_salesman_all_leads").id)
                ],
            }
        )

    def setUp(self):
        super().setUp()
        self.apply(opportunity(PERSON, 17))
        self.begin()

    def begin(self):
        """Begin a transaction as far as decisions know: what was written before is committed."""
        self.env.flush_all()
        self.env.cr.precommit.run()
        self.env.cr.postcommit.data.pop(decisions._KEY, None)
        self.env.cr.execute("DELETE FROM manychat_event WHERE type = 'decision'")
        self.env.invalidate_all()

    def decided(self):
        """The payloads of the transaction's decisions, oldest first, each as the bridge would read it."""
        self.env.cr.flush()
        self.env.invalidate_all()
        rows = self.env["manychat.event"].search([("type", "=", "decision")], order="id")
        found = []
        for row in rows:
            self.assertEqual((row.state, row.source), ("pending", "odoo"))
            event = from_envelope(row._envelope())
            self.assertEqual((event.manychat_id, event.warnings, event.extra), (row.manychat_id, (), {}))
            self.assertEqual(event.payload.canonical(), row.payload)  # it says what it stores
            found.append(event.payload)
        return found

    def one(self):
        """The only decision of the transaction."""
        [payload] = self.decided()
        return payload

    def mine(self, manychat_id=PERSON):
        """The opportunity as the salesperson has it."""
        return self.lead(manychat_id).with_user(self.user)

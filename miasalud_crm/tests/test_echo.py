from odoo.tests import tagged

from bridge.contract.fields import format_datetime

from .common import ManychatCase, at, opportunity


def echo(stage, minutes, of):
    """The envelope of an event that only says what was written to ManyChat.

    :param of: minute of the state that was written
    """
    return opportunity(stage=stage, minutes=minutes, key=f"echo {minutes}") | {"echo_of": format_datetime(at(of))}


@tagged("post_install", "-at_install")
class TestEcho(ManychatCase):
    def test_an_echo_of_the_stage_that_an_opportunity_is_in_changes_nothing(self):
        self.apply(opportunity(stage=17))
        order = self.lead().manychat_order
        self.assertEqual(self.apply(echo(17, 9, of=5))[0]["status"], "unchanged")
        self.assertEqual(self.lead().manychat_order, order)

    def test_an_echo_keeps_no_event_from_moving_the_opportunity(self):
        # The state was read at minute 5, and the event happened before that and arrives after the echo.
        self.apply(opportunity(stage=17))
        self.apply(echo(17, 9, of=5))
        self.assertEqual(self.apply(opportunity(stage=20, minutes=3))[0]["status"], "moved")

    def test_an_echo_does_not_undo_an_event_that_was_applied_since(self):
        self.apply(opportunity(stage=17), opportunity(stage=20, minutes=3))
        self.assertEqual(self.apply(echo(17, 9, of=5))[0]["status"], "stale")
        self.assertEqual(self.lead().stage_id, self.stages[20])

    def test_an_echo_does_not_restore_a_lost_opportunity(self):
        self.apply(opportunity(stage=17))
        self.lead().action_set_lost()
        self.assertEqual(self.apply(echo(17, 9, of=5))[0]["status"], "stale")
        self.assertFalse(self.lead().active)

    def test_an_echo_does_not_bring_back_a_deleted_opportunity(self):
        self.apply(opportunity(stage=17))
        self.lead().unlink()
        (result,) = self.apply(echo(17, 9, of=5))
        self.assertEqual((result["status"], result["lead_id"], result["state"]), ("stale", False, False))
        self.assertFalse(self.env["manychat.identity"].search([("manychat_id", "=", "MC-TEST-1")]))
        event = self.env["manychat.event"].search([("event_id", "=", result["event_id"])])
        self.assertEqual((event.state, event.outcome), ("done", "stale"))
        (again,) = self.apply(echo(17, 9, of=5))
        self.assertEqual((again["status"], again["code"]), ("stale", "duplicate"))

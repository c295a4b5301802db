from datetime import datetime, timedelta, timezone

from odoo.tests import tagged

from bridge.contract.fields import format_datetime

from .common import ManychatCase, at, opportunity


def echo(stage, minutes, of):
    """The envelope of an event that only says what was written to ManyChat.

    :param of: minute of the state that was written
    """
    return opportunity(stage=stage, minutes=minutes, key=f"echo {minutes}") | {"echo_of": format_datetime(at(of))}


def possible_echo(stage, minutes):
    """The envelope of an event that says what was written to ManyChat, or what the customer did."""
    return opportunity(stage=stage, minutes=minutes, key=f"echo {minutes}") | {"may_echo": True}


def after_now():
    """A minute of the conversation after any user's move of this test: by its date the event is the newer one."""
    return (datetime.now(timezone.utc) - at(0)) // timedelta(minutes=1) + 60


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

    def test_what_may_be_an_echo_moves_an_opportunity_that_the_chat_has_moved_on(self):
        self.apply(opportunity(stage=17), opportunity(stage=20, minutes=3))
        self.assertEqual(self.apply(possible_echo(17, 9))[0]["status"], "moved")

    def test_what_may_be_an_echo_undoes_no_move_of_a_user(self):
        minutes = after_now()
        self.apply(opportunity(stage=17))
        self.lead().stage_id = self.stages[20]
        (result,) = self.apply(possible_echo(17, minutes))
        self.assertEqual((result["status"], self.lead().stage_id), ("stale", self.stages[20]))
        # A second event of the user's own stage makes it no stage of the chat's.
        self.apply(possible_echo(20, minutes + 1))
        self.assertEqual(self.apply(possible_echo(17, minutes + 2))[0]["status"], "stale")
        self.assertEqual(self.lead().stage_id, self.stages[20])
        # What is no echo at all is what the customer did.
        self.assertEqual(self.apply(opportunity(stage=17, minutes=minutes + 3))[0]["status"], "moved")

    def test_what_may_be_an_echo_neither_restores_nor_brings_back(self):
        minutes = after_now()
        self.apply(opportunity(stage=17))
        self.lead().action_set_lost()
        self.assertEqual(self.apply(possible_echo(17, minutes))[0]["status"], "stale")
        self.assertFalse(self.lead().active)
        self.lead().unlink()
        self.assertEqual(self.apply(possible_echo(17, minutes + 1))[0]["status"], "stale")
        self.assertFalse(self.env["manychat.identity"].search([("manychat_id", "=", "MC-TEST-1")]))

    def test_a_batch_knows_the_moves_that_it_makes_itself(self):
        minutes = after_now()
        self.apply(opportunity(stage=17))
        self.lead().stage_id = self.stages[20]
        results = self.apply(opportunity(stage=21, minutes=minutes), possible_echo(17, minutes + 1))
        self.assertEqual([result["status"] for result in results], ["moved", "moved"])

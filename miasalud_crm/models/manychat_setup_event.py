from odoo import models

from bridge.contract.payloads import EventType

from ..deliveries import FROM_CHAT
from .manychat_setup import TEST_ID_PATTERN, _step

#: Events of persons who write to a bot: with a key to this Odoo, to the API of a bridge, or on a queue as before.
#: Demonstration data has neither, and the person of a test event is invented.
REAL = [
    *FROM_CHAT,
    "|",
    "|",
    ("key_prefix", "!=", False),
    ("key_name", "!=", False),
    ("source", "in", ["api", "queue"]),
    "!",
    ("manychat_id", "=like", TEST_ID_PATTERN),
]
MOVING = ("type", "=", EventType.OPPORTUNITY.value)


class ManychatSetup(models.AbstractModel):
    """The last step: an event of a real person has come from ManyChat, and a salesperson sees the opportunity."""

    _inherit = "manychat.setup"  # pylint: disable=consider-merging-classes-inherited

    def _event_step(self):
        events = self.env["manychat.event"].sudo()
        requests = (self.env._("Requests for ManyChat"), "miasalud_crm.manychat_request_action")
        deliveries = (self.env._("Deliveries"), "miasalud_crm.manychat_event_action")
        latest = events.search([*REAL, MOVING], limit=1)
        state, actions = "todo", [requests]
        if latest.state == "done" or events.search([*REAL, MOVING, ("state", "=", "done")], limit=1):
            state, actions = "done", [deliveries]
            text = self.env._("The latest event from ManyChat was received %s.", self._ago(latest.received_at))
        elif latest.state in ("failed", "discarded"):
            state, actions = "warning", [deliveries]
            text = self.env._(
                "An event from ManyChat was received %(ago)s, but it has not moved an opportunity: %(reason)s",
                ago=self._ago(latest.received_at),
                reason=latest.reason or latest.message or self.env._("A user discarded it."),
            )
        elif latest:
            actions = [deliveries]
            text = self.env._(
                "An event from ManyChat was received %s. It waits: the steps above say for what.",
                self._ago(latest.received_at),
            )
        else:
            text = self._no_event_sentence(events)
        return _step("event", state, self.env._("The first customer"), text, actions)

    def _no_event_sentence(self, events):
        if other := events.search(REAL, limit=1):
            return self.env._(
                "ManyChat's events arrive (the latest one %s), but none names a stage yet. Paste the request “A "
                "conversation enters a stage” into your bot.",
                self._ago(other.received_at),
            )
        tested = events.search([*FROM_CHAT, ("manychat_id", "=like", TEST_ID_PATTERN)], limit=1)
        if tested:
            return self.env._(
                "A test event was received %s. Now paste the requests into your bot in ManyChat, and write to it.",
                self._ago(tested.received_at),
            )
        return self.env._(
            "No event has been received from ManyChat yet. Send a test event below; then paste the requests into your "
            "bot in ManyChat, and write to it."
        )

"""Refused requests with a valid key: each is a row of the log, and shows the bot builder what to change."""

import secrets

from odoo import api, fields, models

from bridge.contract import attribution
from bridge.contract.outcomes import ErrorCode

from .. import sent_request
from ..deliveries import REFUSALS, REFUSED_PREFIX
from .manychat_event import retention_limit

#: How many refused requests are kept: a bot in a loop must not fill the database.
KEPT = 500
#: The oldest are deleted after this many new ones: a bot in a loop would fill the database before the daily cleaning.
TRIMMED_EVERY = 100


class ManychatEvent(models.Model):
    _inherit = "manychat.event"  # pylint: disable=consider-merging-classes-inherited

    advice = fields.Char("What to Do", compute="_compute_advice")

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("state", "code")
    def _compute_advice(self):
        advice = {
            ErrorCode.NOT_JSON: self.env._(
                "The body is not a JSON object. Compare it with the one under Requests for ManyChat: check quotes and "
                "commas."
            ),
            ErrorCode.INVALID: self.env._("In ManyChat, open the External Request and correct the fields named here."),
            "too_large": self.env._("Make the External Request send fewer or shorter fields."),
            "unsupported_media_type": self.env._(
                "In ManyChat, add the header Content-Type with the value application/json to the External Request."
            ),
            "method_not_allowed": self.env._(
                "In ManyChat, choose this request type in the External Request: POST, PUT, … stands before its address."
            ),
        }
        for event in self:
            event.advice = event.state == "refused" and (
                advice.get(event.code)
                or self.env._("Compare the External Request in ManyChat with the one under Requests for ManyChat.")
            )

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @api.model
    def _record_refusal(self, event_type, error, sent, key):
        """Keep one refused request.

        :param bridge.contract.payloads.EventType event_type: of the route that was called
        :param bridge.contract.webhook.WebhookError error: the answer
        :param dict sent: see :func:`.sent_request.of`; of a request whose person cannot be found out only the form is
            kept, because the text could not be found again when the person is erased
        :param key: the :class:`.valid_key.ValidKey` of the caller
        """
        person = attribution.person_of(sent["body"])
        events = self.sudo()
        events.create(
            {
                "event_id": REFUSED_PREFIX + secrets.token_hex(16),
                "type": event_type.value,
                "state": "refused",
                "manychat_id": person,
                "source": "odoo",
                "received_at": fields.Datetime.now(),
                "code": error.code,
                "message": error.message,
                "problems": error.errors or False,
                "request": sent if person else sent_request.masked(sent),
                "key_name": key.name,
                "key_prefix": key.prefix,
            }
        )
        if events.search(REFUSALS, order="id desc", limit=1, offset=KEPT + TRIMMED_EVERY - 1):
            events._trim_refused()

    @api.model
    def _refused_about(self, manychat_id):
        """The refused requests of the person, and those whose text names the person."""
        person = attribution.comparable(manychat_id)
        return self.search(REFUSALS).filtered(
            lambda event: event.manychat_id == person or sent_request.mentions(event.request or {}, manychat_id)
        )

    # ------------------------------------------------------------
    # Cron
    # ------------------------------------------------------------

    @api.autovacuum
    def _trim_refused(self):
        """Delete all but the newest refused requests, and those that are older than the retention time."""
        newest = self.search(REFUSALS, order="id desc", limit=1, offset=KEPT)
        if newest:
            self.search([*REFUSALS, ("id", "<=", newest.id)]).unlink()
        self.search([*REFUSALS, ("create_date", "<", retention_limit(self.env))]).unlink()

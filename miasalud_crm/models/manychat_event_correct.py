"""Refused requests: checked against today's contract, corrected, and sent as new events."""

from odoo import api, fields, models
from odoo.exceptions import UserError

from bridge.contract import webhook
from bridge.contract.payloads import EventType
from bridge.contract.request_headers import RequestHeaders
from bridge.contract.webhook import WebhookError

from .. import sent_request
from ..deliveries import REFUSED_PREFIX, notification
from ..private_sql import private
from ..rights import managers_only
from ..sentences import refusal_in_language
from .manychat_event_attempts import CORRECTED, REOPENED


class ManychatEvent(models.Model):
    _inherit = "manychat.event"  # pylint: disable=consider-merging-classes-inherited

    correction_id = fields.Many2one(
        "manychat.event", "Sent As", readonly=True, ondelete="set null", index="btree_not_null"
    )
    corrected_ids = fields.One2many("manychat.event", "correction_id", "Corrects", readonly=True)

    is_refusal = fields.Boolean("Is a Refused Request", compute="_compute_is_refusal")

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("event_id")
    def _compute_is_refusal(self):
        for event in self:
            event.is_refusal = event._is_refusal()

    # ------------------------------------------------------------
    # Actions
    # ------------------------------------------------------------

    @managers_only
    def action_check_again(self):
        """Check the refused request against today's contract, and show the result. Of many: the wizard does it."""
        if len(self) != 1:
            return self.action_resend()
        error = self._refusal_today()
        if error is None:
            message, kind = self.env._("It is valid now. Press Correct and Send to send it."), "success"
        else:
            message, kind = refusal_in_language(self.env, error), "warning"
        title = self.env._("Valid") if error is None else self.env._("Still refused")
        return notification(message, kind, title=title, sticky=error is not None)

    @managers_only
    def action_correct(self):
        """Open the dialog with the body to edit."""
        self.ensure_one()
        self._check_correctable()
        wizard = self.env["manychat.correction"].create({"event_id": self.id})
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Correct and Send"),
            "res_model": wizard._name,
            "res_id": wizard.id,
            "views": [(False, "form")],
            "target": "new",
        }

    @managers_only
    def action_reopen(self):
        """Take discarded requests back: they are refused ones again."""
        for event in self.sudo().filtered(lambda event: event.state == "discarded" and event._is_refusal()):
            event.write({"state": "refused", "attempts": event._with_attempt(REOPENED, by_user=True)})

    @managers_only
    def action_open_correction(self):
        """The event that this request was sent as."""
        return self.correction_id._open_form()

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    def _is_refusal(self):
        return (self.event_id or "").startswith(REFUSED_PREFIX)

    def _check_correctable(self):
        """:raises UserError: it is no open refused request, or what was sent is not there any more"""
        if self.state != "refused":
            raise UserError(self.env._("Only refused requests can be corrected. This one is not refused any more."))
        if not (self.sudo().request or {}).get("body"):
            raise UserError(
                self.env._(
                    "The request has no body that could be corrected. Correct it in ManyChat, and send it there."
                )
            )
        if self.sudo().request.get("masked"):
            raise UserError(
                self.env._(
                    "The request names no person, so Odoo did not keep its words. Correct it in ManyChat, and send it "
                    "there."
                )
            )

    def _refusal_today(self):
        """The error that the request would get today; ``None`` if it is valid."""
        sent = self.sudo().request or {}
        if sent.get("masked") or not sent.get("body"):
            return WebhookError(422, self.code or "invalid", self.message or "", self.problems or ())
        if self.code == "test_key":
            return WebhookError(403, self.code, self.message or "")
        method = EventType(self.type).spec.method
        if self.code == "method_not_allowed" and sent.get("method") != method:
            return webhook.wrong_method(method)
        try:
            if sent.get("headers"):  # none are known of requests from before 0.5.0
                webhook.check_headers(None, sent_request.header(sent, "Content-Type") or "")
            self._read_body(sent["body"])
        except WebhookError as error:
            return error
        return None

    def _read_body(self, body):
        """The event that ``body`` makes in place of the request's own, of the same moment and headers.

        :raises WebhookError: it breaks the contract
        """
        sent = self.sudo().request or {}
        keys = self.env["manychat.api.key"].sudo().with_context(active_test=False)
        key = keys.search([("prefix", "=", self.key_prefix)], limit=1) if self.key_prefix else keys
        zone = {"zone": key._zone()} if key else {}
        return webhook.read_event(
            EventType(self.type),
            body.encode("utf-8", "replace"),
            RequestHeaders(lambda name: sent_request.header(sent, name)),
            received_at=fields.Datetime.context_timestamp(self.with_context(tz="UTC"), self.received_at),
            source="odoo",
            **zone,
        )

    def _send_corrected(self, body):
        """Send ``body`` as a new event in place of this refused request, which then counts as corrected.

        It counts as received when the request was: a newer event of the person stays the newest.

        :return: the new ``manychat.event``
        :raises UserError: the request is not open any more
        :raises WebhookError: the body breaks the contract
        """
        refused = self.sudo()
        # A second user, or a second click: one of the two finds it corrected.
        self.env.cr.execute("SELECT state FROM manychat_event WHERE id = %s FOR UPDATE", [self.id])
        refused.invalidate_recordset(["state"])
        refused._check_correctable()
        event = refused._read_body(body)
        with private(self.env.cr):
            is_new = refused._insert(event, "pending", sent={**refused.request, "body": body})
        row = refused.search([("event_id", "=", event.id)])
        if is_new:
            row.write({"key_name": refused.key_name, "key_prefix": refused.key_prefix})
            row._wake_relay()
        refused.write(
            {
                "state": "corrected",
                "correction_id": row.id,
                "attempts": refused._with_attempt(CORRECTED, by_user=True),
            }
        )
        return row.sudo(False)

    def _open_form(self):
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "res_model": self._name,
            "res_id": self.id,
            "views": [(False, "form")],
            "name": self.display_name,
        }

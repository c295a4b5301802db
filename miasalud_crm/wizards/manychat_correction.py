import contextlib
import json

from odoo import api, fields, models
from odoo.exceptions import UserError

from bridge.contract import attribution
from bridge.contract.errors import ContractError
from bridge.contract.strict_json import parse_json
from bridge.contract.webhook import WebhookError

from ..rights import managers_only
from ..sentences import problems_in_language, refusal_in_language


class ManychatCorrection(models.TransientModel):
    """The dialog in which a user corrects a refused request, and sends it as a new event."""

    _name = "manychat.correction"
    _description = "Correction of a Refused ManyChat Request"

    event_id = fields.Many2one("manychat.event", required=True, readonly=True, ondelete="cascade")
    problem_text = fields.Text(related="event_id.problem_text")
    message = fields.Char(related="event_id.details")
    body = fields.Text(required=True, compute="_compute_body", store=True, precompute=True, readonly=False)
    verdict = fields.Text(compute="_compute_verdict")
    is_valid = fields.Boolean(compute="_compute_verdict")

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("event_id")
    def _compute_body(self):
        for correction in self:
            body = (correction.event_id.sudo().request or {}).get("body") or ""
            with contextlib.suppress(ContractError):  # else as it was sent: line and column name its place
                body = json.dumps(parse_json(body), indent=2, ensure_ascii=False)
            correction.body = body

    @api.depends("body", "event_id")
    def _compute_verdict(self):
        for correction in self:
            correction.verdict, correction.is_valid = False, True
            try:
                event = correction.event_id._read_body(correction.body or "")
            except WebhookError as error:
                correction.verdict, correction.is_valid = refusal_in_language(self.env, error), False
                continue
            warnings = problems_in_language(self.env, event.warnings)
            lines = [f"{each['field']}: {each['message']}".removeprefix(": ") for each in warnings]
            correction.verdict = "\n".join(lines) or False

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @api.model
    def _forget(self, manychat_id):
        """Delete the dialogs that are open about the person."""
        dialogs = self.search([("body", "!=", False)])
        dialogs.filtered(lambda dialog: attribution.mentions(dialog.body, manychat_id)).unlink()

    # ------------------------------------------------------------
    # Actions
    # ------------------------------------------------------------

    @managers_only
    def action_check(self):
        """Show the dialog again, with the verdict on what is written there now."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Correct and Send"),
            "res_model": self._name,
            "res_id": self.id,
            "views": [(False, "form")],
            "target": "new",
        }

    @managers_only
    def action_send(self):
        """Send the corrected body as a new event, and open that event.

        :raises UserError: it still breaks the contract
        """
        self.ensure_one()
        try:
            event = self.event_id._send_corrected(self.body or "")
        except WebhookError as error:
            raise UserError(refusal_in_language(self.env, error)) from None
        self.unlink()
        return event._open_form()

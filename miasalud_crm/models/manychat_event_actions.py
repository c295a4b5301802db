"""What users do with deliveries: send again, map a stage, give up."""

from odoo import models
from odoo.exceptions import UserError

from bridge.contract.outcomes import ErrorCode

from ..deliveries import notification
from ..rights import managers_only
from .manychat_event_attempts import DISCARDED


class ManychatEvent(models.Model):
    _inherit = "manychat.event"  # pylint: disable=consider-merging-classes-inherited

    # ------------------------------------------------------------
    # Actions
    # ------------------------------------------------------------

    @managers_only
    def action_resend(self):
        """Open the wizard that sends many deliveries again: it counts them first."""
        resend = self.env["manychat.resend"]._prepare(self)
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Send Again"),
            "res_model": resend._name,
            "res_id": resend.id,
            "views": [(self.env.ref("miasalud_crm.manychat_resend_view_form_draft").id, "form")],
            "target": "new",
        }

    @managers_only
    def action_map_stage(self):
        """Open the unknown stage of these events, to choose its stage; of several, their list."""
        waiting = self.filtered(lambda event: event.state == "failed" and event.code == ErrorCode.UNMAPPED_STAGE).sudo()
        if not waiting:
            raise UserError(self.env._("None of the selected deliveries waits for a stage to be mapped."))
        for event in waiting.filtered(lambda event: not event.alias_id and event.payload):
            state = event.payload.get("state") or {}
            event.alias_id = self.env["manychat.stage.alias"].sudo()._open(state.get("stage_id"), state.get("stage"))
        aliases = waiting.alias_id.sudo(False)
        if len(aliases) == 1:
            action = {"res_id": aliases.id, "views": [(False, "form")], "target": "new"}
        else:
            action = {"domain": [("id", "in", aliases.ids)], "views": [(False, "list"), (False, "form")]}
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Map This Stage") if len(aliases) == 1 else self.env._("Stage Aliases"),
            "res_model": aliases._name,
            **action,
        }

    @managers_only
    def action_retry(self):
        """Send failed and discarded events again.

        This includes events on their queue: it replaces a message that was lost there, and a second message does no
        harm.
        """
        events = self.filtered(lambda event: event.state in ("queued", "failed", "discarded") and event.sudo().payload)
        if not events:
            raise UserError(
                self.env._(
                    "None of the selected events can be sent again: they are done, waiting for the queue, or erased."
                )
            )
        events.sudo()._requeue()

    @managers_only
    def action_discard(self):
        """Give up failed events and refused requests: Odoo and the bridge no longer wait for them.

        *Retry* undoes this for an event, *Reopen* for a refused request.
        """
        events = self.filtered(lambda event: event.state in ("failed", "refused")).sudo()
        if not events:
            raise UserError(
                self.env._(
                    "Only failed events and refused requests can be discarded. None of the selected deliveries is one."
                )
            )
        for event in events:
            values = {"state": "discarded", "alias_id": False}
            # The bridge does not know an event that never reached its queue.
            values["discard_to_report"] = event.state == "failed" and event.code != ErrorCode.UNDELIVERABLE
            event.write({**values, "attempts": event._with_attempt(DISCARDED, by_user=True)})
        left = len(self) - len(events)
        if len(self) == 1:
            return None
        text = self.env._("Discarded: %s.", len(events))
        if left:
            text = text + " " + self.env._("Left as they are, because they have not failed: %s.", left)
        return notification(text, "success")

from datetime import timedelta

from odoo import fields, models

from .manychat_setup import _step


class ManychatSetup(models.AbstractModel):
    _inherit = "manychat.setup"  # pylint: disable=consider-merging-classes-inherited

    def _refused_step(self):
        """Requests of the last 24 hours that were lost: refused, or without a valid key."""
        counts = self.env["manychat.bridge"]._refusals()
        refused, wrong = counts["refused"], counts["wrong_keys"]
        since = fields.Datetime.now() - timedelta(hours=24)
        standby = sum(self.env["manychat.standby.refusal"].sudo()._counts(since))
        alerts = self.env["manychat.alert"].search([("kind", "in", ("refused", "wrong_key")), ("since", "!=", False)])
        title = self.env._("Refused requests")
        if not refused and not wrong and not standby:
            return _step("refused", "done", title, self.env._("No request was refused in the last 24 hours."), [])
        parts, actions = [], []
        if refused:
            parts.append(
                self.env._("Requests refused in the last 24 hours, because they break the contract: %s.", refused)
            )
            actions.append((self.env._("Refused Requests"), "miasalud_crm.manychat_event_refused_action"))
        if wrong:
            parts.append(self.env._("Requests of the last 24 hours without a valid key: %s.", wrong))
            actions.append((self.env._("Without a Valid Key"), "miasalud_crm.manychat_wrong_key_action"))
        if standby:
            parts.append(
                self.env._("Requests that the standby refused in the last 24 hours, while Odoo was down: %s.", standby)
            )
            actions.append((self.env._("Refused by the Standby"), "miasalud_crm.manychat_standby_refusal_action"))
        if not alerts:
            parts.append(self.env._("A user has seen them."))
            return _step("refused", "done", title, " ".join(parts), actions)
        parts.append(
            self.env._("The people of these requests did not reach your pipeline. See what the bots must change.")
        )
        return _step("refused", "warning", title, " ".join(parts), actions)

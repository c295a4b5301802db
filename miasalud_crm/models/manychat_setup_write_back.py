from odoo import models

from .manychat_setup import _step


class ManychatSetup(models.AbstractModel):
    """The step of what goes back to ManyChat."""

    _inherit = "manychat.setup"  # pylint: disable=consider-merging-classes-inherited

    def _write_back_step(self):
        """No step while it is off: it is not needed to begin."""
        settings = self.env["manychat.write.back"].sudo().search([], limit=1)
        if not settings.enabled:
            return None
        state, refused = settings._bridge_state(), settings._refused_count()
        texts = settings._obstacles()
        actions = [(self.env._("Tell ManyChat"), "miasalud_crm.manychat_write_back_action")]
        if refused:
            texts.append(
                self.env._(
                    "Opportunities of which ManyChat refused something in the last 24 hours: %s. Each says why, and "
                    "what to do.",
                    refused,
                )
            )
            actions.append((self.env._("Refused by ManyChat"), "miasalud_crm.crm_lead_unsent_action"))
        title = self.env._("What goes back to ManyChat")
        if texts:
            return _step("write_back", "warning", title, "\n".join(texts), actions)
        return _step("write_back", "done", title, settings._bridge_sentence(state), actions)

from odoo import SUPERUSER_ID, api, models

from .crm_lead_team import MERGING
from .manychat_identity import is_applying


class ManychatIdentity(models.Model):
    """Chatter of the opportunity: which user changed the conversation that it follows, from what to what.

    Whatever the way: the form, the list of IDs, an import, or a call from outside.
    """

    _inherit = "manychat.identity"  # pylint: disable=consider-merging-classes-inherited

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    @api.model_create_multi
    def create(self, vals_list):
        identities = super().create(vals_list)
        # Not the ID with which an opportunity begins, nor those that the installation finds.
        if self.env.uid != SUPERUSER_ID:
            later = identities.filtered(lambda identity: identity.lead_id.create_date < self.env.cr.now())
            later._log_changes({}, later._followed())
        return identities

    def write(self, vals):
        if not {"manychat_id", "lead_id"} & vals.keys():
            return super().write(vals)
        before = self._followed()
        result = super().write(vals)
        self._log_changes(before, self._followed())
        return result

    def unlink(self):
        before = self._followed()
        result = super().unlink()
        self._log_changes(before, {})
        return result

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    def _followed(self):
        """Which opportunity follows which conversation: dict of identity id → pair of lead and ManyChat id."""
        return {identity.id: (identity.lead_id, identity.manychat_id) for identity in self}

    @api.model
    def _log_changes(self, before, after):
        if is_applying(self.env) or self.env.context.get(MERGING):
            return  # the chat's own doing; Odoo's *Merge* has a line of its own
        if self.env["res.users"]._manychat_machine_calls(self.env.uid) is not None:
            return
        changes = []
        for key in before.keys() | after.keys():
            (old_lead, old), (new_lead, new) = before.get(key, (None, False)), after.get(key, (None, False))
            if old_lead == new_lead:
                changes.append((old_lead, old, new))
            else:
                changes += [(old_lead, old, False), (new_lead, False, new)]
        for lead, old, new in changes:
            if lead and old != new and lead.exists():
                lead.sudo()._manychat_log_id(old, new)

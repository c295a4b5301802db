from odoo import api, fields, models
from odoo.exceptions import ValidationError


class _Token(str):
    """Text that only this process has: a context that comes from outside holds other text."""

    __slots__ = ()
    # Odoo reuses an environment whose context is equal.
    __eq__ = object.__eq__
    __hash__ = object.__hash__


#: In the context while events are applied: the chat makes these changes, not an Odoo user.
APPLYING = {"manychat_applying": _Token("yes")}


def is_applying(env):
    """Whether the chat makes the changes, and not a user who has put the same word into the context of a call."""
    return env.context.get("manychat_applying") is APPLYING["manychat_applying"]


class ManychatIdentity(models.Model):
    """A person's id in ManyChat and the opportunity that follows their conversation.

    An id has one opportunity. An opportunity may have several ids: Odoo's *Merge* gives the survivor all of them.
    """

    _name = "manychat.identity"
    _description = "ManyChat ID"
    _inherit = "manychat.unique"
    _unique = ((["manychat_id"], None),)
    _order = "lead_id, sequence, id"
    _rec_name = "manychat_id"

    manychat_id = fields.Char("ManyChat ID", required=True)
    lead_id = fields.Many2one("crm.lead", "Opportunity", required=True, ondelete="cascade", index=True)
    sequence = fields.Integer(default=10, help="An opportunity shows the first of its IDs.")
    phone = fields.Char(
        readonly=True,
        help="The telephone number of this conversation's opportunity when it was merged into another one.",
    )
    decided_at = fields.Datetime(
        "Last Decision On",
        readonly=True,
        copy=False,
        help="When a user last moved, won, lost, assigned or otherwise changed this conversation's opportunity.",
    )
    duplicate_lead_ids = fields.Many2many(
        "crm.lead",
        "manychat_identity_duplicate_lead_rel",
        "identity_id",
        "lead_id",
        string="Also On",
        help="Opportunities that had the same ID when this app was installed. "
        "Merge them with the opportunity on the left, or clear this list.",
    )

    # ------------------------------------------------------------
    # Constraints
    # ------------------------------------------------------------

    @api.constrains("manychat_id")
    def _check_manychat_id(self):
        # As superuser: the ID may belong to an opportunity that the user may not see.
        names = set(self.mapped("manychat_id"))
        known = self.sudo().search_fetch([("manychat_id", "in", list(names))], ["manychat_id"], order="id")
        if len(known) == len(names):
            return
        for identity in self:
            same = known.filtered(
                lambda other, identity=identity: other.manychat_id == identity.manychat_id and other != identity
            )[:1]
            if not same:
                continue
            if not same.lead_id.sudo(False).has_access("read"):
                raise ValidationError(
                    self.env._(
                        "The ManyChat ID %s already belongs to an opportunity that you may not see. "
                        "Ask a user who sees all opportunities of all companies.",
                        identity.manychat_id,
                    )
                )
            raise ValidationError(
                self.env._(
                    "The ManyChat ID %(id)s already belongs to the opportunity “%(lead)s”. "
                    "Merge the two opportunities to keep it on one of them.",
                    id=identity.manychat_id,
                    lead=same.lead_id.display_name,
                )
            )

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    @api.model_create_multi
    def create(self, vals_list):
        identities = super().create(vals_list)
        if not is_applying(self.env):  # while events are applied, they begin the history, at their own time
            self.env["manychat.stage.history"]._begin(identities.lead_id)
        return identities

    def write(self, vals):
        result = super().write(vals)
        if "lead_id" in vals:
            self.env["manychat.stage.history"]._begin(self.lead_id)
        return result

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    def _conversation_dates(self):
        """When the newest event of each conversation happened: dict of ManyChat id → datetime.

        Without those whose events are no longer in the log.
        """
        if not self:
            return {}
        domain = [("manychat_id", "in", self.mapped("manychat_id")), ("type", "!=", "decision")]
        events = self.env["manychat.event"].sudo()._read_group(domain, ["manychat_id"], ["occurred_at:max"])
        return {manychat_id: moment for manychat_id, moment in events if moment}

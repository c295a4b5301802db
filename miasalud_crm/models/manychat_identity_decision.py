from contextlib import contextmanager

from odoo import api, models

from ..apply.state import LOCK, read_states
from ..decisions import by, decisions_of, is_deciding, meet
from .crm_lead_team import MERGING


class ManychatIdentity(models.Model):
    """Which opportunity followed a conversation before the transaction."""

    _inherit = "manychat.identity"  # pylint: disable=consider-merging-classes-inherited

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    @api.model_create_multi
    def create(self, vals_list):
        self._remember_places(self.env["crm.lead"].browse(vals["lead_id"] for vals in vals_list if vals.get("lead_id")))
        identities = super().create(vals_list)
        identities._remember_new()
        return identities

    def write(self, vals):
        if vals.keys().isdisjoint(("manychat_id", "lead_id", "sequence")):
            return super().write(vals)
        self._remember_places(self.sudo().lead_id | self.env["crm.lead"].browse(vals.get("lead_id") or ()))
        if vals.keys().isdisjoint(("manychat_id", "lead_id")):
            return super().write(vals)
        self._remember_links(will_end="manychat_id" in vals)
        result = super().write(vals)
        if "manychat_id" in vals:
            self._remember_new()
        elif is_deciding(self.env) and decisions_of(self.env):
            meet(self.sudo().lead_id)
        return result

    def unlink(self):
        self._remember_places(self.sudo().lead_id)
        with self._ending():
            return super().unlink()

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @contextmanager
    def _ending(self):
        """Have the conversations end, as far as Odoo goes, while the context lasts."""
        people = {*self.sudo().mapped("manychat_id")}
        self._remember_links(will_end=True)
        yield
        if people and is_deciding(self.env) and (decisions := decisions_of(self.env)):
            decisions.touched_people |= people  # what Odoo compared in the context was compared too early

    def _remember_links(self, *, will_end):
        """Remember which opportunities follow the conversations before that changes.

        :param bool will_end: whether no opportunity will follow them: then their last state is what there is to say
        """
        if not (self and is_deciding(self.env) and (decisions := decisions_of(self.env))):
            return
        identities = self.sudo()
        meet(identities.lead_id)
        states = {}
        if will_end:
            self.env["crm.lead"].sudo().flush_model()
            identities.flush_model()
            states = read_states(self.env, identities.mapped("manychat_id"), LOCK)
        decisions.touched_people |= {*identities.mapped("manychat_id")}
        made_by = by(self.env)
        is_merge = bool(self.env.context.get(MERGING))
        for identity in identities:
            lead = identity.lead_id
            link = decisions.links.setdefault(
                identity.manychat_id,
                {"lead_id": lead.id, "is_merge": is_merge, "stage_id": decisions.stage_before(lead), **made_by},
            )
            link["state"] = states.get(identity.manychat_id) or link.get("state")

    def _remember_places(self, leads):
        """Remember which is the first of each opportunity's conversations: the others count as merged into it."""
        if leads and is_deciding(self.env) and (decisions := decisions_of(self.env)):
            decisions.touched |= {*leads.ids}
            made_by = by(self.env)
            for lead in leads.sudo():
                for place, identity in enumerate(
                    lead.manychat_identity_ids.sorted(lambda each: (each.sequence, each.id))
                ):
                    decisions.places.setdefault(identity.manychat_id, {"merged": place > 0, **made_by})

    def _remember_new(self):
        """Remember that no opportunity followed the conversations before."""
        if self and is_deciding(self.env) and (decisions := decisions_of(self.env)):
            made_by = by(self.env)
            meet(self.sudo().lead_id)
            decisions.touched_people |= {*self.sudo().mapped("manychat_id")}
            for identity in self.sudo():
                decisions.links.setdefault(identity.manychat_id, {"lead_id": None, "is_merge": False, **made_by})

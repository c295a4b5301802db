from collections import defaultdict
from contextlib import contextmanager

from odoo import models

from .manychat_identity import is_applying
from .manychat_scoring import PREPARING, is_preparing

#: In the context while opportunities of several stages are won and reopened: :class:`_Together`.
TOGETHER = "manychat_scored_together"


class _Together:
    """Opportunities to count, by direction. Equal to itself only: Odoo reuses an environment whose context is equal."""

    def __init__(self):
        self.leads = defaultdict(list)

    def count(self):
        """Have Odoo count what is gathered."""
        gathered, self.leads = self.leads, defaultdict(list)
        for (from_state, to_state), groups in gathered.items():
            leads = groups[0].union(*groups).with_context(**{TOGETHER: None})
            leads._pls_increment_frequencies(from_state=from_state, to_state=to_state)


class CrmLead(models.Model):
    """Odoo's lead scoring counts won and lost opportunities: those of the chat right after the commit."""

    _inherit = "crm.lead"  # pylint: disable=consider-merging-classes-inherited

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    def _compute_won_status(self):
        # Odoo 19 reads it at each move, and would compute the probabilities of each stage's opportunities for it. An
        # active opportunity in an open stage is neither won nor lost, however probable it is.
        pending = self.filtered(lambda lead: lead.active and not lead.stage_id.is_won)
        pending.won_status = "pending"
        return super(CrmLead, self - pending)._compute_won_status()

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    def _handle_won_lost(self, vals, *of_odoo_19):
        # Odoo 18 searches for the won stages for each opportunity that is created and for each group that is moved.
        if is_applying(self.env) and not of_odoo_19 and "active" not in vals:
            stages = self.stage_id | self.env["crm.stage"].browse(vals.get("stage_id") or ())
            if not any(stages.mapped("is_won")):
                return None
        return super()._handle_won_lost(vals, *of_odoo_19)

    def _pls_increment_frequencies(self, from_state=None, to_state=None):
        together = self.env.context.get(TOGETHER)
        if not self:
            return None
        if together and "won" in (from_state, to_state):  # it counts in all stages, whichever it is leaving
            together.leads[from_state, to_state].append(self)
            return None
        if together:
            together.count()  # the order counts: a count falls to a minimum, and no further
        leads = self.with_context(**{PREPARING: True}) if is_applying(self.env) else self
        return super(CrmLead, leads)._pls_increment_frequencies(from_state=from_state, to_state=to_state)

    def _pls_get_lead_pls_values(self, domain=()):
        if not is_preparing(self.env) or list(domain) != [("id", "in", self.ids)]:
            return super()._pls_get_lead_pls_values(domain=domain)
        # Odoo would write all that is pending, in the middle of a batch, to read it from the table.
        found = super()._pls_get_lead_pls_values(domain=[])
        for lead in self:
            lead_values = found[lead.id]
            lead_values["team_id"] = lead_values["team_id"] or 0
            lead_values["values"].insert(0, ("probability", lead.probability))  # before the tags, which ask for it
        return found

    def _pls_update_frequency_table(self, new_frequencies_by_team, step, existing_frequencies_by_team=None):
        if not is_applying(self.env):
            return super()._pls_update_frequency_table(
                new_frequencies_by_team, step, existing_frequencies_by_team=existing_frequencies_by_team
            )
        if any(counts for by_field in new_frequencies_by_team.values() for counts in by_field.values()):
            self.env["manychat.scoring"]._keep(new_frequencies_by_team, step)
        return None

    def _rebuild_pls_frequency_table(self):
        self.env["manychat.scoring"]._forget()
        return super()._rebuild_pls_frequency_table()

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @contextmanager
    def _manychat_scored_together(self):
        """Have Odoo count all that is won or reopened in this context at its end, and not for each stage by itself.

        Yields ``self`` in that context.
        """
        together = _Together()
        yield self.with_context(**{TOGETHER: together})
        together.count()

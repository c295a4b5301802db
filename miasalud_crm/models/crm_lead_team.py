from odoo import models

from .manychat_identity import is_applying

#: In the context while Odoo merges opportunities.
MERGING = "manychat_merging"
#: Odoo's own setting “Rule-Based Assignment” of CRM.
RULES_PARAMETER = "crm.lead.auto.assignment"


class CrmLead(models.Model):
    """Sales team, company and stage belong together, in Odoo's own way: what the chat does fits what people do."""

    _inherit = "crm.lead"  # pylint: disable=consider-merging-classes-inherited

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    def _compute_stage_id(self):
        # Odoo 19 sends an opportunity to the first stage when it changes to a team that does not see its stage. The
        # chat decides the stage of a conversation's opportunity, and so does a user who moves it: nothing else does.
        settled = self.filtered(lambda lead: lead.stage_id and (lead.x_manychat_id or is_applying(self.env)))
        return super(CrmLead, self - settled)._compute_stage_id()

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    def write(self, vals):
        # A merge, also one that a scheduled action makes, would send the survivor to a first stage of its team.
        if self.env.context.get(MERGING) and "stage_id" in vals and self.stage_id and all(self.mapped("x_manychat_id")):
            vals = {name: value for name, value in vals.items() if name != "stage_id"}
        return super().write(vals)

    def _merge_opportunity(self, *args, **kwargs):
        merging = self.with_context(**{MERGING: True})
        return super(CrmLead, merging)._merge_opportunity(*args, **kwargs).with_env(self.env)

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    def _manychat_user(self, values):
        """The salesperson in ``values``, an empty record if there is none."""
        return self.env["res.users"].browse(values.get("user_id") or ())

    def _manychat_within(self, company):
        """``self`` as a person of ``company`` sees it: Odoo then finds the team and the company that it finds for them.

        :param company: ``res.company``, or an empty one: then nothing changes
        """
        return self.with_context(allowed_company_ids=company.ids) if company else self

    def _manychat_settle(self):
        """Have Odoo find team and company now. Later, it would find those of the bridge's user."""
        self._recompute_recordset(["team_id", "company_id"])

    def _manychat_team(self, stage, salesperson, default_team):
        """The team of new opportunities in ``stage``, or an empty one: then Odoo finds the salesperson's own.

        :param salesperson: ``res.users``, or an empty one
        :param default_team: ``crm.team`` of the settings, or an empty one
        """
        reserved_for = stage._teams().filtered("active")
        if not reserved_for:
            return default_team if _is_open_to(default_team, salesperson) else default_team.browse()
        own = reserved_for.filtered(lambda team: salesperson and salesperson in (team.member_ids | team.user_id))
        usable = reserved_for.filtered(lambda team: _is_open_to(team, salesperson))
        return (own or (default_team & usable) or usable or reserved_for)[:1]

    def _manychat_falls_to(self, salesperson, team):
        """Whether a new opportunity of ``team`` that has no salesperson falls to ``salesperson``, the default one.

        It does not where Odoo's own rules assign it, nor where Odoo keeps the two companies apart.

        :param salesperson: ``res.users``, or an empty one
        :param team: ``crm.team``, or an empty one: then Odoo's rules choose one first
        """
        if not salesperson or not _is_open_to(team, salesperson):
            return False
        by_rules = self.env["ir.config_parameter"].sudo().get_param(RULES_PARAMETER)
        return not by_rules or (bool(team) and (team.assignment_optout or not team.assignment_max))

    def _manychat_keeps_team(self, salesperson):
        """Whether the opportunity's team stays when ``salesperson`` comes. Odoo would replace it by their own."""
        self.ensure_one()
        return bool(self.team_id) and _is_open_to(self.team_id, salesperson)

    def _manychat_make_opportunity(self, stage_map):
        """Make an opportunity of a record of type *Lead*, as Odoo's own *Convert* does: no pipeline shows leads.

        :param stage_map: ``manychat.stage.map`` of the event; its team is that of a record without one
        """
        self.ensure_one()
        values = self._convert_opportunity_data(self.partner_id)
        team = self.team_id or stage_map.team_id
        if not team:
            team = self._manychat_team(stage_map.stage_id, self.user_id, self._manychat_default_team())
        if team:  # Odoo would look for another one
            values["team_id"] = team.id
        lead = self._manychat_within(self.user_id.company_id)
        lead.write(values)
        lead._manychat_settle()


def _is_open_to(team, salesperson):
    """Whether ``salesperson``, if any, may be in ``team``: Odoo keeps companies apart."""
    return not salesperson or not team.company_id or team.company_id in salesperson.company_ids

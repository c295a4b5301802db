from odoo import models

from ..moments import naive_utc
from .manychat_identity import APPLYING

#: The id of the user who gets new opportunities of no known adviser.
DEFAULT_USER_PARAMETER = "miasalud_crm.default_user_id"


class CrmLead(models.Model):
    """The salesperson: the user of the chat's commercial adviser, unless an Odoo user chooses another one.

    Without such a user it is the default salesperson, unless Odoo's own rules assign the opportunities.
    """

    _inherit = "crm.lead"  # pylint: disable=consider-merging-classes-inherited

    def _manychat_reassigned(self, values, event):
        """Whether the event names another commercial adviser, and is newer than a user's choice of the salesperson.

        An event that repeats the same adviser is no new choice: bots send everything they know each time.

        :param dict values: what the event carries and no newer one has said
        :param bridge.contract.event.Event event:
        """
        self.ensure_one()
        if values.get("manychat_commercial_advisor_id") in (None, self.manychat_commercial_advisor_id.id):
            return False
        if self.user_id.id == (self.manychat_values or {}).get("user_id", False):
            return False  # no user has chosen a salesperson: nothing to overrule
        chosen = self._manychat_salesperson_dates().get(self.id, self.create_date)
        return naive_utc(event.occurred_at) > chosen

    def _manychat_assign(self, user):
        """Make ``user`` the salesperson of the opportunities on which no user has ever set or removed one.

        Odoo records and announces the assignment as usual.

        :return int: how many opportunities were assigned
        """
        self.env.flush_all()
        self.env.cr.precommit.run()  # the changes of this transaction become history too
        decided = self._manychat_salesperson_dates()
        replaceable = (self.env["res.users"], self._manychat_default_user())
        leads = self.filtered(lambda lead: lead.user_id in replaceable and lead.id not in decided)
        # Do not wait for the mail server.
        leads = leads.with_context(**APPLYING, mail_notify_force_send=False)._manychat_within(user.company_id)
        for group in leads.grouped("team_id").values():
            keeps = group[0]._manychat_keeps_team(user)
            group.write({"user_id": user.id, **({"team_id": group[0].team_id.id} if keeps else {})})
        leads._manychat_settle()
        for lead in leads:  # the chat chose this user, so the chat may change it again
            lead.manychat_values = {**(lead.manychat_values or {}), "user_id": user.id}
        return len(leads)

    def _manychat_default_user(self):
        """The user that the settings name for opportunities of no known adviser, or an empty one."""
        user_id = self.env["ir.config_parameter"].sudo().get_param(DEFAULT_USER_PARAMETER)
        # A search does not find a user who has been archived since.
        return self.env["res.users"].search([("id", "=", int(user_id))]) if user_id else self.env["res.users"]

    def _manychat_salesperson_dates(self):
        """When each opportunity's salesperson last changed, according to its chatter.

        :return dict: lead id → datetime in UTC; without those whose salesperson never changed
        """
        field = self.env["ir.model.fields"]._get("crm.lead", "user_id")
        messages = self.env["mail.message"].search(
            [("model", "=", "crm.lead"), ("res_id", "in", self.ids), ("tracking_value_ids.field_id", "=", field.id)],
            order="date",
        )
        return {message.res_id: message.date for message in messages}

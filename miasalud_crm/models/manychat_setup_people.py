from odoo import api, models

from .crm_lead_links import CHAT_URL_PARAMETER
from .crm_lead_salesperson import DEFAULT_USER_PARAMETER
from .crm_lead_team import RULES_PARAMETER
from .manychat_advisor import COMMERCIAL
from .manychat_alert import RECEIVER_PARAMETER
from .manychat_setup import _step


class ManychatSetup(models.AbstractModel):
    """The steps of the people: who gets the opportunities, how they reach the chat, and who hears of problems."""

    _inherit = "manychat.setup"  # pylint: disable=consider-merging-classes-inherited

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    def _people_step(self):
        default = self._named_user(DEFAULT_USER_PARAMETER)
        known, unknown = self._advisers()
        ways = []
        if known:
            ways.append(self._known_sentence(known))
        if rules := self._rules_sentence():
            ways.append(rules)
        elif default.active:
            ways.append(self.env._("The others go to the default salesperson, %s.", default.name))
            if not known:
                ways = [self.env._("New opportunities go to the default salesperson, %s.", default.name)]
        text, state = " ".join(ways), "done"
        if default and not default.active:
            state = "warning"
            sentence = self.env._("The default salesperson, %s, is archived: choose another one.", default.name)
            text = f"{sentence} {text}".strip()
        elif not (rules or default):
            state = "todo" if unknown or not known else "done"
            if unknown:
                text = f"{text} {self._unknown_sentence(unknown)}".strip()
            elif not known:
                text = self.env._(
                    "New opportunities have no salesperson yet. Choose a default salesperson, give the advisers of "
                    "your bots their Odoo users, or let Odoo's own assignment rules distribute the opportunities (CRM "
                    "▸ Configuration ▸ Settings ▸ Rule-Based Assignment)."
                )
        actions = [(self.env._("Advisers"), "miasalud_crm.manychat_advisor_action")]
        settings = (self.env._("Choose a Salesperson"), "miasalud_crm.manychat_settings_action")
        actions.insert(1 if unknown else 0, settings)
        return _step("people", state, self.env._("The salespeople"), text, actions, optional=True)

    @api.model
    def _advisers(self):
        """How many commercial advisers have an Odoo user, and how many have none."""
        groups = self.env["manychat.advisor"]._read_group([("role", "=", COMMERCIAL)], [], ["__count", "user_id:count"])
        count, known = groups[0]
        return known, count - known

    @api.model
    def _known_sentence(self, known):
        if known == 1:
            return self.env._("The opportunities of one adviser go to their Odoo user.")
        return self.env._("The opportunities of %s advisers go to their Odoo users.", known)

    @api.model
    def _unknown_sentence(self, unknown):
        if unknown == 1:
            return self.env._("One adviser has no Odoo user, so their opportunities have no salesperson.")
        return self.env._("%s advisers have no Odoo user, so their opportunities have no salesperson.", unknown)

    @api.model
    def _rules_sentence(self):
        """How Odoo's own rules assign opportunities; empty if they assign none."""
        if not self.env["ir.config_parameter"].sudo().get_param(RULES_PARAMETER):
            return ""
        members = self.env["crm.team.member"].sudo()
        takes_part = [("assignment_optout", "=", False), ("assignment_max", ">", 0)]
        if not members.search([*takes_part, ("crm_team_id.assignment_optout", "=", False)], limit=1):
            return ""
        job = self.env.ref("crm.ir_cron_crm_lead_assign", raise_if_not_found=False)
        if job and job.sudo().active:
            return self.env._("Odoo's assignment rules give opportunities without a salesperson to the sales teams.")
        return self.env._(
            "Odoo's assignment rules give opportunities without a salesperson to a sales team's members when a manager "
            "presses Assign Leads on the team."
        )

    @api.model
    def _named_user(self, parameter):
        """The user whose id the system parameter holds, archived or not; empty if there is none."""
        user_id = self.env["ir.config_parameter"].sudo().get_param(parameter)
        users = self.env["res.users"].sudo()
        return users.browse(int(user_id)).exists() if (user_id or "").isdigit() else users

    def _chat_link_step(self):
        if self.env["ir.config_parameter"].sudo().get_param(CHAT_URL_PARAMETER):
            state = "done"
            text = self.env._("Each opportunity has a button that opens the person's chat in ManyChat.")
        else:
            state = "todo"
            text = self.env._(
                "With the address of your chats, each opportunity has a button that opens the person's chat in "
                "ManyChat."
            )
        actions = [(self.env._("Settings"), "miasalud_crm.manychat_settings_action")]
        return _step("chat_link", state, self.env._("The link to the chat"), text, actions, optional=True)

    def _alert_receiver_step(self):
        chosen = self._named_user(RECEIVER_PARAMETER)
        receiver = self.env["manychat.alert"]._receiver()
        if chosen.active:
            state, text = "done", self.env._("%s gets an activity when something goes wrong.", chosen.name)
        elif chosen:
            state = "warning"
            text = self.env._(
                "%(chosen)s is archived, so %(receiver)s gets the alerts. Choose another receiver.",
                chosen=chosen.name,
                receiver=receiver.name,
            )
        else:
            state = "todo"
            text = self.env._(
                "Choose who gets an activity when something goes wrong. Until then it is %s.", receiver.name
            )
        actions = [(self.env._("Settings"), "miasalud_crm.manychat_settings_action")]
        return _step("alert_receiver", state, self.env._("The alert receiver"), text, actions, optional=True)

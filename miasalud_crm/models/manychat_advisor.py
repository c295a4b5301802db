from odoo import api, fields, models
from odoo.exceptions import ValidationError

from ..chat_number import ChatNumber
from ..decisions import changing
from ..rights import access_required

COMMERCIAL = "commercial"
MEDICAL = "medical"
#: Field of the opportunity for each role.
LEAD_FIELDS = {COMMERCIAL: "manychat_commercial_advisor_id", MEDICAL: "manychat_medical_advisor_id"}
#: Open opportunities. Lost ones are archived, and a search leaves archived ones out.
OPEN = [("type", "=", "opportunity"), ("stage_id.is_won", "=", False)]


class ManychatAdvisor(models.Model):
    """An adviser with their number in ManyChat and their Odoo user."""

    _name = "manychat.advisor"
    _description = "ManyChat Adviser"
    _inherit = "manychat.unique"
    _unique = ((["external_id", "role"], None),)
    _order = "to_complete desc, role, name, external_id"

    name = fields.Char(compute="_compute_name", store=True, readonly=False, required=True, precompute=True)
    external_id = ChatNumber("ManyChat Adviser ID", required=True, help="The number that the chat sends.")
    role = fields.Selection([(COMMERCIAL, "Commercial"), (MEDICAL, "Medical")], required=True, default=COMMERCIAL)
    user_id = fields.Many2one(
        "res.users",
        "Odoo User",
        ondelete="set null",
        help="A commercial adviser's user becomes the salesperson of the opportunities assigned to them.",
    )
    active = fields.Boolean(default=True)
    to_complete = fields.Boolean(
        compute="_compute_to_complete",
        store=True,
        precompute=True,
        help="A commercial adviser without an Odoo user, or a medical adviser without a name.",
    )
    lead_count = fields.Integer(
        "Opportunities", compute="_compute_lead_count", help="Open opportunities that name this adviser."
    )

    # ------------------------------------------------------------
    # Constraints
    # ------------------------------------------------------------

    @api.constrains("external_id", "role")
    def _check_external_id(self):
        for advisor in self:
            if advisor.external_id <= 0:
                raise ValidationError(self.env._("The ManyChat adviser ID must be a positive number."))
            same = self.with_context(active_test=False).search(
                [
                    ("external_id", "=", advisor.external_id),
                    ("role", "=", advisor.role),
                    ("id", "!=", advisor.id),
                ],
                limit=1,
            )
            if same:
                raise ValidationError(
                    self.env._(
                        "Adviser %(id)s is already listed for this role, as “%(name)s”.",
                        id=advisor.external_id,
                        name=same.name,
                    )
                )

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("external_id", "user_id")
    def _compute_name(self):
        for advisor in self:
            # A name of digits is only the number, which the adviser has until a user says who it is.
            is_named = advisor.name and not advisor.name.strip().isdigit()
            # In a form, the user who was chosen before. A record that is saved gives it up in write().
            was_of_user = advisor._origin.user_id != advisor.user_id and advisor.name == advisor._origin.user_id.name
            if not is_named or (was_of_user and advisor.user_id):
                advisor.name = advisor.user_id.name or (str(advisor.external_id) if advisor.external_id else False)

    @api.depends("role", "user_id", "name", "external_id")
    def _compute_to_complete(self):
        for advisor in self:
            known = advisor.role == MEDICAL and advisor.name != str(advisor.external_id)
            advisor.to_complete = not advisor.user_id and not known

    @api.depends("role")
    def _compute_lead_count(self):
        counts = {}
        for field in LEAD_FIELDS.values():
            domain = [(field, "in", self.ids), *OPEN]
            counts |= dict(self.env["crm.lead"]._read_group(domain, [field], ["__count"]))
        for advisor in self:
            advisor.lead_count = counts.get(advisor, 0)

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    @api.model_create_multi
    def create(self, vals_list):
        advisors = super().create(vals_list)
        advisors.filtered("user_id")._assign_leads()
        return advisors

    def write(self, vals):
        if vals.get("user_id") and "name" not in vals:
            # The name of the user so far makes way for the new one's; a name that a user has typed stays.
            theirs = self.filtered(lambda advisor: advisor.user_id and advisor.name == advisor.user_id.name)
            name = self.env["res.users"].browse(vals["user_id"]).name
            super(ManychatAdvisor, theirs).write({"name": name})
        result = super().write(vals)
        if vals.get("user_id"):
            self._assign_leads()
        return result

    def unlink(self):
        with changing(self.env, "manychat_medical_advisor_id", self.ids):
            return super().unlink()

    # ------------------------------------------------------------
    # Actions
    # ------------------------------------------------------------

    @access_required("read")
    def action_view_leads(self):
        """Open the open opportunities that name this adviser."""
        self.ensure_one()
        domain = [(LEAD_FIELDS[self.role], "=", self.id), *OPEN]
        return self.env["crm.lead"]._manychat_list_action(self.display_name, domain)

    @api.model
    @access_required("read")
    def action_open(self):
        """Open the list of advisers, filtered by *To Complete* if there are any."""
        action = self.env["ir.actions.act_window"]._for_xml_id("miasalud_crm.manychat_advisor_action")
        to_complete = self.search_count([("to_complete", "=", True)], limit=1)
        return {**action, "context": {"search_default_to_complete": 1} if to_complete else {}}

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @api.model
    def _find_or_create(self, named):
        """Find the advisers that events name. Create unknown ones, for a user to complete.

        :param set named: pairs of role and ManyChat id
        :return dict: such a pair → ``manychat.advisor``
        """
        if not named:
            return {}
        domain = [("external_id", "in", sorted({number for _role, number in named}))]
        known = self.with_context(active_test=False).search_fetch(domain, ["role", "external_id", "user_id"])
        found = {(advisor.role, advisor.external_id): advisor for advisor in known}
        if missing := sorted(named - found.keys()):
            created = self.create([{"role": role, "external_id": number} for role, number in missing])
            found |= dict(zip(missing, created, strict=True))
        return {key: found[key] for key in named}

    @api.model
    def _names_for_bots(self):
        """Names of the medical advisers by their number in the chat, as JSON has it."""
        advisors = self.with_context(active_test=False).search([("role", "=", MEDICAL)])
        return {str(advisor.external_id): advisor.name for advisor in advisors}

    def _assign_leads(self):
        """Set the salesperson of open opportunities to the user of their adviser.

        Only if no user has ever set or removed a salesperson. Odoo records and announces the assignment as usual.
        """
        assigned = 0
        for advisor in self.filtered(lambda advisor: advisor.role == COMMERCIAL and advisor.active):
            without = [False, *self.env["crm.lead"]._manychat_default_user().ids]
            domain = [(LEAD_FIELDS[COMMERCIAL], "=", advisor.id), ("user_id", "in", without), *OPEN]
            # As superuser: a user who may edit advisers may not see all of the adviser's opportunities.
            leads = self.env["crm.lead"].sudo().search(domain, order="id")
            leads = leads.filtered(lambda lead, advisor=advisor: advisor._salesperson(lead.company_id))
            assigned += leads._manychat_assign(advisor.user_id)
        if assigned:
            self.env.user._bus_send(
                "simple_notification",
                {
                    "type": "success",
                    "title": ", ".join(self.mapped("display_name")),
                    "message": self.env._("Opportunities that now have a salesperson: %s.", assigned),
                },
            )

    def _salesperson(self, company):
        """The user to assign, if active and with access to ``company`` (if any); else an empty record."""
        self.ensure_one()
        user = self.user_id
        return user if user.active and (not company or company in user.company_ids) else user.browse()

from odoo import api, fields, models
from odoo.exceptions import ValidationError

COMMERCIAL = "commercial"
MEDICAL = "medical"


class ManychatAdvisor(models.Model):
    """An adviser as ManyChat numbers them, and the Odoo user they are."""

    _name = "manychat.advisor"
    _description = "ManyChat Adviser"
    _inherit = "manychat.unique"
    _unique = ((["external_id", "role"], None),)
    _order = "role, name, external_id"

    name = fields.Char(compute="_compute_name", store=True, readonly=False, required=True, precompute=True)
    external_id = fields.Integer("ManyChat Adviser ID", required=True, help="The number that the chat sends.")
    role = fields.Selection([(COMMERCIAL, "Commercial"), (MEDICAL, "Medical")], required=True, default=COMMERCIAL)
    user_id = fields.Many2one(
        "res.users",
        "Odoo User",
        ondelete="set null",
        help="A commercial adviser's user becomes the salesperson of the opportunities assigned to them.",
    )
    active = fields.Boolean(default=True)

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

    @api.depends("external_id", "user_id")
    def _compute_name(self):
        for advisor in self:
            if not advisor.name and (advisor.user_id or advisor.external_id):
                advisor.name = advisor.user_id.name or str(advisor.external_id)

    def _salesperson(self, company):
        """The user to assign, if there is one who may be: still employed, and with access to ``company`` (if any)."""
        self.ensure_one()
        user = self.user_id
        return user if user.active and (not company or company in user.company_ids) else user.browse()

    @api.model
    def _find_or_create(self, role, external_ids):
        """The advisers of ``role`` with these ManyChat ids; unknown ones appear, to be completed by a person.

        :param external_ids: iterable of int
        :return dict: id → ``manychat.advisor``
        """
        wanted = set(external_ids)
        found = self.with_context(active_test=False).search([("role", "=", role), ("external_id", "in", list(wanted))])
        missing = sorted(wanted - set(found.mapped("external_id")))
        found |= self.create([{"role": role, "external_id": external_id} for external_id in missing])
        return {advisor.external_id: advisor for advisor in found}

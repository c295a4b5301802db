from odoo import api, fields, models
from odoo.exceptions import ValidationError

from bridge.events import normalize_label


class ManychatStageMap(models.Model):
    """One ManyChat stage and the pipeline stage it stands for, 1:1 both ways."""

    _name = "manychat.stage.map"
    _description = "ManyChat Stage"
    _inherit = "manychat.unique"
    _order = "sequence, id"
    # An archived row is not in the way of its successor.
    _unique = (
        (["label_key"], "active"),
        (["manychat_stage_id"], "active AND manychat_stage_id > 0"),
        (["stage_id"], "active"),
    )

    name = fields.Char("ManyChat Stage", required=True, help="The stage's label in ManyChat.")
    label_key = fields.Char(compute="_compute_label_key", store=True, precompute=True)
    manychat_stage_id = fields.Integer(
        "ManyChat Stage ID", aggregator=None, help="The stage's number in ManyChat. It is not an Odoo ID."
    )
    stage_id = fields.Many2one("crm.stage", "Pipeline Stage", required=True, ondelete="restrict", index=True)
    team_id = fields.Many2one(
        "crm.team", "Sales Team", ondelete="set null", help="The team of the opportunities that begin in this stage."
    )
    sequence = fields.Integer(default=10)
    active = fields.Boolean(default=True)
    alias_ids = fields.One2many("manychat.stage.alias", "map_id", "Aliases")

    @api.constrains("name", "manychat_stage_id", "stage_id", "active")
    def _check_one_to_one(self):
        for row in self.filtered("active"):
            if row.manychat_stage_id < 0:
                raise ValidationError(self.env._("The ManyChat stage ID must be a positive number."))
            # As superuser: what a row of another company has taken is taken.
            others = self.sudo().search([("id", "!=", row.id)])
            if others.filtered(lambda other, row=row: other.stage_id == row.stage_id):
                raise ValidationError(
                    self.env._(
                        "The pipeline stage “%s” already belongs to another ManyChat stage. "
                        "Each pipeline stage belongs to one ManyChat stage only; "
                        "use an alias for a second name of the same stage.",
                        row.stage_id.name,
                    )
                )
            if others.filtered(lambda other, row=row: other.label_key == row.label_key):
                raise ValidationError(
                    self.env._(
                        "The ManyChat stage “%s” is already in the list (letter case and spaces do not count).",
                        row.name,
                    )
                )
            if row.manychat_stage_id and others.filtered(
                lambda other, row=row: other.manychat_stage_id == row.manychat_stage_id
            ):
                raise ValidationError(
                    self.env._("The ManyChat stage ID %s already belongs to another stage.", row.manychat_stage_id)
                )

    @api.depends("name")
    def _compute_label_key(self):
        for row in self:
            row.label_key = normalize_label(row.name or "")

    @api.model_create_multi
    def create(self, vals_list):
        rows = super().create(vals_list)
        rows._release_open_aliases()
        return rows

    def write(self, vals):
        result = super().write(vals)
        if {"name", "manychat_stage_id", "active"} & vals.keys():
            self._release_open_aliases()
        return result

    def _release_open_aliases(self):
        """Let events that waited for a stage which now has a row of its own go through; their aliases go."""
        rows = self.filtered("active")
        aliases = self.env["manychat.stage.alias"].sudo().search([("map_id", "=", False)])
        answered = aliases.filtered(
            lambda alias: (
                alias.manychat_stage_id in rows.filtered("manychat_stage_id").mapped("manychat_stage_id")
                if alias.manychat_stage_id
                else alias.label_key in rows.mapped("label_key")
            )
        )
        (answered | rows.alias_ids)._release_events()
        answered.unlink()

    @api.model
    def _resolver(self):
        """A function from a ManyChat stage, ``(number or None, label or None)``, to its row (or an empty one).

        The number wins where both are given. Rows come before aliases.
        """
        rows = self.sudo().search([("active", "=", True)])
        aliases = self.env["manychat.stage.alias"].sudo().search([("map_id.active", "=", True)])
        by_id = {alias.manychat_stage_id: alias.map_id for alias in aliases if alias.manychat_stage_id}
        by_id.update({row.manychat_stage_id: row for row in rows if row.manychat_stage_id})
        by_label = {alias.label_key: alias.map_id for alias in aliases if not alias.manychat_stage_id}
        by_label.update({row.label_key: row for row in rows})
        nothing = self.browse()

        def resolve(number, label):
            if number:
                return by_id.get(number, nothing)
            return by_label.get(normalize_label(label or ""), nothing)

        return resolve

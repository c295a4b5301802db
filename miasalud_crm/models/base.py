from odoo import api, models

from ..decisions import settle


class Base(models.AbstractModel):
    """An import sets a savepoint for which Odoo flushes nothing, and rolls it back if a row is wrong.

    Within it, Odoo has decisions written for the savepoint of each batch: also what was decided before. That would be
    taken back, too, and nothing would be left to say so.
    """

    _inherit = "base"

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    @api.model
    def load(self, fields, data):
        settle(self.env)
        return super().load(fields, data)

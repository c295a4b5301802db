from odoo import api, models

#: The key in the context of a batch: :class:`Defaults`.
DEFAULTS = "manychat_defaults"


class Defaults(dict):
    """Defaults that were asked for in a batch. Equal to itself only: Odoo reuses an environment of equal context."""

    __slots__ = ()
    __eq__ = object.__eq__
    __hash__ = object.__hash__


class IrDefault(models.Model):
    _inherit = "ir.default"

    @api.model
    def _get_model_defaults(self, model_name, condition=False):
        # Odoo asks for each record that it creates. In Odoo 18, finding the answer in Odoo's own cache takes as long as
        # a twentieth of the whole batch.
        known = self.env.context.get(DEFAULTS)
        # A default that changes within the transaction makes Odoo forget what it has cached, and says so here.
        if not isinstance(known, Defaults) or self.env.registry.cache_invalidated:
            return super()._get_model_defaults(model_name, condition)
        key = (self.env.uid, self.env.company.id, model_name, condition)
        if key not in known:
            known[key] = super()._get_model_defaults(model_name, condition)
        return known[key]

from odoo import api, models

from ..private_sql import private
from .manychat_scoring import is_preparing


class CrmLeadScoringFrequency(models.Model):
    _inherit = "crm.lead.scoring.frequency"

    @api.model
    def search_read(self, *args, **kwargs):
        if is_preparing(self.env):
            return []  # what is there is looked up when the counts are added up
        return super().search_read(*args, **kwargs)

    def _write_multi(self, vals_list):
        # Opportunities that are won or lost at the same moment count in the same rows. The bridge, or Odoo itself,
        # repeats the later transaction; that is no error for any log.
        with private(self.env.cr, keep_message=True):
            return super()._write_multi(vals_list)

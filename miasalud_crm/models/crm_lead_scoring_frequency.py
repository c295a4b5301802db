from odoo import models

from ..private_sql import private


class CrmLeadScoringFrequency(models.Model):
    _inherit = "crm.lead.scoring.frequency"

    def _write_multi(self, vals_list):
        # Opportunities that are won or lost at the same moment count in the same rows. The bridge, or Odoo itself,
        # repeats the later transaction; that is no error for any log.
        with private(self.env.cr, keep_message=True):
            return super()._write_multi(vals_list)

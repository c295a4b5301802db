from odoo import api, models

BUILDER = "miasalud_crm.group_bot_builder"


class ResGroups(models.Model):
    _inherit = "res.groups"

    @api.model
    def _manychat_show_role(self):
        """Have the form of a user offer the role “ManyChat Bot Builder”: Odoo 18 and 19 do so in different ways."""
        group = self.env.ref(BUILDER)
        if "category_id" in group._fields:
            category = {"xml_id": "miasalud_crm.category_manychat", "values": {"name": "ManyChat", "sequence": 6}}
            group.category_id = self.env["ir.module.category"]._load_records([category])
        else:
            privilege = {"name": "ManyChat", "category_id": self.env.ref("base.module_category_sales").id}
            record = {"xml_id": "miasalud_crm.privilege_manychat", "values": privilege}
            group.privilege_id = self.env["res.groups.privilege"]._load_records([record])

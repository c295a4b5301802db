from odoo import api, models, tools


class IrUiMenu(models.Model):
    _inherit = "ir.ui.menu"

    @api.model
    @tools.ormcache("xml_id", "self.env.lang")
    def _manychat_path(self, xml_id):
        """The names from the top menu down to this one, in the language of the environment.

        Cached, since each name costs a query, and the checklist asks for them again and again. Odoo empties the cache
        whenever a menu changes.
        """
        menu, names = self.env.ref(xml_id, raise_if_not_found=False), []
        if not menu:  # an administrator has deleted it
            return "ManyChat"
        menu = menu.sudo()
        while menu:
            names.insert(0, menu.name)
            menu = menu.parent_id
        return " ▸ ".join(names)

from odoo import api, models

from ..rights import bridge_only


class ManychatBridge(models.Model):
    """Settings that people make in Odoo and the bridge keeps in SQL, where it reads them while Odoo is away."""

    _inherit = "manychat.bridge"  # pylint: disable=consider-merging-classes-inherited

    # ------------------------------------------------------------
    # RPC
    # ------------------------------------------------------------

    @api.model
    @bridge_only
    def heartbeat(self, name, version, stuck=(), write_back=None):
        return super().heartbeat(name, version, stuck, write_back) | {"settings": self._settings()}

    # ------------------------------------------------------------
    # Business methods
    # ------------------------------------------------------------

    @api.model
    def _settings(self):
        """The settings by name, each as JSON has it. A module adds its own."""
        return {"write_back": self.env["manychat.write.back"]._rules()}

import re

from odoo import models

from bridge.contract.payloads import EventType

_WEBHOOKS = {each.spec.path for each in EventType}


class IrHttp(models.AbstractModel):
    _inherit = "ir.http"

    @classmethod
    def _match(cls, path_info):
        """Take the webhooks' addresses with doubled slashes too: Odoo would redirect, and bots do not follow."""
        path = re.sub(r"/+", "/", path_info).removesuffix("/")
        return super()._match(path if path in _WEBHOOKS else path_info)

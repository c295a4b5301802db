import re

from odoo import models
from odoo.exceptions import AccessDenied
from odoo.http import request

from bridge.contract import person
from bridge.contract.payloads import WEBHOOKS

from ..rights import machine_calls

_WEBHOOKS = {each.spec.path for each in WEBHOOKS}
#: Where a machine user's key opens something, besides the RPC routes without a login: there the method is checked.
RPC_PATH = "/json/2/"


class IrHttp(models.AbstractModel):
    _inherit = "ir.http"

    @classmethod
    def _match(cls, path_info):
        """Take bots' addresses with doubled slashes too: Odoo would redirect, and bots do not follow."""
        path = re.sub(r"/+", "/", path_info).removesuffix("/")
        if f"{path}/".startswith(person.PATH):
            # Whatever the id is, or if there is none: its route reads it from the address as it was sent.
            return super()._match(f"{person.PATH}id")
        return super()._match(path if path in _WEBHOOKS else path_info)

    @classmethod
    def _authenticate(cls, endpoint):
        result = super()._authenticate(endpoint)
        # Pages, reports, downloads: routes check rights in their own ways, and a machine user needs none of them.
        if not request.httprequest.path.startswith(RPC_PATH) and machine_calls(request.env) is not None:
            raise AccessDenied
        return result

    def session_info(self):
        """Of those who have the counter of problems, how many there are: the menu bar need not ask at once."""
        info, alerts = super().session_info(), self.env["manychat.alert"]
        if info.get("uid") and alerts._is_counted():
            info["manychat_problems"] = alerts.sudo().search_count([("since", "!=", False)])
        return info

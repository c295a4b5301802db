from odoo import api, models, tools
from odoo.exceptions import AccessDenied

from ..decisions import changing
from ..rights import LISTED_CALLS, machine_calls

MACHINES = ("miasalud_crm.user_bridge", "miasalud_crm.user_webhook")
USER_TYPES = ("base.group_user", "base.group_portal", "base.group_public")


class ResUsers(models.Model):
    _inherit = "res.users"

    def unlink(self):
        with changing(self.env, "user_id", self.ids):
            return super().unlink()

    def _check_credentials(self, credential, env):
        if env.get("interactive", True) and machine_calls(self.env(su=False)) is not None:
            raise AccessDenied  # a machine opens no session, not even with a password that a user has set
        return super()._check_credentials(credential, env)

    @api.model
    @tools.ormcache("uid")
    def _manychat_machine_calls(self, uid):
        """The calls listed for the user ``uid``, or ``None`` if that is no machine user.

        A machine user has a group of :data:`LISTED_CALLS` and no user type. A person may be in such a group, too. The
        two users that the addon made stay machines, whatever an administrator adds to them.
        """
        user = self.sudo().browse(uid)
        groups = [group for group in LISTED_CALLS if user.has_group(group)]
        made_here = uid in [self.env["ir.model.data"]._xmlid_to_res_id(name) for name in MACHINES]
        if not made_here and (not groups or any(user.has_group(group) for group in USER_TYPES)):
            return None
        return frozenset().union(*(LISTED_CALLS[group] for group in groups))

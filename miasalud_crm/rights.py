"""Guards for the methods that people and the bridge call from outside."""

from functools import wraps

from odoo.exceptions import AccessError

from .private_sql import private


def bridge_only(method):
    """Refuse callers outside the group “ManyChat Bridge”; run ``method`` as superuser for the others.

    The group itself has no access rights: the bridge may do what these methods do, and nothing else. What they write is
    what people said, so no log shows it when it fails.
    """

    @wraps(method)
    def guarded(self, *args, **kwargs):
        if not self.env.user.has_group("miasalud_crm.group_bridge"):
            raise AccessError(self.env._("Only the ManyChat bridge may call this."))
        with private(self.env.cr):
            result = method(self.sudo(), *args, **kwargs)
            self.sudo().env.flush_all()
        return result

    return guarded


def managers_only(method):
    """Refuse callers that are not sales managers."""

    @wraps(method)
    def guarded(self, *args, **kwargs):
        if not self.env.su and not self.env.user.has_group("sales_team.group_sale_manager"):
            raise AccessError(self.env._("Only sales managers may do this."))
        return method(self, *args, **kwargs)

    return guarded

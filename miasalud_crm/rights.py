"""Guards for the methods that people and the bridge call from outside."""

from functools import wraps

from odoo.exceptions import AccessError

from .private_sql import private


def bridge_only(method):
    """Refuse callers outside the group “ManyChat Bridge”; run ``method`` as superuser for the others.

    It runs in the company's language: stage names and reasons reach SQL as people see them in Odoo. The group itself
    has no access rights: the bridge may do what these methods do, and nothing else. What they write is what people
    said, so no log shows it when it fails.
    """

    @wraps(method)
    def guarded(self, *args, **kwargs):
        if not self.env.user.has_group("miasalud_crm.group_bridge"):
            raise AccessError(self.env._("Only the ManyChat bridge may call this."))
        self = self.sudo()
        self = self.with_context(lang=company_language(self.env))
        with private(self.env.cr):
            result = method(self, *args, **kwargs)
            self.env.flush_all()
        return result

    return guarded


def company_language(env):
    """The language of the company of ``env``, if it is installed; else English."""
    code = env.company.partner_id.lang
    return code if code in dict(env["res.lang"].get_installed()) else "en_US"


def managers_only(method):
    """Refuse callers that are not sales managers."""

    @wraps(method)
    def guarded(self, *args, **kwargs):
        if not self.env.su and not self.env.user.has_group("sales_team.group_sale_manager"):
            raise AccessError(self.env._("Only sales managers may do this."))
        return method(self, *args, **kwargs)

    return guarded

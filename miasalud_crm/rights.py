"""Who may call what from outside: guards of methods, and the calls of the machine users."""

import sys
from functools import wraps

import odoo
from odoo.exceptions import AccessError
from odoo.service import model as service_model

from .private_sql import private

#: The groups of machine users, and the only calls that each may make from outside: pairs of model and method. Another
#: addon may add pairs; each method must check its own caller.
LISTED_CALLS = {
    "miasalud_crm.group_bridge": {
        ("crm.lead", "manychat_apply"),
        ("crm.lead", "manychat_get_states"),
        ("crm.lead", "manychat_get_stage_history"),
        ("crm.lead", "manychat_record_write_back"),
        ("manychat.bridge", "get_active"),
        ("manychat.bridge", "get_ended"),
        ("manychat.bridge", "get_refusals"),
        ("manychat.bridge", "heartbeat"),
        ("manychat.bridge", "record_refusals"),
        ("manychat.bridge", "sign_off"),
        ("manychat.event", "erase"),
        ("manychat.event", "get_finished"),
        ("manychat.event", "get_history"),
        ("manychat.event", "get_overdue"),
        ("manychat.event", "record_outcomes"),
        ("manychat.event", "send_again"),
        # These work only while a sales manager has opened a migration.
        ("manychat.migration", "apply_events"),
        ("manychat.migration", "get_overview"),
        ("manychat.migration", "get_people"),
        ("manychat.migration", "get_writers"),
        ("manychat.migration", "roll_back"),
    },
    # The addon itself acts as this user. No key belongs to it.
    "miasalud_crm.group_webhook": set(),
}

#: The groups that may read and try the requests of bots.
BOT_BUILDERS = ("sales_team.group_sale_manager", "miasalud_crm.group_bot_builder")


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

    guarded.is_bridge_only = True
    return guarded


def company_language(env):
    """The language of the company of ``env``, if it is installed; else English."""
    return installed_language(env, env.company.partner_id.lang)


def installed_language(env, code):
    """``code`` if that language is installed; else English."""
    return code if code in dict(env["res.lang"].get_installed()) else "en_US"


def managers_only(method):
    """Refuse callers that are not sales managers."""

    @wraps(method)
    def guarded(self, *args, **kwargs):
        if not self.env.su and not self.env.user.has_group("sales_team.group_sale_manager"):
            raise AccessError(self.env._("Only sales managers may do this."))
        return method(self, *args, **kwargs)

    return guarded


def bot_builders_only(method):
    """Refuse callers that are neither bot builders nor sales managers. The method shows nothing of any sale."""

    @wraps(method)
    def guarded(self, *args, **kwargs):
        if not self.env.su and not any(self.env.user.has_group(group) for group in BOT_BUILDERS):
            raise AccessError(self.env._("Only bot builders and sales managers may do this."))
        return method(self, *args, **kwargs)

    return guarded


def access_required(operation):
    """Refuse callers who may not do ``operation`` (``read``, ``write``, ``create``) on the records: for buttons.

    Odoo offers each public method to every user with a login, customers of the portal included.
    """

    def decorate(method):
        @wraps(method)
        def guarded(self, *args, **kwargs):
            self.check_access(operation)
            return method(self, *args, **kwargs)

        return guarded

    return decorate


def machine_calls(env):
    """The pairs of model and method that the environment's user may call from outside; ``None``: not a machine user."""
    # A process serves several databases, and the addon may not be installed in this one.
    find = getattr(env.registry["res.users"], "_manychat_machine_calls", None)
    return find(env["res.users"], env.uid) if find and env.uid and not env.su else None


def _check_call(model, name):
    """:raises AccessError: a machine user calls a method that is not listed"""
    calls = machine_calls(model.env)
    if calls is not None and (model._name, name) not in calls:
        raise AccessError(model.env._("This user may only make the calls of the ManyChat bridge."))


def _guard_calls(module, function_name):
    """Let Odoo's function check the calls of machine users first.

    Access rights cannot do it: public methods of Odoo act as superuser, or, in Odoo 18, check no right (``onchange``).
    Every call from outside passes through these functions, on the way to the method: ``/jsonrpc``, ``/xmlrpc/2``,
    ``/json/2`` and ``/web/dataset``. Modules that have imported a function before get the guarded one, too.
    """
    original = getattr(module, function_name)

    @wraps(original)
    def guarded(model, name, *args, **kwargs):
        _check_call(model, name)
        return original(model, name, *args, **kwargs)

    for each in list(sys.modules.values()):
        if vars(each).get(function_name) is original:
            setattr(each, function_name, guarded)


_guard_calls(service_model, "get_public_method")
if hasattr(odoo.api, "call_kw"):  # 18: it does not call the other one itself
    _guard_calls(odoo.api, "call_kw")

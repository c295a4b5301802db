"""Whether a database may write the history of a batch together: not if a module has its own way of writing it."""

import logging

_logger = logging.getLogger(__name__)

_MAIL_THREAD = "odoo.addons.mail.models.mail_thread"
_OURS = "odoo.addons.miasalud_crm.models.crm_lead_history"

#: What ``apply/history.py`` passes over or answers in advance: by model, the methods, and the modules whose definitions
#: of them were read and do nothing more for the message about a creation or a change. A definition from anywhere else
#: makes the whole database write its history as Odoo does, one opportunity at a time; also one that a module puts into
#: the place of another while Odoo runs, as *Automation Rules* does for automations that wait for messages.
KNOWN = {
    "crm.lead": {
        "message_post": {
            _MAIL_THREAD,
            _OURS,
            "odoo.addons.rating.models.mail_thread",  # for a message with a rating
            "odoo.addons.sms.models.mail_thread",  # for a message of type “sms”
        },
        "_message_compute_parent_id": {_MAIL_THREAD, _OURS},
        "_message_create": {_MAIL_THREAD, _OURS},
        "_message_log": {_MAIL_THREAD, _OURS},
        "_message_log_batch": {_MAIL_THREAD},
        "_message_track": {_MAIL_THREAD, _OURS},
        "_track_discard": {_MAIL_THREAD, _OURS},
    },
    "mail.message": {
        "create": {"odoo.addons.mail.models.mail_message", "odoo.models", "odoo.orm.models"},
    },
}

#: Pairs of database and what was said of it in the log.
_logged = set()


def overrides(env):
    """The methods that a module overrides in a way that is not known: sorted list of “model.method (module)”."""
    found = []
    for model, methods in KNOWN.items():
        for definitions in (vars(cls) for cls in type(env[model]).__mro__):
            for method in methods.keys() & definitions.keys():
                module = _module(definitions[method])
                if module not in methods[method]:
                    found.append(f"{model}.{method} ({module})")
    return sorted(found)


def is_odoos_way(env):
    """Whether this database writes its history one opportunity at a time. The log says why, once."""
    found = overrides(env)
    if found and (entry := (env.cr.dbname, *found)) not in _logged:
        _logged.add(entry)
        _logger.info(
            "The history of opportunities is written one by one, which takes longer, because of: %s", ", ".join(found)
        )
    return bool(found)


def _module(method):
    # functools.wraps() copies __module__, but not the globals.
    names = getattr(method, "__globals__", {})
    module = getattr(names.get("_call_"), "__module__", None) or names.get("__name__") or type(method).__module__
    # Odoo's own decorators change nothing.
    return _module(method.__wrapped__) if module in ("odoo.api", "odoo.orm.decorators") else module

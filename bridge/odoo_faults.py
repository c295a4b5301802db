"""What a failed call to Odoo means: the error for an HTTP status, and for an exception that Odoo names."""

from __future__ import annotations

from typing import Any

from .errors import OdooMisconfigured, OdooRefused, OdooUnavailable

# Exceptions that mean: the call is not allowed or not possible, with any events in it.
_MISCONFIGURED = {
    "odoo.exceptions.AccessDenied": "it does not accept the login or the API key",
    "odoo.exceptions.AccessError": "its user may not do this",
    "builtins.AttributeError": "the addon miasalud_crm is not installed, or too old",
    "builtins.KeyError": "the addon miasalud_crm is not installed, or the database is starting",
    "werkzeug.exceptions.NotFound": "the addon miasalud_crm is not installed, or too old",
}
# Exceptions that mean: Odoo's own database is down, starting, or too busy.
_UNAVAILABLE = ("psycopg2.", "odoo.sql_db.", "odoo.modules.registry.")


def of_status(status: int) -> Exception:
    """The error for an answer without JSON of Odoo's, or of a proxy in between."""
    if status == 413:
        # The body exceeds the limit of a proxy: a smaller batch may pass.
        return OdooRefused("http_413", "The batch is too large for a proxy in front of Odoo (HTTP 413).")
    if status in (401, 403):
        return OdooMisconfigured(misconfigured("odoo.exceptions.AccessDenied"))
    if status == 404:
        return OdooMisconfigured("it answers 404: check BRIDGE_ODOO_URL and BRIDGE_ODOO_DATABASE, and that the addon "
                                 "miasalud_crm is installed there")  # fmt: skip
    if status < 500 and status not in (408, 425, 429):
        return OdooMisconfigured(f"it answers HTTP {status}: check BRIDGE_ODOO_URL")
    return OdooUnavailable(f"it answers HTTP {status}")


def of_exception(data: dict[str, Any]) -> Exception:
    """The error for an exception in the call.

    :param data: its ``name`` and ``message``
    """
    name = str(data.get("name") or "unknown")
    message = str(data.get("message") or "")
    if name in _MISCONFIGURED:
        return OdooMisconfigured(misconfigured(name))
    if name == "odoo.exceptions.UserError" and message.startswith("Object manychat."):
        return OdooMisconfigured(misconfigured("builtins.AttributeError"))
    if name.startswith(_UNAVAILABLE):
        if "does not exist" in message:
            return OdooMisconfigured("it has no such database: check BRIDGE_ODOO_DATABASE")
        return OdooUnavailable(f"its database fails ({name})")
    return OdooRefused(name, message)


def misconfigured(name: str) -> str:
    """What an operator must do.

    :param name: key of :data:`_MISCONFIGURED`
    """
    advice = {
        "odoo.exceptions.AccessDenied": "check BRIDGE_ODOO_DATABASE, BRIDGE_ODOO_LOGIN and BRIDGE_ODOO_API_KEY (keys "
        "expire: create a new one in Odoo)",
        "odoo.exceptions.AccessError": "put it into the group “ManyChat Bridge”",
    }.get(name, "install or upgrade it in the database BRIDGE_ODOO_DATABASE")
    return f"{_MISCONFIGURED[name]}: {advice}"

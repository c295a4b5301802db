"""The public address of the webhooks: what makes one, and whether our webhook answers there."""

import ipaddress
import json
import re
from urllib.parse import urlsplit

import requests

from bridge.contract.payloads import EventType
from bridge.contract.webhook import wrong_method

#: System parameter: what the webhooks' addresses begin with. Ours, because Odoo overwrites ``web.base.url`` whenever an
#: administrator signs in, and because the webhooks may be public and Odoo's pages not.
ADDRESS_PARAMETER = "miasalud_crm.webhook_base_url"
#: System parameter: the address at which a test has found our webhook.
ANSWERED_PARAMETER = "miasalud_crm.webhook_answered_at"
#: Seconds for the connection, and for each part of the answer. ManyChat itself gives up after 10.
TIMEOUT = 8
#: The webhook that a test asks. Its answer to a GET is shorter than this.
PROBED = EventType.OPPORTUNITY.spec.path
LONGEST_ANSWER = 1024
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?", re.IGNORECASE)
#: Ends of names that only the own network knows. ``local`` and others: https://www.rfc-editor.org/rfc/rfc6762#appendix-G
_PRIVATE_ENDS = (".local", ".localhost", ".localdomain", ".internal", ".intranet", ".lan", ".home", ".corp", ".private")


def webhook_address(env):
    """What the addresses of the webhooks begin with: our own setting, else what Odoo believes its address to be."""
    parameters = env["ir.config_parameter"].sudo()
    address = parameters.get_param(ADDRESS_PARAMETER) or parameters.get_param("web.base.url", "")
    return address.rstrip("/")


def normalized(address):
    """``address`` without spaces and the slash at its end, its host in small letters."""
    address = address.strip().rstrip("/")
    scheme, separator, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme.lower()}{separator}{host.lower()}{slash}{path}" if separator else address


def fault(address):
    """What is wrong with a normalized address.

    :return str: ``scheme``, ``host``, ``private``, ``login``, ``port`` or ``path``; "" if ManyChat could use it
    """
    if "://" not in address:
        return "scheme"
    try:
        parts = urlsplit(address)
        port, host = parts.port, parts.hostname or ""
    except ValueError:
        return "port" if address.count(":") > 1 and "[" not in address else "host"
    if not _is_host(host):
        return "host"
    if is_private(host):
        return "private"
    if parts.scheme != "https":
        return "scheme"
    if parts.username is not None:
        return "login"
    if port == 0 or parts.netloc.endswith(":"):
        return "port"
    return "path" if parts.path or parts.query or parts.fragment or address.endswith(("?", "#")) else ""


def is_private(host):
    """Whether ``host`` is not public, judged by its name."""
    host = host.rstrip(".")
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        # “127.1” and “0x7f.1” are addresses too, for some programs.
        return "." not in host or host.endswith(_PRIVATE_ENDS) or not re.search(r"[^0-9.x]", host)


def _is_host(host):
    if ":" in host:
        return True  # urlsplit() takes nothing but an address of IPv6 for one with colons
    try:
        encoded = host.encode("idna").decode()
    except UnicodeError:
        return False
    return all(_LABEL.fullmatch(label) for label in encoded.rstrip(".").split("."))


def ask(address):
    """Ask ``address`` whether our webhook answers there: it refuses a GET in its own words, and stores nothing.

    It follows no redirect and shows nothing of what it reads, so that no user reads the pages of the server's own
    network with it.

    :return tuple: ``ok``, ``redirect``, ``not_found``, ``other``, ``certificate``, ``timeout`` or ``unreachable``; the
        HTTP status, or ``None``
    """
    try:
        with requests.get(address + PROBED, timeout=TIMEOUT, allow_redirects=False, stream=True) as answer:
            status = answer.status_code
            if 300 <= status < 400:
                return "redirect", status
            if status == 404:
                return "not_found", status
            return ("ok" if _is_ours(answer) else "other"), status
    except requests.exceptions.SSLError:
        return "certificate", None
    except requests.exceptions.Timeout:
        return "timeout", None
    except (requests.exceptions.RequestException, UnicodeError):
        return "unreachable", None


def _is_ours(answer):
    try:
        body = json.loads(next(answer.iter_content(LONGEST_ANSWER), b""))
    except ValueError:
        return False
    return isinstance(body, dict) and body.get("code") == wrong_method("").body["code"]

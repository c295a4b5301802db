"""The address of a web server as an operator writes it: of Odoo, of the webhooks, of ManyChat."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

#: The first parts of the paths of Odoo's pages and interfaces, which people copy from a browser or from ManyChat.
_PAGES = re.compile(r"/(web|odoo|my|api|json|jsonrpc|xmlrpc|health)(/|$)", re.IGNORECASE)


def check(text: str) -> str:
    """``text``, if it is an address such as ``https://crm.example.org``, without the slash at its end.

    :raises ValueError: says what to write, and does not quote ``text``
    """
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("not an address such as https://HOST or http://HOST:PORT: is its port a number?") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("it must begin with https:// (or http://), then the host: https://HOST")
    if re.search(r"\s|[<>{}]", text):
        raise ValueError("there is a blank or a placeholder in it")
    if port == 0:
        raise ValueError("its port is not between 1 and 65535")
    if parts.username is not None or parts.password is not None:
        raise ValueError("it must have no user and no password, because addresses are shown and logged")
    if _PAGES.match(parts.path) or parts.query or parts.fragment:
        raise ValueError("write the address alone, without what follows the host and the port: https://HOST")
    return text.rstrip("/")


def check_manychat(text: str) -> str:
    """``text``, if it is an address that may get ManyChat's token, which opens the whole account.

    :raises ValueError: says what to write, and does not quote ``text``
    """
    address = check(text)
    if not is_private(address):
        raise ValueError("the token would go to it unencrypted: it must begin with https://")
    if urlsplit(address).path.startswith("/fb"):
        raise ValueError("write the address alone, without /fb: https://HOST")
    return address


def is_private(address: str) -> bool:
    """Whether a secret may be sent there: it is HTTPS, or on this machine."""
    try:
        parts = urlsplit(address)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        return False
    if parts.scheme == "https":
        return bool(host)
    try:
        return parts.scheme == "http" and (host == "localhost" or ipaddress.ip_address(host).is_loopback)
    except ValueError:
        return False

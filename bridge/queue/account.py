"""Where the queues are, and how to log in: a connection string with a key or SAS, or the URL of the account.

Both are plain texts; only a URL begins with ``https://``. Loaded into Odoo too.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from ..contract.sentences import sentence
from ..errors import BadQueueAccount
from ..setting_value import fault_of

#: The form of the account's URL. Other clouds have other domains (``core.chinacloudapi.cn``).
EXAMPLE = "https://ACCOUNT.queue.core.windows.net"
#: A storage account's name: https://learn.microsoft.com/azure/storage/common/storage-account-overview
_NAME = re.compile(r"[a-z0-9]{3,24}")
#: Hosts of Azure Storage, by whatever service of the account the operator copied, with or without a DNS zone.
_AZURE_HOST = re.compile(
    r"(?P<account>[a-z0-9]{3,24})(?P<zone>\.z\d+)?(\.privatelink)?\.(blob|queue|table|file|dfs|web)"
    r"\.(?P<domain>core\.[a-z.]+|storage\.azure\.net)"
)
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def is_url(account: str) -> bool:
    """Whether ``account`` is a URL, for which the process's identity logs in. Else it is a connection string."""
    return account.startswith("https://")


def choose(connection_string: str, account_url: str, names: tuple[str, str]) -> str:
    """The connection string or the whole URL, whichever of the two is set; empty if none is.

    :param names: of the two settings, for the message
    :raises BadQueueAccount: both are set, or the one that is set is wrong; names it
    """
    if connection_string and account_url:
        raise BadQueueAccount(
            sentence(
                "%(one)s and %(other)s are both set: remove one. The connection string logs in with its key or SAS, "
                "the URL with the identity of this machine",
                one=names[0],
                other=names[1],
            )
        )
    try:
        if account_url:
            return complete_url(account_url)
        if connection_string.lower().startswith(("https://", "http://")):
            raise BadQueueAccount(sentence("this is a URL: set %(name)s in its place", name=names[1]))
    except BadQueueAccount as error:
        raise BadQueueAccount(f"{names[1] if account_url else names[0]}: {error}") from None
    return connection_string


def complete_url(url: str) -> str:
    """The URL of the account's queue service.

    Takes also what people copy instead: the account's name, its host, or the URL of its blobs or of one queue.

    :raises BadQueueAccount: says what to write; never quotes ``url``, which may hold a secret
    """
    if fault := fault_of(url):
        raise BadQueueAccount(fault)
    if re.search(r"(AccountKey|SharedAccessSignature|AccountName)=", url, re.IGNORECASE):
        raise BadQueueAccount(
            sentence("this is a connection string, and not a URL such as %(example)s", example=EXAMPLE)
        )
    if _NAME.fullmatch(url.lower()):
        return EXAMPLE.replace("ACCOUNT", url.lower())
    try:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise BadQueueAccount(sentence("not a URL such as %(example)s", example=EXAMPLE)) from None
    if parts.query or parts.username or parts.password:
        raise BadQueueAccount(
            sentence(
                "the URL has a signature or a password in it. For a SAS, set the connection string "
                "QueueEndpoint=URL;SharedAccessSignature=SIGNATURE instead"
            )
        )
    if parts.scheme not in ("https", "http") or not host or " " in url:
        raise BadQueueAccount(sentence("not a URL such as %(example)s", example=EXAMPLE))
    if azure := _AZURE_HOST.fullmatch(host):
        return f"https://{azure['account']}{azure['zone'] or ''}.queue.{azure['domain']}"
    if "-secondary." in host:
        raise BadQueueAccount(sentence("this is the account's read-only copy: write the URL without -secondary"))
    if parts.scheme == "http":
        if host in _LOOPBACK:
            raise BadQueueAccount(
                sentence("a login by identity needs https. For Azurite without TLS, set its connection string instead")
            )
        raise BadQueueAccount(sentence("a login by identity needs https."))
    if "." not in host and host not in _LOOPBACK and not port:
        raise BadQueueAccount(sentence("not a URL such as %(example)s", example=EXAMPLE))
    # A host of one's own, or Azurite, which has the account in the path.
    return f"https://{parts.netloc.lower()}{parts.path.rstrip('/')}"

"""How a request to a storage account says who sends it: by the account's key, a SAS, or the token of an identity.

Loaded into Odoo too. No object here shows a secret in its ``repr``.
"""

from __future__ import annotations

import base64
import hmac
import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from .. import connection_string, identity
from ..contract.sentences import sentence
from ..errors import BadQueueAccount
from ..identity import Identity
from ..setting_value import fault_of
from .account import is_url

#: What a token is for: https://learn.microsoft.com/rest/api/storageservices/authorize-with-azure-active-directory
SCOPE = "https://storage.azure.com/.default"
#: Seconds before its end from which a token is asked for anew, as Azure's own clients do it.
RENEW_SECONDS = 300


class Login:
    """What all ways to log in have in common.

    :ivar query: stands at the end of each request's query
    :ivar identity: that logs in; ``None`` for a key or a SAS
    """

    query = ""
    identity: Identity | None = None

    def authorize(self, method: str, path: str, query: Mapping[str, str], headers: dict[str, str], length: int) -> None:
        """Add to ``headers`` what proves the login.

        :param path: as in the request's URL, from the host on
        :param query: names in lower case, values not yet quoted
        :param length: of the body, in bytes
        :raises QueueUnavailable: a token is needed, and there is none
        """

    def renew(self, challenge: str) -> bool:
        """Whether a refused request is worth another try, because there is another token now.

        :param challenge: the service's header ``WWW-Authenticate``, or empty
        :raises QueueUnavailable: there is none
        """
        return False


class Key(Login):
    """The account's key signs each request.

    https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key
    """

    def __init__(self, account: str, key: str):
        self._account = account
        self._key = base64.b64decode(key)

    def authorize(self, method: str, path: str, query: Mapping[str, str], headers: dict[str, str], length: int) -> None:
        # In this order: Content-Encoding, -Language, -Length, -MD5, -Type, Date, four conditions, Range. A length of 0
        # is left out, and x-ms-date stands for Date.
        lines = [method, "", "", str(length or ""), "", headers.get("Content-Type", ""), "", "", "", "", "", ""]
        lines += [f"{name}:{headers[name]}" for name in sorted(headers) if name.startswith("x-ms-")]
        # In Azurite's addresses the account stands in the path, too, and is then named twice.
        lines.append(f"/{self._account}{path}")
        lines += [f"{name}:{query[name]}" for name in sorted(query)]
        signature = hmac.digest(self._key, "\n".join(lines).encode(), "sha256")
        headers["Authorization"] = f"SharedKey {self._account}:{base64.b64encode(signature).decode()}"


class Sas(Login):
    """A shared access signature (SAS) is part of each request's URL."""

    def __init__(self, signature: str):
        self.query = signature.lstrip("?")


class Token(Login):
    """The token of an identity, kept until shortly before its end."""

    def __init__(self, of: Identity):
        self.identity: Identity = of
        self._token: Any = None

    def authorize(self, method: str, path: str, query: Mapping[str, str], headers: dict[str, str], length: int) -> None:
        token = self._token
        if token is None or _is_ending(token):
            # azure-identity keeps tokens for the whole process: two threads may ask at once.
            token = self._token = self.identity.get_token_info(SCOPE)
        headers["Authorization"] = f"Bearer {token.token}"

    def renew(self, challenge: str) -> bool:
        # The service names the tenant that it trusts: the address of its login ends in /<tenant>/oauth2/authorize.
        found = re.search(r'authorization_uri="?https://[^/\s",]+/([^/\s",]+)', challenge)
        refused, self._token = self._token, None
        token = self._token = self.identity.get_token_info(SCOPE, options={"tenant_id": found[1]} if found else {})
        return refused is None or bool(token.token != refused.token)


def _is_ending(token: Any) -> bool:
    now = time.time()
    if refresh_on := getattr(token, "refresh_on", None):
        return bool(now >= refresh_on)
    return bool(token.expires_on - now < RENEW_SECONDS)


def login_of(account: str) -> tuple[str, Login]:
    """The address of an account's queue service, without a slash at its end, and how to log in.

    :param account: a connection string, or a whole URL (see :mod:`bridge.queue.account`), for which the process's
        identity logs in
    :raises BadQueueAccount: it is neither
    """
    if fault := fault_of(account):
        raise BadQueueAccount(fault)
    if is_url(account):
        return account.rstrip("/"), Token(identity.of_process())
    if fault := connection_string.fault_in(account):
        raise BadQueueAccount(fault)
    parts = connection_string.parts_of(account)
    address = urlsplit(connection_string.endpoint(parts))
    url = f"{address.scheme}://{address.netloc}{address.path.rstrip('/')}"
    if parts.get("accountname") and parts.get("accountkey"):
        return url, Key(parts["accountname"], parts["accountkey"])
    if "sig=" in parts.get("sharedaccesssignature", ""):
        return url, Sas(parts["sharedaccesssignature"])
    raise BadQueueAccount(sentence("not an Azure Storage connection string"))

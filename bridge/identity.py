"""The identity that logs in to the queues when no key is set. Loaded into Odoo too.

It is the first of these that the environment has: a service principal (``AZURE_TENANT_ID``, ``AZURE_CLIENT_ID``,
``AZURE_CLIENT_SECRET`` or ``AZURE_CLIENT_CERTIFICATE_PATH``), a workload identity of Kubernetes
(``AZURE_FEDERATED_TOKEN_FILE``), a managed identity of Azure (``AZURE_CLIENT_ID`` chooses a user-assigned one).
azure-identity finds it, asks for tokens, keeps them in memory, and renews them before they end.
"""

from __future__ import annotations

import base64
import functools
import json
import logging
import os
import re
import threading
from typing import Any

from .contract.sentences import sentence
from .errors import BadQueueAccount, QueueDenied, QueueUnavailable

#: Seconds for connecting to what issues tokens, and for its answer. The library's own limits are five minutes, and the
#: caller tries again anyway.
CONNECT_SECONDS = 2
READ_SECONDS = 3
#: How to install the library, in an environment of the bridge or of Odoo.
INSTALL = "pip install azure-identity"
#: Credentials of a developer's machine. They start programs and open browsers, which no server wants.
_OF_DEVELOPERS = (
    *("exclude_shared_token_cache_credential", "exclude_visual_studio_code_credential", "exclude_cli_credential"),
    *("exclude_developer_cli_credential", "exclude_powershell_credential", "exclude_interactive_browser_credential"),
    "exclude_broker_credential",
)
#: The library's credentials, in the words of its documentation.
_SOURCES = {
    "EnvironmentCredential": sentence("service principal"),
    "WorkloadIdentityCredential": sentence("workload identity"),
    "ManagedIdentityCredential": sentence("managed identity"),
}
#: Signs in the texts of the library and of Entra ID; what they mean, and what to do. The texts themselves may name
#: people, ids and addresses. https://learn.microsoft.com/entra/identity-platform/reference-error-codes
_MEANINGS = (
    (
        "AADSTS7000215",
        sentence("the secret is wrong"),
        sentence("Set AZURE_CLIENT_SECRET to the secret's value, not to its id."),
    ),
    ("AADSTS7000222", sentence("the secret has expired"), sentence("Create a new one for AZURE_CLIENT_SECRET.")),
    ("AADSTS7000112", sentence("the application is disabled"), sentence("Enable it in Entra ID.")),
    (
        "AADSTS700016",
        sentence("the tenant has no such application"),
        sentence("Are AZURE_CLIENT_ID and AZURE_TENANT_ID right?"),
    ),
    ("AADSTS90002", sentence("there is no such tenant"), sentence("Is AZURE_TENANT_ID right?")),
    ("AADSTS900023", sentence("there is no such tenant"), sentence("Is AZURE_TENANT_ID right?")),
    ("AADSTS700027", sentence("the certificate is not of the application"), sentence("Upload it there.")),
    ("AADSTS700024", sentence("the workload's token is out of date"), sentence("Is this machine's clock right?")),
    (
        "AADSTS70021",
        sentence("no federated credential fits"),
        sentence("Add one for the issuer and subject of the service account."),
    ),
    (
        "not configured to acquire tokens for tenant",
        sentence("the storage account belongs to another tenant"),
        sentence("Use an identity of the storage account's tenant."),
    ),
    ("Incomplete environment configuration", sentence("only some AZURE_ variables set"), ""),
    ("Environment variables are not fully configured", sentence("AZURE_CLIENT_SECRET and the like not set"), ""),
    ("WorkloadIdentityCredential authentication unavailable", sentence("AZURE_FEDERATED_TOKEN_FILE not set"), ""),
    ("No identity has been assigned", sentence("this machine has no such identity"), ""),
    ("Identity not found", sentence("this machine has no such identity"), ""),
    (
        "No User Assigned or Delegated Managed Identity",
        sentence("this machine has no such identity"),
        sentence("Is AZURE_CLIENT_ID right?"),
    ),
    ("ManagedIdentityCredential authentication unavailable", sentence("no answer from Azure's identity endpoint"), ""),
    ("CERTIFICATE_VERIFY_FAILED", sentence("its server's certificate is not trusted"), ""),
    ("Invalid tenant", sentence("there is no such tenant"), sentence("Is AZURE_TENANT_ID right?")),
    ("invalid authority", sentence("its server has no https address"), sentence("Is AZURE_AUTHORITY_HOST right?")),
    (
        "AZURE_TOKEN_CREDENTIALS",
        sentence("AZURE_TOKEN_CREDENTIALS is wrong"),
        sentence("Remove it, or see azure-identity for its values."),
    ),
    ("No such file", sentence("a file that is named by an AZURE_ variable is missing"), ""),
    ("az login", sentence("not logged in"), sentence("Run az login.")),
)
#: Signs of a network error, or of a server that fails.
_NO_ANSWER = re.compile(
    r"timed? ?out|Connection(Pool|Error| refused| reset| aborted)|establish a new connection|Max retries|"
    r"Failed to (resolve|connect)|Name or service not known|IncompleteRead|RemoteDisconnected|\b(429|5\d\d)\b",
    re.IGNORECASE,
)
_ADVICE = sentence("Give this machine a managed identity, or set the AZURE_ variables of a service principal.")
_ADVICE_DOWN = sentence("Can this machine reach what issues its tokens?")


class Identity:
    """A credential for Azure's clients. May be used by several threads at once.

    What goes wrong becomes an error of ours, in words that quote no text of the library.
    """

    def __init__(self, credential: Any = None) -> None:
        """:param credential: of azure-identity; default: what the environment has, found at the first token"""
        self._credential = credential
        self._lock = threading.Lock()
        #: Whose token it was, as far as the token says.
        self._name = ""

    def __str__(self) -> str:
        """In a sentence, after “the identity”: what is known of it."""
        return self._name or sentence("of this machine")

    def get_token_info(self, *scopes: str, options: Any = None) -> Any:
        """A token with its end, as ``azure.core.credentials.SupportsTokenInfo`` wants it.

        :raises QueueUnavailable: what issues tokens does not answer
        :raises QueueDenied: it issues none
        """
        from azure.core.exceptions import AzureError

        try:
            with self._lock:  # threads that begin together: the first one asks, the others find its token
                token = self._found().get_token_info(*scopes, options=options)
        except (AzureError, ValueError, OSError) as error:
            raise _failure(error) from None
        self._name = _name_in(token.token)
        return token

    def get_token(self, *scopes: str, **options: Any) -> Any:
        """The same as ``azure.core.credentials.TokenCredential`` wants it."""
        info = {name: options[name] for name in ("claims", "tenant_id", "enable_cae") if options.get(name)}
        return self.get_token_info(*scopes, options=info)

    def _found(self) -> Any:
        if self._credential is None:
            self._credential = _credential()
        return self._credential


_making = threading.Lock()


def of_process() -> Identity:
    """The identity of this process. All clients share it, and so its tokens.

    :raises BadQueueAccount: azure-identity is not installed
    """
    with _making:  # threads that begin together would make several, and each would ask for a token
        return _identity()


@functools.cache
def _identity() -> Identity:
    try:
        import azure.identity  # noqa: F401 - takes half a second: only where an identity logs in
    except ImportError:
        raise BadQueueAccount(
            sentence("a login by identity needs the library azure-identity: %(command)s", command=INSTALL)
        ) from None
    # They quote ids and addresses, on several lines, at each failure. Ours is one line.
    for name in ("azure.identity", "msal"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return Identity()


def _credential() -> Any:
    from azure.identity import DefaultAzureCredential

    # The library's own variable can ask for a developer's credentials: AZURE_TOKEN_CREDENTIALS=AzureCliCredential.
    chosen = os.environ.get("AZURE_TOKEN_CREDENTIALS", "").strip()
    excluded = {} if chosen else dict.fromkeys(_OF_DEVELOPERS, True)
    return DefaultAzureCredential(
        connection_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, retry_total=1, retry_status=1, **excluded
    )


def _failure(error: Exception) -> QueueUnavailable:
    """What ``error`` means for an operator. The words quote nothing of it."""
    text = str(error)
    # The library lists the credentials that it tried, each on a line that may go on for several.
    listed = re.findall(r"^\s+(\w+Credential): (.*(?:\n(?!\s+\w+Credential:).*)*)", text, re.MULTILINE)
    tried = [(_SOURCES.get(name, name), *_meaning(said)) for name, said in listed] or [
        (sentence("identity"), *_meaning(text))
    ]
    sources = ", ".join(f"{name} ({what})" for name, what, _advice in tried)
    last = listed[-1][1] if listed else text
    if is_down := bool(_NO_ANSWER.search(last)) and "AADSTS" not in last:
        advice = _ADVICE_DOWN
    else:
        advice = tried[-1][2] or _ADVICE
    kind = QueueUnavailable if is_down else QueueDenied
    return kind(f"{sentence('no token to log in with; tried %(sources)s', sources=sources)}: {advice}")


def _meaning(text: str) -> tuple[str, str]:
    """What a text of the library or of Entra ID means, and what to do."""
    if known := next(((what, advice) for sign, what, advice in _MEANINGS if sign in text), None):
        return known
    if code := re.search(r"AADSTS\d+", text):
        return sentence("refused with %(code)s", code=code[0]), ""
    return (sentence("no answer") if _NO_ANSWER.search(text) else sentence("gives no token")), ""


def _name_in(token: str) -> str:
    """What a token says of its owner: a managed identity's name and the object id, which role assignments show.

    It is not checked: the queue service does that.
    """
    try:
        body = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        name = str(claims.get("xms_mirid") or claims.get("appid") or "").rsplit("/", 1)[-1]
        ids = sentence("object id %(id)s", id=claims["oid"]) if claims.get("oid") else ""
        return " ".join(filter(None, [name, f"({ids})" if ids else ""]))
    except (IndexError, ValueError, AttributeError):
        return ""

"""The faults of an Azure Storage connection string that show before a service is asked. Loaded into Odoo too.

The service would answer with words about something else, or not at all.
https://learn.microsoft.com/azure/storage/common/storage-configure-connection-string
"""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import urlsplit

from .contract.sentences import sentence

_FORM = "AccountName=ACCOUNT;AccountKey=KEY;EndpointSuffix=core.windows.net"
_SAS_FORM = "QueueEndpoint=https://ACCOUNT.queue.core.windows.net;SharedAccessSignature=SAS"
_COPY = sentence("Copy the connection string from the Azure portal: storage account, Access keys")
#: What ``UseDevelopmentStorage=true`` stands for. Its key is no secret: Microsoft's documentation has it.
_EMULATOR = (
    "AccountName=devstoreaccount1;QueueEndpoint=http://127.0.0.1:10001/devstoreaccount1;AccountKey="
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
_NAMES = {"AccountName", "AccountKey", "SharedAccessSignature", "QueueEndpoint", "DefaultEndpointsProtocol"}


def fault_in(text: str) -> str | None:
    """What is wrong with a connection string, and what to do, in words that do not quote it; ``None`` if nothing is."""
    if fault := _fault_of_another_thing(text):
        return fault
    parts = _split(text)
    for part in filter(None, text.split(";")):
        name, found, value = part.partition("=")
        if not found:
            return sentence("not an Azure Storage connection string: a part of it has no equals sign")
        if name != name.strip() or value != value.strip():
            return sentence("there is a blank beside a semicolon or an equals sign")
        if parts[name.lower()] != value:
            shown = next((known for known in _NAMES if known.lower() == name.lower()), sentence("a part"))
            return sentence("%(name)s stands twice in it", name=shown)
        if re.fullmatch(r"[<{].*[>}]", value):
            return sentence("it has a placeholder such as <key>. %(advice)s", advice=_COPY)
    if parts.keys() == {"defaultendpointsprotocol"}:
        return sentence("it ends at its first semicolon. A shell needs it between quotes")
    if _is_emulator(parts):
        return None
    return _fault_of_login(parts) or _fault_of_place(parts)


def parts_of(text: str) -> dict[str, str]:
    """The values of a faultless connection string, by their names in lower case."""
    parts = _split(text)
    return _split(_EMULATOR) if _is_emulator(parts) else parts


def _split(text: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for part in filter(None, text.split(";")):
        name, _equals, value = part.partition("=")
        parts.setdefault(name.lower(), value)
    return parts


def _is_emulator(parts: dict[str, str]) -> bool:
    return parts.get("usedevelopmentstorage", "").lower() == "true"


def endpoint(parts: dict[str, str]) -> str:
    """The URL of the queue service."""
    if url := parts.get("queueendpoint"):
        return url if "://" in url else f"https://{url}"
    suffix = parts.get("endpointsuffix")
    # As in Microsoft's client: without a suffix the protocol is https, whatever stands there.
    protocol = (parts.get("defaultendpointsprotocol", "").lower() if suffix else "") or "https"
    return f"{protocol}://{parts['accountname']}.queue.{suffix or 'core.windows.net'}"


def _fault_of_another_thing(text: str) -> str | None:
    """What ``text`` is, if it is another secret that Azure shows."""
    if re.fullmatch(r"[A-Za-z0-9+/]{40,}={0,2}", text):
        return sentence("this is a key alone. %(advice)s", advice=_COPY)
    if re.match(r"\??s[vrs]=[^;]*&", text):
        return sentence("this is a SAS alone. Write %(form)s", form=_SAS_FORM)
    if re.search(r"endpoint=sb://", text, re.IGNORECASE):
        return sentence("this is of Service Bus or Event Hubs. %(advice)s", advice=_COPY)
    if "=" not in text:
        return sentence("not an Azure Storage connection string. %(advice)s", advice=_COPY)
    return None


def _fault_of_login(parts: dict[str, str]) -> str | None:
    if parts.get("sharedaccesssignature"):
        if parts.get("queueendpoint") or parts.get("accountname"):
            return None
        return sentence("it has a SAS and no QueueEndpoint. Write %(form)s", form=_SAS_FORM)
    for name in ("AccountName", "AccountKey"):
        if not parts.get(name.lower()):
            return sentence(
                "not an Azure Storage connection string: %(name)s is missing. It has the form %(form)s",
                name=name,
                form=_FORM,
            )
    try:
        base64.b64decode(parts["accountkey"], validate=True)
    except binascii.Error:
        return sentence(
            "AccountKey is not whole: it is Base64, most often 88 characters with == at the end. %(advice)s",
            advice=_COPY,
        )
    return None


def _fault_of_place(parts: dict[str, str]) -> str | None:
    if parts.get("defaultendpointsprotocol", "https").lower() not in ("http", "https"):
        return sentence("DefaultEndpointsProtocol must be https")
    endpoint = parts.get("queueendpoint")
    if not endpoint:
        # https://learn.microsoft.com/azure/storage/common/storage-account-overview#storage-account-name
        is_name = re.fullmatch(r"[a-z0-9]{3,24}", parts.get("accountname", ""), re.IGNORECASE)
        return None if is_name else sentence("AccountName must be 3 to 24 letters and digits")
    try:
        address = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
        is_address = address.scheme in ("http", "https") and address.hostname and (address.port or True)
    except ValueError:
        is_address = None
    if not is_address or re.search(r"\s", endpoint):
        return sentence("QueueEndpoint is no address such as https://ACCOUNT.queue.core.windows.net")
    if ".blob." in endpoint:
        return sentence("QueueEndpoint is the address of the blobs: write .queue. for .blob.")
    return None

"""The names of settings as people write them, for the bridge's variables and the addon's: slips, and what was meant.

It imports nothing else of ours, because it is loaded into Odoo too.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Collection

#: Behind the name of a setting: the path of a file with its value.
FILE_SUFFIX = "_FILE"

# Kubernetes and Docker give a container variables for each service beside it: of a service "bridge-api" among others
# BRIDGE_API_PORT=tcp://10.0.0.1:8000. https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_SERVICE_NAME = re.compile(r"\w+_SERVICE_(HOST|PORT(_\w+)?)|\w+_PORT_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?")
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://[^/]+:\d+")
# How alike two names are that differ by a slip, and the ends of two that may mean the same.
_SLIP, _GUESS = 0.9, 0.5


def plain(written: str) -> str:
    """A name without blanks and invisible characters around it, in capitals.

    The byte order mark of an ``--env-file`` becomes part of its first name.
    """
    invisible = "".join(character for character in written if unicodedata.category(character) in ("Cf", "Cc", "Zs"))
    return written.strip(invisible).upper()


def is_of_a_service(name: str, value: str) -> bool:
    """Whether a variable is one that Kubernetes or Docker sets by itself, about another service."""
    return bool(_SERVICE_NAME.fullmatch(name) or (name.endswith("_PORT") and _SERVICE_ADDRESS.fullmatch(value)))


def meant(name: str, prefix: str, known: Collection[str]) -> list[str] | None:
    """The settings that an unknown ``name`` may mean, at most two; ``None`` if it is another program's.

    :param prefix: of the names ``known``
    """
    # For another program's name this must be quick: an environment has hundreds.
    slips = difflib.get_close_matches(re.sub(r"\W", "_", name), known, n=1, cutoff=_SLIP)
    if slips or not name.startswith(prefix):
        return slips or None
    if (without := name.removesuffix(FILE_SUFFIX)) in known:
        return [without]
    ends = [each.removeprefix(prefix) for each in known]
    return [prefix + end for end in difflib.get_close_matches(name.removeprefix(prefix), ends, n=2, cutoff=_GUESS)]


def shown(name: str) -> str:
    """A name from outside, safe for a terminal and a log."""
    return name if name.isprintable() else ascii(name)

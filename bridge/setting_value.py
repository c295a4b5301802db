"""The value of a setting as people write it, for the bridge's variables and the addon's: without blanks and quotes.

A shell takes the quotes away, an ``--env-file`` of a container engine and ``odoo.conf`` do not; a secret in a file ends
with a line break; an editor puts a byte order mark before the first line. Of ours it imports
sentences only, because it is loaded into Odoo too.
"""

from __future__ import annotations

import unicodedata

from .contract.sentences import sentence

_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "«": "»", "„": "“", "`": "`"}


def strip_value(value: str) -> str:
    """``value`` without what stands around it: blanks, line breaks, invisible characters, and a pair of quotes."""
    while True:
        stripped = value.strip().strip(_format_characters(value))
        if len(stripped) > 1 and _QUOTES.get(stripped[0]) == stripped[-1]:
            stripped = stripped[1:-1]
        if stripped == value:
            return value
        value = stripped


def fault_of(value: str) -> str | None:
    """What is wrong with a stripped value, in words that do not quote it; ``None`` if nothing is."""
    if value[:1] in _QUOTES or value[-1:] in _QUOTES.values():
        return sentence("there is a quote at one of its ends only")
    if any(unicodedata.category(character) == "Cs" for character in value):
        return sentence("there is a character in it that is not UTF-8")
    # A JSON object may have several lines.
    if not value.startswith("{") and any(unicodedata.category(character) == "Cc" for character in value):
        return sentence("there is a line break or another control character in it")
    return None


def _format_characters(value: str) -> str:
    """Those that look like nothing, and ``str.strip()`` leaves: byte order mark, zero-width space, text direction."""
    return "".join({character for character in value if unicodedata.category(character) == "Cf"})

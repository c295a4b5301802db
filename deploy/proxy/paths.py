"""The webhooks' paths in the proxy's template, from the registry of events."""

import re
from pathlib import Path

from bridge.contract.payloads import EventType

TEMPLATE = Path(__file__).with_name("fail-over.conf.template")
_LOCATION = re.compile(r"(?<=# Written by `make generate`\.\n).*", re.MULTILINE)


def template() -> str:
    """The template, with the paths of all webhooks in its location."""
    location = f"    location ~ ^({'|'.join(each.spec.path for each in EventType)})/?$ {{"
    text, count = _LOCATION.subn(location, TEMPLATE.read_text(encoding="utf-8"))
    assert count == 1
    return text

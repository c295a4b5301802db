"""The webhooks' paths in the proxy's configuration, from the registry of events."""

import re
from pathlib import Path

from bridge.contract.payloads import WEBHOOKS

TEMPLATE = Path(__file__).parent / "snippets" / "miasalud-webhooks.conf"
_HEALTH = "/health"
_LOCATION = re.compile(r"(?<=# Written by `make generate`\.\n).*", re.MULTILINE)


def template() -> str:
    """The snippet, with the paths of all webhooks and of the health check in its location."""
    paths = [*(each.spec.path for each in WEBHOOKS), _HEALTH]
    text, count = _LOCATION.subn(f"location ~ ^({'|'.join(paths)})/?$ {{", TEMPLATE.read_text(encoding="utf-8"))
    assert count == 1
    return text

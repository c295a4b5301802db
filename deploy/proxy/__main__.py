"""``python -m deploy.proxy``: write the webhooks' paths from the registry of events into the proxy's template."""

import re
from pathlib import Path

from bridge.contract.payloads import EventType

TEMPLATE = Path(__file__).with_name("fail-over.conf.template")
_LOCATION = re.compile(r"(?<=# Written by `python -m deploy\.proxy`\.\n).*", re.MULTILINE)


def rendered(template: str) -> str:
    """``template`` with the paths of all webhooks in its location."""
    location = f"    location ~ ^({'|'.join(each.spec.path for each in EventType)})$ {{"
    text, count = _LOCATION.subn(location, template)
    assert count == 1
    return text


if __name__ == "__main__":
    TEMPLATE.write_text(rendered(TEMPLATE.read_text()))

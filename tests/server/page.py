"""What an operator pastes: the shell blocks of docs/one-server.md."""

from __future__ import annotations

import re
from dataclasses import dataclass

from deploy.local.paths import ROOT

PAGE = ROOT / "docs" / "one-server.md"
_PARTS = re.compile(r"^## (?P<heading>[^\n]+)$|^```sh\n(?P<block>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One block; ``name`` is the number of its section, its heading, and its number in the section."""

    name: str
    text: str


def blocks() -> list[Block]:
    """All of them, in the page's order."""
    found: list[Block] = []
    heading, number = "", 0
    for part in _PARTS.finditer(PAGE.read_text(encoding="utf-8")):
        if part["heading"]:
            heading, number = part["heading"], 0
        else:
            number += 1
            found.append(Block(f"{heading} ({number})", part["block"]))
    return found

"""The pages of the documentation, taken apart into links, code and shell snippets."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: A comment above a shell snippet that a test runs. Readers do not see it.
RUN = "<!-- run -->"

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)


@dataclass(frozen=True)
class Snippet:
    """A fenced shell snippet.

    :ivar runs: whether a test runs it
    """

    text: str
    runs: bool


@dataclass(frozen=True)
class Page:
    """A Markdown file of the repository."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def prose(self) -> str:
        """The text without its fenced blocks."""
        return _FENCE.sub("", self.text)

    @property
    def links(self) -> list[str]:
        """The targets of links and images."""
        return _LINK.findall(self.prose)

    @property
    def anchors(self) -> set[str]:
        """The anchors of the headings, as GitHub makes them."""
        seen: Counter[str] = Counter()
        anchors = set()
        for heading in _HEADING.findall(self.prose):
            anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            anchors.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
            seen[anchor] += 1
        return anchors

    @property
    def snippets(self) -> list[Snippet]:
        """The shell snippets, in order."""
        found = []
        for fence in _FENCE.finditer(self.text):
            if fence["language"] == "sh":
                lines = [line.removeprefix(fence["indent"]) for line in fence["text"].splitlines()]
                before = self.text[: fence.start()].rstrip()
                found.append(Snippet("\n".join(lines), runs=before.endswith(RUN)))
        return found

    @property
    def code(self) -> list[str]:
        """All code: inline, and each line of the fenced blocks, with continued lines joined."""
        lines = [line for fence in _FENCE.finditer(self.text) for line in _joined(fence["text"])]
        return re.findall(r"`([^`\n]+)`", self.prose) + lines


def _joined(text: str) -> list[str]:
    return [line.strip() for line in text.replace("\\\n", " ").splitlines()]


#: All pages, by their path in the repository.
PAGES = {
    page.name: page
    for page in map(
        Page,
        [
            ROOT / "README.md",
            ROOT / "SECURITY.md",
            ROOT / "CONTRIBUTING.md",
            ROOT / "CHANGELOG.md",
            *sorted((ROOT / "docs").rglob("*.md")),
            *sorted((ROOT / "miasalud_crm" / "readme").glob("*.md")),
            ROOT / "miasalud_crm" / "migrations" / "README.md",
        ],
    )
}

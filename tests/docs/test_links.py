from __future__ import annotations

from pathlib import Path

import pytest

from .pages import PAGES, ROOT, Page


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_every_link_leads_to_a_file_and_a_heading_that_exist(page: Page) -> None:
    broken = [link for link in page.links if "://" not in link and not _exists(page, link)]
    assert broken == []


def test_the_pages_that_readers_see_are_linked_from_the_readme() -> None:
    linked = {(ROOT / link.split("#")[0]).resolve() for link in PAGES["README.md"].links}
    assert {ROOT / "SECURITY.md", *(ROOT / "docs").rglob("*.md")} <= linked


def test_the_readme_is_short() -> None:
    assert len(PAGES["README.md"].text.splitlines()) <= 125


def _exists(page: Page, link: str) -> bool:
    target, _, anchor = link.partition("#")
    path = (page.path.parent / target).resolve() if target else page.path
    if not path.is_relative_to(ROOT) or not path.exists():
        return False
    return not anchor or anchor in Page(path).anchors


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = PAGES["README.md"]
    assert _exists(page, "docs/install.md#use-azure-sql")
    assert not _exists(page, "docs/install.md#no-such-heading")
    assert not _exists(page, "docs/no-such-page.md")
    assert not _exists(page, "../outside")

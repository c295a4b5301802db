"""A browser before the whole running system. Whatever it complains of fails the test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from deploy.local import os_packages
from tests.world import World

from .odoo_page import DESKTOP, PHONE, OdooPage
from .people import SPANISH, ensure_languages, signed_in
from .warm_up import build_bundles

HERE = Path(__file__).parent

#: Called as `sign_in(role="manager", phone=False)`; roles are in people.py.
SignIn = Callable[..., OdooPage]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whichever test is first also waits for the stack, the languages and the web client's bundles to be made."""
    for item in items:
        if item.path.parent == HERE and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    os_packages.ensure(os_packages.CHROMIUM, os_packages.PLAYWRIGHT_LIBRARY)
    with sync_playwright() as playwright:
        # Its sandbox needs what containers and root don't have; it visits nothing but our own Odoo.
        running = playwright.chromium.launch(executable_path=os_packages.chromium(), args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def language(request: pytest.FixtureRequest) -> str:
    """What those who sign in speak: Spanish, as the company does, unless a test asks for another.

    What people do is the same in every language; that every screen can be read is `test_every_screen`'s.
    """
    return getattr(request, "param", SPANISH)


@pytest.fixture(scope="session")
def windows(world: World) -> dict[str, BrowserContext]:
    """Of those who have signed in already. They stay open, as people's do, and know the web client from then on:
    fetching and compiling it anew is most of what opening a page costs."""
    ensure_languages(world.stack)
    build_bundles(world.stack)
    return {}


@pytest.fixture
def sign_in(browser: Browser, world: World, language: str, windows: dict[str, BrowserContext]) -> Iterator[SignIn]:
    """Signs somebody in and returns a new tab of theirs."""
    pages: list[OdooPage] = []

    def open_page(role: str = "manager", phone: bool = False) -> OdooPage:
        who, size = f"{role} {language} {phone}", PHONE if phone else DESKTOP
        if who not in windows:
            windows[who] = signed_in(browser, world.stack, role, language, size, phone)
        pages.append(OdooPage(windows[who], world.stack.odoo_url))
        return pages[-1]

    yield open_page
    faults = [fault for page in pages for fault in page.faults]
    for page in pages:
        page.page.close()
    assert not faults, "the browser complained:\n" + "\n".join(faults)


@pytest.fixture
def odoo(sign_in: SignIn) -> OdooPage:
    """A sales manager's tab on a desktop."""
    return sign_in()

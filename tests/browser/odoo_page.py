"""A person before a browser: Odoo's web client, opened, waited for, and listened to."""

import re
import time
from collections.abc import Iterable
from typing import Any

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request, Response

#: Chromium's names for the sizes that people have before them (CSS pixels).
DESKTOP = {"width": 1366, "height": 860}
PHONE = {"width": 390, "height": 844}

#: How long a machine that is busy with other tests may take (seconds). Nothing here measures time.
PATIENCE = 150

#: What Odoo itself makes of a page, and nobody but Odoo can mend. Each with its reason.
ODOOS_OWN_NOISE = [
    # The bus: a page that is left closes its socket, and an Odoo that restarts drops it.
    r"WebSocket (connection|is already)",
    r"/bus/websocket_worker_bundle",
]

#: Odoo's web client has nothing on its way and nothing half drawn.
_AT_REST = """() => {
    const action = document.querySelector(".o_action_manager > .o_action, .o_action_manager .o_view_controller");
    const busy = document.querySelector(".o_loading_indicator, .o_blockUI, .o_view_sample_loading");
    return Boolean(action || document.querySelector(".modal .modal-body")) && !busy;
}"""
_DRAWN = """() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))
    .then(() => document.fonts.ready).then(() => true)"""


class OdooPage:
    """One tab of one signed-in person.

    `page` is Playwright's own, for everything that has no name here. Whatever the browser complains of meanwhile is in
    `faults`; the fixtures fail the test for it.
    """

    def __init__(self, context: BrowserContext, odoo_url: str) -> None:
        self.odoo_url = odoo_url
        self.page: Page = context.new_page()
        self.page.set_default_timeout(PATIENCE * 1000)
        self.faults: list[str] = []
        self._on_the_way: set[Request] = set()
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self._note(f"uncaught: {error.stack or error.message}"))
        self.page.on("request", self._begin)
        self.page.on("requestfinished", self._end)
        self.page.on("requestfailed", self._fail)
        self.page.on("response", self._answer)

    def open(self, action: str | int, view: str | None = None, record: int | None = None, **parameters: Any) -> None:
        """Opens an action by XML id or number, as one does by its menu; `record` opens that record's form."""
        address = f"/odoo/action-{action}" + (f"/{record}" if record else "")
        query = "&".join(f"{name}={value}" for name, value in {"view_type": view, **parameters}.items() if value)
        self.go(address + (f"?{query}" if query else ""))

    def go(self, path: str) -> None:
        """Opens an address of Odoo."""
        self._on_the_way.clear()
        self.page.goto(self.odoo_url + path, wait_until="commit")
        self.settle()

    def settle(self) -> None:
        """Returns when the page shows what there is to show: after every click that loads or saves something."""
        deadline = time.monotonic() + PATIENCE
        quiet = 0
        while quiet < 3:
            still = self._at_rest()
            quiet = quiet + 1 if still else 0
            if time.monotonic() > deadline:
                waiting = sorted(request.url for request in self._on_the_way)
                raise AssertionError(f"{self.page.url} does not come to rest: {waiting}\n" + "\n".join(self.faults))
            self.page.wait_for_timeout(40)

    def click(self, selector: str) -> None:
        """Clicks what is found there first, and waits for what comes of it."""
        self.page.locator(selector).first.click()
        # A pointer that stays opens the tooltip of what comes up under it, over what is to be clicked next.
        self.page.mouse.move(1, (self.page.viewport_size or DESKTOP)["height"] - 1)
        self.settle()

    def field(self, name: str) -> Any:
        """The field of that name in the form that is on top."""
        within = ".modal:not(.o_inactive_modal) " if self.page.locator(".modal").count() else ""
        return self.page.locator(f"{within}.o_field_widget[name={name}]").first

    def rows(self) -> list[str]:
        """The text of each row of the list that is open."""
        return self.page.locator(".o_list_view .o_data_row").all_inner_texts()

    def overflow(self, selector: str = "html") -> int:
        """By how many pixels the page as a whole, or what is found first, is wider than its window."""
        script = """selector => {
            const found = document.querySelector(selector);
            return found ? found.scrollWidth - found.clientWidth : 0;
        }"""
        return int(self.page.evaluate(script, selector))

    # Listening.

    def _at_rest(self) -> bool:
        if self._on_the_way:
            return False
        return bool(self.page.evaluate(_AT_REST)) and bool(self.page.evaluate(_DRAWN)) and not self._on_the_way

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._note(f"console: {message.text} ({message.location.get('url', '')})")

    def _begin(self, request: Request) -> None:
        # Never reported as finished: the bus's worker, which is fetched beside the page, and a webhook's answer, of
        # which the test event reads no more than the status. Nothing to see waits for either.
        if not re.search("/bus/|/manychat/webhook/", request.url):
            self._on_the_way.add(request)

    def _end(self, request: Request) -> None:
        self._on_the_way.discard(request)

    def _fail(self, request: Request) -> None:
        self._end(request)
        # A page that is left gives up what it still waits for.
        if request.failure != "net::ERR_ABORTED":
            self._note(f"request failed: {request.url}: {request.failure}")

    def _answer(self, response: Response) -> None:
        if response.status >= 400:
            self._note(f"{response.status}: {response.url}")

    def _note(self, fault: str) -> None:
        if not _is_noise(fault, ODOOS_OWN_NOISE):
            self.faults.append(fault)


def _is_noise(fault: str, patterns: Iterable[str]) -> bool:
    return any(re.search(pattern, fault) for pattern in patterns)

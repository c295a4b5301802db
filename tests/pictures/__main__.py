"""`make screenshots`: a month of invented conversations in a system of its own, and a picture of each screen.

To add one, add a line to SHOTS (or a function, where there is something to do before the picture is taken).
"""

import re
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import sqlalchemy as sa
from PIL import Image
from playwright.sync_api import BrowserContext, sync_playwright

from deploy.local import odoo as odoo_versions
from deploy.local import os_packages
from deploy.local.paths import ROOT
from deploy.local.say import say, step
from deploy.local.stack import ADDON, Stack
from tests.browser.odoo_page import OdooPage
from tests.browser.people import SPANISH, ensure_languages, signed_in
from tests.manychat_stand_in import asked_by_odoo
from tests.world import World

from . import invented

FOLDER = ROOT / ADDON / "static" / "description"
#: What addresses on the screens begin with, instead of this machine's.
ADDRESS = "https://odoo.miasalud.example"
#: The largest a picture may be (bytes): README and app page load them all.
LARGEST = 120_000
DESKTOP = {"width": 1280, "height": 760}
PHONE = {"width": 390, "height": 780}

#: Odoo's message menu counts its own request to be allowed to notify.
QUIET = ".o_menu_systray .badge { display: none !important; }"
#: A bridge is called after its machine and process.
NO_MACHINE = f"""() => {{
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const name = /{re.escape(socket.gethostname())}.[0-9]+/g;
    while (texts.nextNode()) {{
        texts.currentNode.data = texts.currentNode.data.replace(name, "bridge-1");
    }}
}}"""


@dataclass(frozen=True)
class Shot:
    """A picture: how its file is called, what is done until it is taken, and before whose eyes."""

    name: str
    show: Callable[[OdooPage, World], None]
    role: str = "manager"
    language: str = "en_US"
    phone: bool = False
    size: tuple[int, int] | None = None


def action(xml_id: str, view: str | None = None, then: str | None = None) -> Callable[[OdooPage, World], None]:
    """Opens that action, and clicks `then`."""

    def show(odoo: OdooPage, _world: World) -> None:
        odoo.open(f"{ADDON}.{xml_id}", view)
        if then:
            odoo.click(then)

    return show


def pipeline(odoo: OdooPage, _world: World) -> None:
    odoo.go("/odoo/crm")


def opportunity(odoo: OdooPage, world: World) -> None:
    """One that has come far, its ManyChat page open."""
    domain = [["stage_id.name", "=", "Comienza Cotización"], ["user_id", "!=", False]]
    far = world.odoo("crm.lead", "search", domain, order="id", limit=1)
    odoo.go(f"/odoo/crm/{far[0]}")
    page = odoo.page.locator(".o_notebook .nav-link[name^=manychat]")
    if page.count():
        page.first.click()
        odoo.settle()


def events(odoo: OdooPage, _world: World) -> None:
    """Without the decisions, which are the latest."""
    odoo.open(f"{ADDON}.manychat_event_action")
    odoo.click(".o_searchview_dropdown_toggler")
    odoo.click(".o_filter_menu .o_menu_item:has-text('From ManyChat')")
    odoo.click(".o_searchview_dropdown_toggler")


def failed_event(odoo: OdooPage, world: World) -> None:
    failed = world.odoo("manychat.event", "search", [["state", "=", "failed"]], order="id desc", limit=1)
    odoo.open(f"{ADDON}.manychat_event_action", record=failed[0])


def tell_manychat(odoo: OdooPage, world: World) -> None:
    """On, with two fields, a tag and a flow of an account that a stand-in has."""
    with asked_by_odoo(world.stack) as stand_in:
        stand_in.fields = {11: "Etapa CRM", 12: "Asesor CRM", 13: "Estado CRM"}
        stand_in.types = {}
        stand_in.tags = {21: "Ganada", 22: "Perdida"}
        stand_in.flows = {"content1": "Cotización lista", "content2": "Bienvenida"}
        world.odoo("manychat.write.back", "action_refresh", [_write_back(world)])
        _choose(world)
        invented.bridge_that_writes(world)
        odoo.open(f"{ADDON}.manychat_write_back_action")


def _choose(world: World) -> None:
    items = world.odoo("manychat.account.item", "search_read", [], fields=["name"])
    ids = {item["name"]: item["id"] for item in items}
    chosen = {"stage_field_id": "Etapa CRM", "salesperson_field_id": "Asesor CRM", "won_tag_id": "Ganada"}
    values = {field: ids[name] for field, name in chosen.items()}
    world.odoo("manychat.write.back", "write", [_write_back(world)], values | {"enabled": True})
    row = world.odoo("manychat.stage.map", "search", [["manychat_stage_id", "=", 25]])
    world.odoo("manychat.stage.map", "write", row, {"flow_id": ids["Cotización lista"]})


def _write_back(world: World) -> int:
    return int(world.odoo("manychat.write.back", "search", [])[0])


def refused_by_manychat(odoo: OdooPage, world: World) -> None:
    """An opportunity whose flow was not started, because the customer has been silent for a day."""
    domain = [["stage_id.name", "=", "Comienza Cotización"], ["user_id", "!=", False]]
    (lead,) = world.odoo("crm.lead", "search_read", domain, fields=["x_manychat_id"], order="id desc", limit=1)
    invented.refusal(world, lead["x_manychat_id"])
    odoo.go(f"/odoo/crm/{lead['id']}")


SHOTS = [
    Shot("pipeline", pipeline, size=(1680, 800)),
    Shot("pipeline_phone", pipeline, phone=True),
    Shot("opportunity", opportunity, size=(1280, 1150)),
    Shot("opportunity_phone", opportunity, phone=True),
    Shot("getting_started", action("manychat_getting_started_action"), role="administrator"),
    Shot("getting_started_phone", action("manychat_getting_started_action"), role="administrator", phone=True),
    Shot("requests", action("manychat_request_action"), role="administrator", size=(1280, 900)),
    Shot("stage_map", action("manychat_stage_map_action")),
    Shot("stage_map_kanban", action("manychat_stage_map_action", "kanban")),
    Shot("stage_map_phone", action("manychat_stage_map_action"), phone=True),
    Shot("stage_aliases", action("manychat_stage_alias_action"), size=(1280, 460)),
    Shot("advisers", action("manychat_advisor_action"), size=(1280, 460)),
    Shot("events", events),
    Shot("failed_event", failed_event),
    Shot("refused_requests", action("manychat_event_refused_action"), size=(1280, 460)),
    Shot("funnel", action("manychat_funnel_action")),
    Shot("funnel_pivot", action("manychat_funnel_action", "pivot")),
    Shot("funnel_phone", action("manychat_funnel_action"), phone=True),
    Shot("settings", action("manychat_settings_action"), size=(1280, 900)),
    Shot("keys", action("manychat_api_key_action"), role="administrator", size=(1280, 460)),
    Shot("tell_manychat", tell_manychat, role="administrator", size=(1280, 860)),
    Shot("tell_manychat_es", tell_manychat, role="administrator", language=SPANISH, size=(1280, 860)),
    Shot("tell_manychat_es_phone", tell_manychat, role="administrator", language=SPANISH, phone=True),
    Shot("refused_by_manychat", refused_by_manychat, size=(1280, 760)),
    Shot("refused_by_manychat_es", refused_by_manychat, language=SPANISH, size=(1280, 760)),
    Shot("refused_by_manychat_es_phone", refused_by_manychat, language=SPANISH, phone=True),
    Shot("getting_started_es", action("manychat_getting_started_action"), role="administrator", language=SPANISH),
    Shot("funnel_es", action("manychat_funnel_action"), language=SPANISH),
]


def main(names: list[str]) -> None:
    chosen = odoo_versions.chosen()
    os_packages.ensure(os_packages.CHROMIUM, os_packages.PLAYWRIGHT_LIBRARY)
    stack = Stack("pictures", chosen, durable=False)
    if not stack.programs.is_running():
        stack.remove()
    stack.start()
    try:
        engine = sa.create_engine(stack.database_url)
        world = World(stack, engine)
        if not world.odoo("crm.lead", "search_count", []):
            with step("A month of conversations"):
                fill(world)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=os_packages.chromium(), args=["--no-sandbox"])
            windows: dict[tuple[str, str, bool], BrowserContext] = {}
            for shot in SHOTS:
                if not names or shot.name in names:
                    who = (shot.role, shot.language, shot.phone)
                    if who not in windows:
                        size = PHONE if shot.phone else DESKTOP
                        windows[who] = signed_in(browser, stack, shot.role, shot.language, size, shot.phone)
                    take(windows[who], world, shot)
            browser.close()
        engine.dispose()
    finally:
        if "--keep" not in sys.argv:
            stack.remove()


def fill(world: World) -> None:
    """What a system has that has been in use for a month."""
    ensure_languages(world.stack)
    # Frozen, or the administrator's next sign-in would put this machine's address in its place.
    for key, value in {"web.base.url": ADDRESS, "web.base.url.freeze": "True"}.items():
        world.odoo("ir.config_parameter", "set_param", key, value)
    # What the checklist's button does.
    world.odoo("manychat.stage.cleanup", "action_fold_all")
    # The pipeline shows everybody's, not only one's own.
    (pipeline,) = world.odoo(
        "ir.model.data", "search_read", [["name", "=", "crm_lead_action_pipeline"]], fields=["res_id"]
    )
    context = "{'default_type': 'opportunity'}"
    world.odoo("ir.actions.act_window", "write", [pipeline["res_id"]], {"context": context})
    (key,) = world.odoo("manychat.api.key", "search", [["prefix", "=", world.stack.webhook_key[:12]]])
    world.odoo("manychat.api.key", "write", [key], {"name": "WhatsApp bot"})
    invented.advisers(world)
    world.settled(*invented.conversations(world))
    invented.troubles(world)
    for number, lead in enumerate(world.odoo("crm.lead", "search", [], order="id")):
        world.odoo("crm.lead", "write", [lead], {"expected_revenue": 400 + 150 * (number % 7)})


def take(window: BrowserContext, world: World, shot: Shot) -> None:
    odoo = OdooPage(window, world.stack.odoo_url)
    if shot.size:
        odoo.page.set_viewport_size({"width": shot.size[0], "height": shot.size[1]})
    shot.show(odoo, world)
    odoo.page.evaluate(NO_MACHINE)
    path = FOLDER / f"{shot.name}.png"
    written = save(odoo.page.screenshot(style=QUIET), path)
    odoo.page.close()
    say(f"  {path.relative_to(ROOT)} {written / 1000:.0f} kB")
    for fault in odoo.faults:
        say(f"[red]  the browser complained:[/] {fault}")


def save(picture: bytes, path: Path) -> int:
    """Writes it with a palette, which screens make do with; returns the file's size (bytes)."""
    image = Image.open(BytesIO(picture)).convert("RGB")
    for colours in (256, 128, 64, 32):
        image.quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size <= LARGEST:
            break
    return path.stat().st_size


if __name__ == "__main__":
    main([name for name in sys.argv[1:] if not name.startswith("-")])

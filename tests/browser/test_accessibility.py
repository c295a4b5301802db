"""Every screen and dialog of ours before axe: names for what has no text, labels, contrast, structure."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.pictures import invented
from tests.world import World

from .accessibility import Fault, faults
from .conftest import SignIn
from .odoo_page import PATIENCE, OdooPage
from .test_deliveries import refused
from .test_event_log import failed_event
from .test_every_screen import screens  # noqa: F401

CHAT_URL = "https://app.manychat.com/fb1/chat/{manychat_id}"
PIPELINE = "crm.crm_lead_action_pipeline"
EVENTS = "miasalud_crm.manychat_event_action"
KEYS = "miasalud_crm.manychat_api_key_action"

expect.set_options(timeout=PATIENCE * 1000)

#: Both sizes: on a phone there are cards in place of rows.
sizes = pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])


@pytest.fixture(scope="module")
def rows(world: World) -> Iterator[dict[str, int]]:
    """One of each thing that the screens show: an empty screen breaks no rule."""
    world.odoo("ir.config_parameter", "set_param", "miasalud_crm.chat_url", CHAT_URL)
    one, other, lost = world.chat(), world.chat(), world.chat()
    phone = f"+52155{one.manychat_id[-8:]}"
    unknown = {f"campo {one.manychat_id.lower()}": "Mérida"}
    sent = [one.enters(17, phone=phone, summary="¿Tienen citas?", channel="WhatsApp", **unknown)]
    sent.append(other.enters(18, phone=phone))
    assert world.settled(*sent) == ["created"] * 2
    assert world.post("contact", {"nombre_lead": "Ana"}, **{"X-API-KEY": "mc_wrong"}).status_code == 401
    (done,) = world.odoo("manychat.event", "search", [["event_id", "=", sent[0]]])
    (field,) = world.eventually(
        lambda: world.odoo("manychat.field.map", "search", [["name", "=", next(iter(unknown))]])
    )
    # What goes back: on, with nothing chosen, which the page warns of; a refusal; a decision.
    world.odoo("manychat.write.back", "write", world.odoo("manychat.write.back", "search", []), {"enabled": True})
    invented.refusal(world, one.manychat_id)
    world.odoo("crm.lead", "write", [one.lead["id"]], {"expected_revenue": 1234})
    decided = [["type", "=", "decision"], ["manychat_id", "=", one.manychat_id], ["state", "=", "done"]]
    (decision,) = world.eventually(lambda: world.odoo("manychat.event", "search", decided))
    yield {
        "decision": decision,
        "lead": one.lead["id"],
        "done": done,
        "failed": failed_event(world, lost)[1],
        "refused": refused(world, world.chat()),
        "field": field,
        "stage": world.odoo("manychat.stage.map", "search", [], limit=1)[0],
        "alias": world.odoo("manychat.stage.alias", "search", [["map_id", "=", False]], limit=1)[0],
        "key": world.odoo("manychat.api.key", "search", [], limit=1)[0],
    }
    world.odoo("manychat.write.back", "write", world.odoo("manychat.write.back", "search", []), {"enabled": False})
    world.odoo("manychat.field.map", "unlink", [field])
    world.odoo("ir.config_parameter", "set_param", "miasalud_crm.chat_url", "")


class Record:
    """What the screens that were looked at break."""

    def __init__(self, odoo: OdooPage) -> None:
        self.odoo = odoo
        self.found: dict[str, list[Fault]] = {}

    def look(self, screen: str) -> None:
        if broken := faults(self.odoo):
            self.found[screen] = broken

    def __str__(self) -> str:
        return "\n".join(f"{screen}\n  " + "\n  ".join(map(str, broken)) for screen, broken in self.found.items())


@sizes
@pytest.mark.timeout(900)
def test_no_screen_of_ours_breaks_a_rule(
    screens: list[Any],  # noqa: F811
    rows: dict[str, int],
    sign_in: SignIn,
    phone: bool,
) -> None:
    record = Record(sign_in("administrator", phone=phone))
    for menu, action, view in screens:
        record.odoo.open(action, view)
        record.look(f"{menu}, {view}")
    assert not record.found, str(record)


@sizes
@pytest.mark.timeout(900)
def test_no_form_of_ours_breaks_a_rule(rows: dict[str, int], sign_in: SignIn, phone: bool) -> None:
    record = Record(sign_in("administrator", phone=phone))
    forms = [
        (PIPELINE, "lead"),
        (EVENTS, "done"),
        (EVENTS, "decision"),
        (EVENTS, "failed"),
        (EVENTS, "refused"),
        ("miasalud_crm.manychat_stage_map_action", "stage"),
        ("miasalud_crm.manychat_stage_alias_action", "alias"),
        ("miasalud_crm.manychat_field_map_action_open", "field"),
        (KEYS, "key"),
    ]
    for action, name in forms:
        record.odoo.open(action, record=rows[name])
        record.look(f"form {name}")
        tabs = record.odoo.page.locator(".o_notebook .nav-link:not(.active):visible")
        for tab in [str(tab.get_attribute("name")) for tab in tabs.all()]:
            record.odoo.click(f".o_notebook .nav-link[name={tab}]")
            record.look(f"form {name}, page {tab}")
    record.odoo.open(PIPELINE, view="kanban")
    record.look("pipeline")
    record.odoo.open("miasalud_crm.crm_lead_waiting_action")
    record.look("customers who wait")
    record.odoo.open("miasalud_crm.crm_lead_unsent_action")
    record.look("refused by ManyChat")
    record.odoo.open("miasalud_crm.manychat_stage_map_flow_action")
    record.look("flows to start")
    assert not record.found, str(record)


def _correct(odoo: OdooPage, rows: dict[str, int]) -> None:
    odoo.open(EVENTS, record=rows["refused"])
    odoo.click("button[name=action_correct]")


def _change_id(odoo: OdooPage, rows: dict[str, int]) -> None:
    odoo.open(PIPELINE, record=rows["lead"])
    odoo.click(".o_notebook .nav-link[name=manychat]")
    odoo.click("button[name=action_manychat_change_id]")
    odoo.field("manychat_id").locator("input").fill("")
    odoo.field("manychat_id").locator("input").blur()
    odoo.settle()


def _new_key(odoo: OdooPage, rows: dict[str, int]) -> None:
    odoo.open("miasalud_crm.manychat_api_key_create_action")


def _shown_key(odoo: OdooPage, rows: dict[str, int]) -> None:
    _new_key(odoo, rows)
    odoo.field("name").locator("input").fill("Bot de accesibilidad")
    odoo.click(".modal footer button.btn-primary")
    expect(odoo.field("key")).to_be_visible()


def _replace_key(odoo: OdooPage, rows: dict[str, int]) -> None:
    odoo.open(KEYS)
    odoo.click("button[name=action_replace]")


def _cleanup(odoo: OdooPage, rows: dict[str, int]) -> None:
    odoo.open("miasalud_crm.manychat_stage_cleanup_action")


def _use_field(odoo: OdooPage, rows: dict[str, int]) -> None:
    odoo.open("miasalud_crm.manychat_field_map_action_open")
    odoo.click("button[name=action_choose]")


def _resend(odoo: OdooPage, rows: dict[str, int]) -> None:
    odoo.open(EVENTS)
    odoo.page.locator(".o_data_row .o_list_record_selector input").first.check()
    odoo.settle()
    odoo.click("button[name=action_resend]")


def _tried_request(odoo: OdooPage, rows: dict[str, int]) -> None:
    odoo.open("miasalud_crm.manychat_request_action")
    odoo.click("button[name=try_request]")
    expect(odoo.page.locator(".o_manychat_try_answer")).to_be_visible()


def _problems(odoo: OdooPage, rows: dict[str, int]) -> None:
    odoo.open(EVENTS)
    odoo.click(".o_manychat_problems")


def _general_settings(odoo: OdooPage, rows: dict[str, int]) -> None:
    odoo.open("crm.crm_config_settings_action")


@pytest.mark.parametrize(
    "opens",
    [
        _correct,
        _change_id,
        _new_key,
        _shown_key,
        _replace_key,
        _cleanup,
        _use_field,
        _resend,
        _tried_request,
        _problems,
        _general_settings,
    ],
    ids=lambda opens: opens.__name__.strip("_"),
)
def test_no_dialog_of_ours_breaks_a_rule(
    rows: dict[str, int], sign_in: SignIn, opens: Callable[[OdooPage, dict[str, int]], None]
) -> None:
    record = Record(sign_in("administrator"))
    opens(record.odoo, rows)
    record.look(opens.__name__)
    assert not record.found, str(record)


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_the_buttons_in_a_row_are_pressed_by_the_keyboard(rows: dict[str, int], odoo: OdooPage, key: str) -> None:
    odoo.open("miasalud_crm.manychat_stage_alias_action", view="list")
    odoo.page.locator(".o_manychat_choose").first.press(key)
    expect(odoo.page.locator(".o_selected_row [name=map_id] input")).to_be_visible()
    odoo.page.keyboard.press("Escape")
    odoo.settle()
    odoo.page.locator("td[name=waiting_count] button").first.press(key)
    expect(odoo.page.locator(".o_data_row td[name=received_at]").first).to_be_visible()


@pytest.mark.parametrize(
    ("element", "rule"),
    [
        ("<button><i class='fa fa-copy'></i></button>", "button-name"),
        ("<p style='color: #aaa; background: #fff'>Importante</p>", "color-contrast"),
        ("<span class='badge' style='color: #fff; background: #ffac00'>Espera</span>", "color-contrast"),
        ("<pre style='overflow: auto; width: 20px; height: 20px'>una línea larga\notra línea larga</pre>",
         "scrollable-region-focusable"),
        ("<input type='text'>", "label"),
    ],
    ids=["button", "text", "badge", "scrolled", "input"],
)  # fmt: skip
def test_axe_finds_a_fault_among_our_elements(odoo: OdooPage, element: str, rule: str) -> None:
    odoo.open("miasalud_crm.manychat_request_action")
    insert = "html => document.querySelector('.o_manychat_requests p').insertAdjacentHTML('afterend', html)"
    odoo.page.evaluate(insert, element)
    assert {fault.rule for fault in faults(odoo)} == {rule}

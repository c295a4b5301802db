"""A request that was refused, or whose key is wrong, is seen by a person: counter, alert, list, checklist."""

from contextlib import suppress

import pytest
from playwright.sync_api import expect

from tests.world import World

from .conftest import SignIn
from .odoo_page import PATIENCE, OdooPage

COUNTER = ".o_manychat_problems"
expect.set_options(timeout=PATIENCE * 1000)


def look_for_problems(world: World) -> None:
    """The scheduled action, now, unless its own run is under way."""
    (job,) = world.odoo("ir.model.data", "search_read", [["name", "=", "cron_alerts"]], fields=["res_id"])
    with suppress(RuntimeError):
        world.odoo("ir.cron", "method_direct_trigger", [job["res_id"]])


def open_alert(world: World, kind: str, prefix: str) -> int:
    """The id of the alert, once it is open and names the bot with this key."""
    domain = [["kind", "=", kind], ["since", "!=", False]]

    def found() -> list[int]:
        look_for_problems(world)
        rows = world.odoo("manychat.alert", "search_read", domain, fields=["bot_text"])
        return [row["id"] for row in rows if prefix in (row["bot_text"] or "")]

    (alert,) = world.eventually(found)
    return int(alert)


def press(odoo: OdooPage, button: str) -> None:
    """A button of the form; on a phone it is in a menu, of the gear or beside the first button."""
    wanted = odoo.page.locator(f"button[name={button}]:visible")
    for menu in (
        ".o_form_statusbar button:has(.fa-ellipsis-v), .o_statusbar_buttons .dropdown-toggle",
        ".o_cp_action_menus button",
    ):
        if not wanted.count() and odoo.page.locator(menu).locator("visible=true").count():
            odoo.page.locator(menu).locator("visible=true").first.click()
            odoo.settle()
    odoo.click(f"button[name={button}]:visible")


def new_bot(world: World) -> str:
    """The key of a bot that no alert has named yet: what a user has seen of another one says nothing of it."""
    dialog = world.odoo("manychat.api.key.create", "create", {"name": "Bot perdido"})
    key: str = world.odoo("manychat.api.key.create", "action_generate", [dialog])["context"]["default_key"]
    return key


@pytest.fixture
def refused(world: World) -> str:
    """A request that breaks the contract; the beginning of its key, once the alert names it."""
    key = new_bot(world)
    assert world.post("contact", {"nombre_lead": "Ana"}, **{"X-API-KEY": key}).status_code == 422
    open_alert(world, "refused", key[:12])
    return key[:12]


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_a_refused_request_is_a_number_in_the_menu_that_leads_to_it(
    sign_in: SignIn, world: World, refused: str, phone: bool
) -> None:
    alert = open_alert(world, "refused", refused)
    problems = world.odoo("manychat.alert", "search_count", [["since", "!=", False]])
    odoo = sign_in("manager", phone=phone)
    odoo.open("crm.crm_lead_action_pipeline")
    expect(odoo.page.locator(f"{COUNTER}_count")).to_have_text(str(problems))
    odoo.click(COUNTER)
    odoo.click(".o_manychat_problem[data-kind=refused]")
    expect(odoo.field("bot_text")).to_contain_text(refused)
    assert odoo.field("advice").inner_text()
    assert odoo.overflow() == 0
    press(odoo, "action_view_events")
    assert odoo.page.locator(".o_data_row, .o_kanban_record:not(.o_kanban_ghost)").count()
    odoo.open("miasalud_crm.manychat_alert_action", record=alert)
    press(odoo, "action_seen")
    assert not world.odoo("manychat.alert", "read", [alert], ["since"])[0]["since"]


@pytest.mark.usefixtures("refused")
def test_only_those_who_can_act_have_the_counter(sign_in: SignIn) -> None:
    for role in ("salesperson", "builder"):
        odoo = sign_in(role)
        odoo.open("base.action_partner_form")
        assert odoo.page.locator(COUNTER).count() == 0


def test_a_mistyped_key_is_an_alert_and_a_row_that_names_the_bot(sign_in: SignIn, world: World) -> None:
    key = new_bot(world)
    assert world.post("contact", {"manychat_id": "MC-1"}, **{"X-API-KEY": key[:-1]}).status_code == 401
    alert = open_alert(world, "wrong_key", key[:12])
    odoo = sign_in("manager")
    odoo.open("miasalud_crm.manychat_alert_action", record=alert)
    expect(odoo.field("bot_text")).to_contain_text(key[:12])
    press(odoo, "action_view_events")
    row = odoo.page.locator(".o_data_row", has_text=key[:12]).first
    expect(row).to_be_visible()
    row.locator("td[name=key_name]").click()
    odoo.settle()
    press(odoo, "action_seen")
    expect(odoo.page.locator("button[name=action_seen]")).to_have_count(0)


@pytest.mark.usefixtures("refused")
def test_the_checklist_leads_to_what_was_refused(sign_in: SignIn) -> None:
    odoo = sign_in("manager")
    odoo.open("miasalud_crm.manychat_getting_started_action")
    step = odoo.page.locator("[data-name=refused], [name=refused]").first
    expect(step).to_be_visible()
    step.locator("button, a").first.click()
    odoo.settle()
    assert odoo.rows()

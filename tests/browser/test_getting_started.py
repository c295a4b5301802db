"""From a fresh installation to the first moved opportunity, before one's eyes."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.world import World

from .conftest import SignIn
from .odoo_page import PATIENCE, OdooPage

GETTING_STARTED = "miasalud_crm.manychat_getting_started_action"
KEYS = "miasalud_crm.manychat_api_key_action"
TEST_LEADS = [["x_manychat_id", "=like", "TEST-%"], ["active", "in", [True, False]]]
expect.set_options(timeout=PATIENCE * 1000)


@pytest.fixture
def no_leftovers(world: World) -> Iterator[None]:
    """The test's opportunity goes, also when a test fails."""
    yield
    world.odoo("crm.lead", "unlink", world.odoo("crm.lead", "search", TEST_LEADS))


@pytest.fixture
def no_bridge(world: World) -> Iterator[None]:
    programs = world.stack.programs
    programs.stop_program("bridge")
    yield
    programs.start_program("bridge")


def step(odoo: OdooPage, name: str) -> Any:
    return odoo.page.locator(f".o_manychat_step[data-name={name}]")


def hop(odoo: OdooPage, event: int, name: str) -> Any:
    return odoo.page.locator(f".o_manychat_test ol:visible >> nth={event} >> css=[data-name={name}]")


@pytest.fixture
def no_failures(world: World) -> None:
    """Failed events of other tests make the queue's step a warning."""
    if failed := world.odoo("manychat.event", "search", [["state", "=", "failed"]]):
        world.odoo("manychat.event", "action_discard", failed)


def test_from_the_checklist_to_the_first_moved_opportunity(
    sign_in: SignIn, world: World, no_failures: None, no_leftovers: None
) -> None:
    odoo = sign_in("manager")
    odoo.open(GETTING_STARTED)
    for name in ("key", "queue", "jobs", "bridge"):
        expect(step(odoo, name)).to_have_attribute("data-state", "done")
    before = step(odoo, "event").get_attribute("data-state")
    odoo.page.locator("#o_manychat_test_keep").check()
    odoo.page.locator("[name=start_test]").click()
    expect(odoo.page.locator(".o_manychat_test")).to_have_attribute("data-status", "moved")
    expect(odoo.page.locator(".o_manychat_hop[data-state=done]")).to_have_count(8)
    # A test event is no customer, and no figure counts its opportunity.
    expect(step(odoo, "event")).to_have_attribute("data-state", str(before))
    fields = ["contact_name", "stage_id", "user_id"]
    (lead,) = world.odoo("crm.lead", "search_read", TEST_LEADS, fields=fields)
    rows = world.odoo("manychat.stage.map", "search_read", [], fields=["stage_id"], limit=2)
    assert (lead["contact_name"], lead["stage_id"]) == ("ManyChat Test", rows[1]["stage_id"])
    assert world.odoo("manychat.funnel", "search_count", [["lead_id", "=", lead["id"]]]) == 0
    # The key that it was given for this is gone.
    assert world.odoo("manychat.api.key", "search_count", [["test_manychat_id", "!=", False]]) == 0

    odoo.click("[name=undo_test]")
    expect(odoo.page.locator(".o_manychat_test")).to_have_attribute("data-status", "deleted")
    assert world.odoo("crm.lead", "search_count", TEST_LEADS) == 0


def test_a_test_leaves_nothing(sign_in: SignIn, world: World, no_leftovers: None) -> None:
    odoo = sign_in("manager")
    odoo.open(GETTING_STARTED)
    odoo.page.locator("[name=start_test]").click()
    expect(odoo.page.locator(".o_manychat_test")).to_have_attribute("data-status", "moved")
    expect(odoo.page.locator("[name=open_lead]")).to_have_count(0)
    assert world.odoo("crm.lead", "search_count", TEST_LEADS) == 0


def test_a_kept_test_opportunity_is_deleted_by_a_button_later(
    sign_in: SignIn, world: World, no_leftovers: None
) -> None:
    odoo = sign_in("manager")
    odoo.open(GETTING_STARTED)
    odoo.page.locator("#o_manychat_test_keep").check()
    odoo.page.locator("[name=start_test]").click()
    odoo.page.locator("[name=open_lead]").click()
    expect(odoo.page.locator(".o_form_view")).to_be_visible()
    odoo.open(GETTING_STARTED)
    assert world.odoo("crm.lead", "search_count", TEST_LEADS) == 1
    odoo.click("[name=delete_leftovers]")
    expect(odoo.page.locator(".o_manychat_test")).to_have_attribute("data-status", "deleted")
    assert world.odoo("crm.lead", "search_count", TEST_LEADS) == 0


def test_without_a_bridge_it_says_that_the_event_stopped_there_and_goes_on_when_one_comes(
    sign_in: SignIn, world: World, no_leftovers: None, no_bridge: None
) -> None:
    odoo = sign_in("manager")
    odoo.open(GETTING_STARTED)
    odoo.page.locator("[name=start_test]").click()
    expect(hop(odoo, 0, "taken")).to_have_attribute("data-state", "stopped")
    expect(hop(odoo, 0, "queued")).to_have_attribute("data-state", "done")
    # What to type is the same in every language.
    expect(hop(odoo, 0, "taken").locator(".o_manychat_cause")).to_contain_text("python -m bridge")
    world.stack.programs.start_program("bridge")
    expect(odoo.page.locator(".o_manychat_test")).to_have_attribute("data-status", "moved")


def test_a_new_key_is_in_the_list_as_soon_as_its_dialog_is_closed(sign_in: SignIn, world: World) -> None:
    odoo = sign_in("administrator")
    odoo.open(KEYS)
    before = len(odoo.rows())
    odoo.click(".o_control_panel .btn-primary")
    odoo.field("name").locator("input").fill("Bot de prueba")
    odoo.click(".modal [name=action_generate]")
    key = odoo.field("key").inner_text().strip()
    assert key.startswith("mck_")
    odoo.click(".modal footer .btn-primary")
    expect(odoo.page.locator(".o_data_row")).to_have_count(before + 1)
    assert key not in odoo.page.content()
    world.odoo("manychat.api.key", "unlink", world.odoo("manychat.api.key", "search", [["name", "=", "Bot de prueba"]]))


def test_the_requests_can_be_copied_and_are_accepted(sign_in: SignIn, world: World) -> None:
    odoo = sign_in("manager")
    odoo.open("miasalud_crm.manychat_request_action")
    page = odoo.page
    text = json.dumps('Prueba "uno"\n')
    for name in ("opportunity", "contact", "campaign_assignment", "campaign_contact"):
        odoo.click(f".o_manychat_requests [role=tab][name={name}]")
        page.locator("[data-name=body] .o_clipboard_button").click()
        body = page.evaluate("() => navigator.clipboard.readText()")
        # What ManyChat does with its fields.
        sent = re.sub(r"\{\{\w+\|[^{}]*\}\}", lambda _: text, body).replace("{{user_id}}", "1234567890")
        method = page.locator("[data-name=url] .badge").inner_text()
        path = "/api/" + page.locator("[data-name=url] code").inner_text().split("/api/")[1]
        answer = world.post(path, json.loads(sent), method=method, **{"X-Dry-Run": "1"})
        assert answer.status_code == 200, answer.text
    odoo.click(".o_manychat_requests [role=tab][name=opportunity]")
    page.locator("#o_manychat_request_stage").select_option(index=3)
    expect(page.locator("[data-name=body] pre")).to_contain_text('"stage_id": 19')


def test_the_settings_try_the_queue(sign_in: SignIn) -> None:
    odoo = sign_in("administrator")
    odoo.go("/odoo/settings#crm")
    odoo.page.locator(".settings_tab .tab[data-key=crm]").click()
    odoo.settle()
    odoo.page.locator("[name=action_manychat_test_queue]").click()
    expect(odoo.page.locator(".o_notification_bar.bg-success, .o_notification.border-success")).to_be_visible()

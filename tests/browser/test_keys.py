"""Keys: their state, what they sent today, replacing one, revoking one; and whose bot it is."""

from collections.abc import Iterator

import pytest
import requests
from playwright.sync_api import expect

from tests.world import World

from .conftest import SignIn
from .odoo_page import PATIENCE, OdooPage
from .people import SPANISH, person

KEYS = "miasalud_crm.manychat_api_key_action"
expect.set_options(timeout=PATIENCE * 1000)


@pytest.fixture
def name(request: pytest.FixtureRequest, world: World) -> Iterator[str]:
    """The name of a key that a test makes."""
    name = f"Bot {request.node.name[:40]}"
    yield name
    everything = {"active_test": False}
    keys = world.odoo("manychat.api.key", "search", [["name", "=", name], ["active", "=", True]], context=everything)
    world.odoo("manychat.api.key", "write", keys, {"active": False})


def new_key(odoo: OdooPage, name: str) -> str:
    """Makes a key by the dialog, and returns it as it is shown, once."""
    odoo.open(KEYS)
    odoo.click(".o_list_buttons button.btn-primary, .o_control_panel button.btn-primary")
    odoo.field("name").locator("input").fill(name)
    odoo.click(".modal footer button.btn-primary")
    return shown(odoo)


def shown(odoo: OdooPage) -> str:
    key = odoo.field("key").inner_text().strip().split()[0]
    odoo.click(".modal footer button.btn-primary")
    return key


def sent(world: World, key: str) -> int:
    address = f"{world.stack.odoo_url}/api/v1/manychat/webhook/contact"
    body = {"manychat_id": "MC-CLAVES", "nombre_lead": "Ana"}
    return requests.post(address, json=body, headers={"X-API-KEY": key, "X-Dry-Run": "1"}, timeout=30).status_code


def moment(odoo: OdooPage, name: str) -> str:
    """What a field of date and time holds: on Odoo 19 it is a button until a user enters it."""
    shown = odoo.field(name).locator("input, button, span").first
    shown.wait_for()
    return str(shown.evaluate("each => each.value || each.innerText")).strip()


def row(odoo: OdooPage, prefix: str) -> str:
    return f".o_data_row:has(td[name=prefix]:has-text('{prefix}'))"


def test_a_key_is_replaced_and_both_are_valid_until_the_old_one_ends(sign_in: SignIn, world: World, name: str) -> None:
    odoo = sign_in("administrator")
    old = new_key(odoo, name)
    odoo.open(KEYS)
    odoo.click(f"{row(odoo, old[:12])} button[name=action_replace]")
    assert moment(odoo, "ends_at")
    odoo.click(".modal footer button[name=action_replace]")
    new = shown(odoo)
    assert new != old
    assert (sent(world, old), sent(world, new)) == (200, 200)
    odoo.open(KEYS)
    odoo.click(f"{row(odoo, old[:12])} td[name=name]")
    expect(odoo.field("replaced_by_id")).to_contain_text(name)
    assert moment(odoo, "expiration_date")


def test_an_end_in_the_past_is_refused_in_words(sign_in: SignIn, name: str) -> None:
    odoo = sign_in("administrator")
    odoo.open(KEYS)
    odoo.click(".o_list_buttons button.btn-primary, .o_control_panel button.btn-primary")
    odoo.field("name").locator("input").fill(name)
    date = odoo.field("expiration_date").locator("input")
    date.fill("01/01/2020 10:00:00")
    date.press("Tab")
    odoo.click(".modal footer button.btn-primary")
    expect(odoo.page.locator(".o_error_dialog, .modal:has-text('Odoo')").last).to_be_visible()
    assert odoo.page.locator(".o_field_widget[name=key]").count() == 0


def test_a_revoked_key_stays_in_the_list_and_says_who_revoked_it(sign_in: SignIn, world: World, name: str) -> None:
    odoo = sign_in("administrator")
    key = new_key(odoo, name)
    odoo.open(KEYS)
    odoo.click(f"{row(odoo, key[:12])} button[name=action_revoke]")
    odoo.click(".modal footer button.btn-primary")
    expect(odoo.page.locator(f"{row(odoo, key[:12])} td[name=state_text]")).to_contain_text("Ada Administra")
    assert sent(world, key) == 401
    odoo.click(f"{row(odoo, key[:12])} td[name=name]")
    expect(odoo.page.locator(".ribbon")).to_have_count(1)
    assert odoo.page.locator("button[name=action_revoke]:visible").count() == 0
    assert odoo.page.locator("button[name=action_replace]:visible").count() == 1


def test_a_manager_chooses_the_bot_builders_and_changes_nothing_else(sign_in: SignIn, world: World, name: str) -> None:
    builder = person(world.stack, "builder", SPANISH)
    key = new_key(sign_in("administrator"), name)
    odoo = sign_in("manager")
    odoo.open(KEYS)
    assert odoo.page.locator("button[name=action_revoke], button[name=action_replace]").count() == 0
    odoo.click(f"{row(odoo, key[:12])} td[name=name]")
    assert odoo.field("name").locator("input").count() == 0
    odoo.field("builder_ids").locator("input").fill(builder.name)
    odoo.page.locator(".o-autocomplete--dropdown-item, .ui-menu-item", has_text=builder.name).first.click()
    odoo.settle()
    odoo.click(".o_form_button_save")
    (found,) = world.odoo("manychat.api.key", "search_read", [["prefix", "=", key[:12]]], fields=["builder_ids"])
    assert len(found["builder_ids"]) == 1


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_a_bot_builder_sees_their_bots_requests_and_no_other_words(sign_in: SignIn, world: World, phone: bool) -> None:
    builder = person(world.stack, "builder", SPANISH)
    (user,) = world.odoo("res.users", "search", [["login", "=", builder.login]])
    prefix = world.stack.webhook_key[:12]
    (key,) = world.odoo("manychat.api.key", "search", [["prefix", "=", prefix]])
    refused = world.post("contact", {"nombre_lead": "Ana Reservada", "email_lead": "ana@example.com"})
    assert refused.status_code == 422
    (delivery,) = world.odoo("manychat.event", "search", [["state", "=", "refused"]], limit=1)
    for mine in (False, True):
        world.odoo("manychat.api.key", "write", [key], {"builder_ids": [[6, 0, [user] if mine else []]]})
        odoo = sign_in("builder", phone=phone)
        odoo.open("miasalud_crm.manychat_event_builder_action", record=delivery)
        assert bool(odoo.page.locator(".o_field_widget[name=my_request]:visible").count()) is mine
        assert odoo.page.locator(".o_form_view button[name^=action_]:visible").count() == 0
        assert odoo.overflow() == 0
    odoo.open("miasalud_crm.manychat_event_builder_action")
    assert odoo.page.locator(".o_data_row, .o_kanban_record:not(.o_kanban_ghost)").count()
    odoo.open(KEYS)
    assert odoo.page.locator(".o_data_row, .o_kanban_record:not(.o_kanban_ghost)", has_text=prefix).count() == 1
    odoo.open("miasalud_crm.manychat_request_action")
    expect(odoo.page.locator(".o_manychat_request").first).to_be_visible()
    world.odoo("manychat.api.key", "write", [key], {"builder_ids": [[6, 0, []]]})


def test_a_bot_builder_has_a_menu_of_their_own(sign_in: SignIn) -> None:
    odoo = sign_in("builder")
    odoo.open("miasalud_crm.manychat_event_builder_action")
    sections = odoo.page.locator(".o_menu_sections [data-menu-xmlid^='miasalud_crm.manychat_builder']")
    expect(sections).to_have_count(3)

"""A field that the bot sends and the contract does not know: a manager chooses what takes it, also for kept events."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.world import Chat, World

from .conftest import SignIn
from .odoo_page import PATIENCE, OdooPage
from .people import LANGUAGES, SPANISH
from .test_every_screen import SMALL_DESKTOP

expect.set_options(timeout=PATIENCE * 1000)

FIELDS = "miasalud_crm.manychat_field_map_action_open"


@pytest.fixture
def name(chat: Chat, world: World) -> Iterator[str]:
    """The name of a field that no bot has sent yet; its row goes after the test."""
    name = f"campo {chat.manychat_id.lower()}"
    yield name
    rows = world.odoo("manychat.field.map", "search", [["name", "=like", f"{name}%"]])
    world.odoo("manychat.field.map", "unlink", rows)


def city(world: World, chat: Chat) -> str:
    (lead,) = world.odoo("crm.lead", "read", [chat.lead["id"]], ["city"])
    return str(lead["city"])


def choose_city(odoo: OdooPage, world: World) -> None:
    choices = odoo.page.locator(".modal [name=field_name]")
    if choices.locator("select").count():  # 18
        choices.locator("select").select_option(value='"city"')
        return
    label = world.odoo("crm.lead", "fields_get", ["city"], ["string"], context={"lang": SPANISH})["city"]["string"]
    choices.locator(".o_select_menu_toggler").click()
    odoo.page.locator(".o_select_menu_item").get_by_text(label, exact=True).click()
    odoo.settle()


def test_an_unknown_field_is_used_from_now_on_and_for_kept_events(
    odoo: OdooPage, world: World, chat: Chat, name: str
) -> None:
    assert world.settled(chat.enters(17, **{name: "Mérida"})) == ["created"]
    odoo.open(FIELDS)
    row = odoo.page.locator(".o_data_row", has_text=name)
    expect(row.locator("td[name=seen_count]")).to_have_text("1")
    expect(row.locator("td[name=example]")).to_have_text("Mérida")
    odoo.click(f".o_data_row:has-text('{name}') button[name=action_choose]")
    choose_city(odoo, world)
    expect(odoo.page.locator(".modal [name=preview]")).to_contain_text("Mérida → Mérida")
    expect(odoo.page.locator(".modal [name=kept_text]")).to_contain_text("1")
    odoo.click(".modal button[name=action_use]")
    expect(row.locator("td[name=state] .badge")).to_have_class("badge rounded-pill text-bg-success")
    world.eventually(lambda: city(world, chat) == "Mérida")
    assert world.settled(chat.enters(18, minute=5, **{name: "Puebla"})) == ["moved"]
    assert city(world, chat) == "Puebla"
    odoo.open(FIELDS)
    odoo.click(f".o_data_row:has-text('{name}') td[name=name]")
    expect(odoo.page.locator("[name=fill_text]")).to_contain_text("1")


def test_a_value_that_does_not_fit_is_seen_at_the_field_and_at_the_event(
    odoo: OdooPage, world: World, chat: Chat, name: str
) -> None:
    row = world.odoo("manychat.field.map", "create", {"name": name, "field_name": "expected_revenue"})
    world.odoo("manychat.field.map", "action_use", [row])
    assert world.settled(chat.enters(17, **{name: "mucho"})) == ["created"]
    odoo.open(FIELDS)
    expect(odoo.page.locator(f".o_data_row:has-text('{name}') td[name=warning_count]")).to_have_text("1")
    odoo.click(f".o_data_row:has-text('{name}') td[name=warning_count] button")
    odoo.click(f".o_data_row:has-text('{chat.manychat_id}') td.o_data_cell")
    expect(odoo.page.locator("[name=warning_text]")).to_contain_text(name)
    assert "mucho" not in odoo.page.locator("[name=warning_text]").inner_text()


def test_an_ignored_field_leaves_the_suggestions(odoo: OdooPage, world: World, chat: Chat, name: str) -> None:
    assert world.settled(chat.enters(17, **{name: "algo"})) == ["created"]
    odoo.open(FIELDS)
    odoo.click(f".o_data_row:has-text('{name}') button[name=action_ignore]")
    expect(odoo.page.locator(".o_data_row", has_text=name)).to_have_count(0)
    odoo.open(FIELDS)
    expect(odoo.page.locator(".o_data_row", has_text=name)).to_have_count(0)


@pytest.mark.parametrize("language", LANGUAGES, indirect=True)
def test_the_list_shows_its_buttons_on_a_laptop(sign_in: SignIn, world: World, chat: Chat, name: str) -> None:
    row = world.odoo("manychat.field.map", "create", {"name": name, "field_name": "expected_revenue"})
    world.odoo("manychat.field.map", "action_use", [row])
    assert world.settled(chat.enters(17, **{name: "mucho", f"{name} y un nombre que es muy largo": "x" * 200})) == [
        "created"
    ]
    odoo = sign_in()
    odoo.page.set_viewport_size(SMALL_DESKTOP)
    odoo.open(FIELDS)
    for button in ("action_choose", "action_ignore"):
        expect(odoo.page.locator(f".o_data_row button[name={button}]").first).to_be_in_viewport(ratio=1)
    assert odoo.overflow(".o_list_renderer") == 0

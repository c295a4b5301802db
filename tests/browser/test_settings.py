"""The settings of a sales manager, who has no technical rights."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.world import World

from .conftest import SignIn
from .odoo_page import PATIENCE, OdooPage

SETTINGS = "miasalud_crm.manychat_settings_action"
SAVE = ".o_form_button_save"
expect.set_options(timeout=PATIENCE * 1000)


@pytest.fixture(autouse=True)
def settings_as_before(world: World) -> Iterator[None]:
    ours = [["key", "=like", "miasalud_crm.%"]]
    before = world.odoo("ir.config_parameter", "search_read", ours, fields=["key", "value"])
    yield
    world.odoo("ir.config_parameter", "unlink", world.odoo("ir.config_parameter", "search", ours))
    for row in before:
        world.odoo("ir.config_parameter", "set_param", row["key"], row["value"])


def value(world: World, name: str) -> Any:
    return world.odoo("ir.config_parameter", "get_param", f"miasalud_crm.{name}")


def write(odoo: OdooPage, name: str, text: str) -> None:
    odoo.field(name).locator("input").first.fill(text)
    odoo.page.keyboard.press("Tab")
    odoo.settle()


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_a_sales_manager_finds_and_changes_the_settings(sign_in: SignIn, world: World, phone: bool) -> None:
    odoo = sign_in("manager", phone=phone)
    if phone:
        odoo.open(SETTINGS)
    else:
        odoo.go("/odoo/crm")
        odoo.click("[data-menu-xmlid='crm.crm_menu_config']")
        odoo.click("[data-menu-xmlid='miasalud_crm.manychat_settings_menu']")
    assert odoo.overflow() == 0
    write(odoo, "webhook_base_url", "https://Hooks.Example.com/")
    write(odoo, "retention_days", "31")
    odoo.click(SAVE)
    # The page shows what is stored, and nothing is left to save.
    expect(odoo.field("webhook_base_url").locator("input")).to_have_value("https://hooks.example.com")
    expect(odoo.field("retention_days").locator("input")).to_have_value("31")
    expect(odoo.page.locator(".o_dirty_warning")).to_have_count(0)
    assert (value(world, "webhook_base_url"), value(world, "event_retention_days")) == (
        "https://hooks.example.com",
        "31",
    )
    assert value(world, "overdue_minutes") in (False, None, "")


def test_an_address_that_manychat_cannot_use_is_refused_and_stays_to_be_corrected(
    sign_in: SignIn, world: World
) -> None:
    odoo = sign_in("manager")
    odoo.open(SETTINGS)
    write(odoo, "webhook_base_url", "https://crm.example.com/odoo")
    odoo.click(SAVE)
    expect(odoo.page.locator(".modal")).to_contain_text("https://crm.example.com/odoo")
    odoo.click(".modal .btn-primary")
    assert not value(world, "webhook_base_url")
    write(odoo, "webhook_base_url", "https://crm.example.com")
    odoo.click(SAVE)
    expect(odoo.page.locator(".o_dirty_warning")).to_have_count(0)
    assert value(world, "webhook_base_url") == "https://crm.example.com"


def test_the_test_says_that_nothing_answers_there(sign_in: SignIn, world: World) -> None:
    odoo = sign_in("manager")
    odoo.open(SETTINGS)
    write(odoo, "webhook_base_url", "https://no-existe.invalid")
    odoo.click("[name=action_test_address]")
    expect(odoo.page.locator(".o_notification")).to_contain_text("https://no-existe.invalid")
    # It has saved, as its name says.
    assert value(world, "webhook_base_url") == "https://no-existe.invalid"
    expect(odoo.field("webhook_base_url").locator("input")).to_have_value("https://no-existe.invalid")


def test_leaving_with_changes_asks_first(sign_in: SignIn, world: World) -> None:
    odoo = sign_in("manager")
    odoo.open(SETTINGS)
    write(odoo, "silent_minutes", "25")
    odoo.click("[data-menu-xmlid='crm.crm_menu_config']")
    odoo.click("[data-menu-xmlid='miasalud_crm.manychat_getting_started_menu']")
    expect(odoo.page.locator(".modal")).to_be_visible()
    odoo.click(".modal .btn-primary")
    assert value(world, "bridge_silent_minutes") == "25"

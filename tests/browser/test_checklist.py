"""The steps of the checklist, as a sales manager goes through them."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, expect

from tests.world import World

from .conftest import SignIn
from .odoo_page import PATIENCE, OdooPage
from .test_getting_started import GETTING_STARTED, step

expect.set_options(timeout=PATIENCE * 1000)


@pytest.fixture(autouse=True)
def as_before(world: World) -> Iterator[None]:
    ours = [["key", "=like", "miasalud_crm.%"]]
    before = world.odoo("ir.config_parameter", "search_read", ours, fields=["key", "value"])
    address = world.odoo("ir.config_parameter", "get_param", "web.base.url")
    world.odoo("ir.config_parameter", "unlink", world.odoo("ir.config_parameter", "search", ours))
    yield
    world.odoo("ir.config_parameter", "unlink", world.odoo("ir.config_parameter", "search", ours))
    for row in before:
        world.odoo("ir.config_parameter", "set_param", row["key"], row["value"])
    world.odoo("ir.config_parameter", "set_param", "web.base.url", address)


def colored(odoo: OdooPage) -> Locator:
    return odoo.page.locator(":is(.o_manychat_step, .o_manychat_test) .btn-primary")


def state(odoo: OdooPage, name: str, expected: str) -> None:
    expect(step(odoo, name)).to_have_attribute("data-state", expected)


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_exactly_the_next_open_step_has_the_colored_button(sign_in: SignIn, world: World, phone: bool) -> None:
    odoo = sign_in("manager", phone=phone)
    odoo.open(GETTING_STARTED)
    assert odoo.overflow() == 0
    expect(colored(odoo)).to_have_count(1)
    following = odoo.page.locator(".o_manychat_step[aria-current=step]")
    expect(following).to_have_count(1)
    expect(following.locator(".btn-primary")).to_have_count(1)
    # It is the first one that is not done.
    first_open = odoo.page.locator(".o_manychat_step:not([data-state=done]):not([data-state=skipped])").first
    assert first_open.get_attribute("data-name") == following.get_attribute("data-name")


def test_an_optional_step_is_put_aside_and_taken_up_again(sign_in: SignIn, world: World) -> None:
    odoo = sign_in("manager")
    odoo.open(GETTING_STARTED)
    count = odoo.page.locator(".o_manychat_done_count")
    before = count.inner_text()
    step(odoo, "chat_link").locator("[name=skip_step]").click()
    state(odoo, "chat_link", "skipped")
    expect(count).not_to_have_text(before)
    odoo.page.reload()
    odoo.settle()
    state(odoo, "chat_link", "skipped")
    step(odoo, "chat_link").locator("[name=take_up_step]").click()
    state(odoo, "chat_link", "todo")
    expect(count).to_have_text(before)
    # What is required cannot be put aside.
    for name in ("key", "queue", "jobs", "address", "bridge", "stages", "event"):
        expect(step(odoo, name).locator("[name=skip_step]")).to_have_count(0)


def test_what_an_administrator_has_to_do_is_copied(sign_in: SignIn, world: World) -> None:
    odoo = sign_in("manager")
    odoo.open(GETTING_STARTED)
    step(odoo, "address").locator("[name=ask_administrator]").click()
    expect(odoo.page.locator(".o_notification")).to_be_visible()
    message = odoo.page.evaluate("() => navigator.clipboard.readText()")
    assert "/api/v1/manychat/" in message
    assert "Mara Mando" in message
    assert world.stack.database in message


def test_where_the_browser_lets_no_page_copy_the_message_is_shown(sign_in: SignIn, world: World) -> None:
    odoo = sign_in("manager")
    odoo.open(GETTING_STARTED)
    odoo.page.evaluate("() => Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    step(odoo, "address").locator("[name=ask_administrator]").click()
    expect(odoo.page.locator(".modal")).to_contain_text("/api/v1/manychat/")


def test_the_keyboard_reaches_and_presses_each_button(sign_in: SignIn, world: World) -> None:
    odoo = sign_in("manager")
    odoo.open(GETTING_STARTED)
    step(odoo, "chat_link").locator("button").first.focus()
    odoo.page.keyboard.press("Tab")
    odoo.page.keyboard.press("Enter")
    state(odoo, "chat_link", "skipped")


def test_the_address_that_odoo_knows_is_kept_with_one_click(sign_in: SignIn, world: World) -> None:
    odoo = sign_in("manager")
    world.odoo("ir.config_parameter", "set_param", "web.base.url", "https://crm.example.com")
    odoo.open(GETTING_STARTED)
    step(odoo, "address").locator("[name=keep_address]").click()
    expect(step(odoo, "address").locator("[name=test_address]")).to_be_visible()
    assert world.odoo("ir.config_parameter", "get_param", "miasalud_crm.webhook_base_url") == "https://crm.example.com"
    step(odoo, "address").locator("[name=test_address]").click()
    expect(odoo.page.locator(".o_notification")).to_contain_text("https://crm.example.com")
    state(odoo, "address", "todo")


def test_from_the_checklist_to_a_salesperson_who_gets_the_customer(sign_in: SignIn, world: World) -> None:
    odoo = sign_in("manager")
    odoo.open(GETTING_STARTED)
    state(odoo, "people", "todo")
    step(odoo, "people").locator("[name='miasalud_crm.manychat_settings_action']").click()
    odoo.settle()
    odoo.field("default_user_id").locator("input").fill("Mara Mando")
    odoo.page.locator(".o-autocomplete--dropdown-item", has_text="Mara Mando").first.click()
    odoo.settle()
    odoo.click(".o_form_button_save")
    odoo.open(GETTING_STARTED)
    state(odoo, "people", "done")
    chat = world.chat()
    world.settled(chat.enters(17))
    (lead,) = world.odoo("crm.lead", "search_read", [["x_manychat_id", "=", chat.manychat_id]], fields=["user_id"])
    assert lead["user_id"][1] == "Mara Mando"
    state(odoo, "event", "done")


def test_who_comes_back_to_the_page_sees_the_present_state(sign_in: SignIn, world: World) -> None:
    odoo = sign_in("manager")
    odoo.open(GETTING_STARTED)
    state(odoo, "chat_link", "todo")
    switch = """hidden => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    odoo.page.evaluate(switch, True)
    world.odoo(
        "ir.config_parameter", "set_param", "miasalud_crm.chat_url", "https://app.manychat.com/fb1/{manychat_id}"
    )
    odoo.page.evaluate(switch, False)
    state(odoo, "chat_link", "done")

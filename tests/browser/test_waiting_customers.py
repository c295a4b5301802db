"""What a salesperson sees of a customer who wrote: on the card, in the form, in the list of those who wait."""

from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import pytest
from playwright.sync_api import expect

from tests.world import Chat, World

from .conftest import SignIn
from .odoo_page import PATIENCE, OdooPage
from .people import SPANISH

PIPELINE = "crm.crm_lead_action_pipeline"
WAITING = "miasalud_crm.crm_lead_waiting_action"
CHAT_URL = "https://app.manychat.com/fb1/chat/{manychat_id}"
WORDS = "¿Tienen citas el jueves por la tarde?\nMe duele la espalda desde hace dos semanas y no puedo dormir."
expect.set_options(timeout=PATIENCE * 1000)


@pytest.fixture(autouse=True)
def chat_link(world: World) -> Iterator[None]:
    world.odoo("ir.config_parameter", "set_param", "miasalud_crm.chat_url", CHAT_URL)
    yield
    world.odoo("ir.config_parameter", "set_param", "miasalud_crm.chat_url", "")


def wrote(world: World, chat: Chat, minute: float = 0, summary: str = WORDS, stage: int = 17) -> int:
    """The customer writes, and Vera Ventas is their salesperson. Returns the opportunity's id."""
    number = f"+52155{abs(hash(chat.manychat_id)) % 10**8:08d}"
    world.settled(chat.enters(stage, minute, summary=summary, phone=number, channel="WhatsApp"))
    lead = chat.lead["id"]
    (vera,) = world.odoo("res.users", "search", [["login", "=", f"salesperson-{SPANISH}".lower()]])
    world.odoo("crm.lead", "write", [lead], {"user_id": vera, "name": f"Cliente {chat.manychat_id}"})
    return int(lead)


def waits(world: World, lead: int) -> Any:
    return world.odoo("crm.lead", "read", [lead], ["manychat_waits_since"])[0]["manychat_waits_since"]


def bar(odoo: OdooPage) -> Any:
    return odoo.page.locator("[name=manychat_bar]")


def filter_name(world: World, name: str) -> str:
    """What the filter is called on the screen of the tests' users."""
    view = world.odoo("crm.lead", "get_view", False, "search", context={"lang": SPANISH})
    (node,) = ElementTree.fromstring(view["arch"]).findall(f".//filter[@name='{name}']")
    return str(node.get("string"))


def card(odoo: OdooPage, chat: Chat) -> Any:
    return odoo.page.locator(".o_kanban_record", has_text=chat.manychat_id)


def search(odoo: OdooPage, text: str) -> None:
    odoo.page.locator(".o_searchview_input").first.fill(text)
    expect(odoo.page.locator(".o_searchview_autocomplete")).to_contain_text(text)
    odoo.page.keyboard.press("Enter")
    expect(odoo.page.locator(".o_searchview_facet", has_text=text)).to_be_visible()
    odoo.settle()


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_from_the_card_to_the_chat_and_back_to_a_customer_who_waits_no_longer(
    sign_in: SignIn, world: World, chat: Chat, phone: bool
) -> None:
    odoo = sign_in("salesperson", phone=phone)
    lead = wrote(world, chat)
    odoo.open(WAITING, view="kanban")
    mine = card(odoo, chat)
    expect(mine.locator(".o_manychat_words")).to_contain_text("Me duele la espalda")
    expect(mine.locator("time")).to_have_text("hace 1 hora")
    expect(mine.locator(".badge")).to_be_visible()
    assert mine.locator(".o_manychat_words").evaluate("words => getComputedStyle(words).webkitLineClamp") == "2"

    mine.click()  # the first tap
    odoo.settle()
    links = bar(odoo).locator("a.o_manychat_link")
    expect(links).to_have_count(2)
    assert odoo.overflow() == 0
    assert links.nth(0).get_attribute("href") == CHAT_URL.replace("{manychat_id}", chat.manychat_id)
    assert str(links.nth(1).get_attribute("href")).startswith("https://wa.me/52155")
    odoo.page.context.route("https://app.manychat.com/**", lambda route: route.fulfill(body="El chat"))
    with odoo.page.context.expect_page() as opened:
        links.nth(0).click()  # the second tap
    expect(opened.value.locator("body")).to_have_text("El chat")
    opened.value.close()
    assert waits(world, lead), "opening a chat is no answer"

    odoo.click("[name=manychat_bar] button[name=action_manychat_answered]")
    expect(bar(odoo).locator(".badge")).to_be_hidden()
    assert not waits(world, lead)
    odoo.click("[name=manychat_bar] button[name=action_manychat_waits_again]")
    expect(bar(odoo).locator(".badge")).to_be_visible()
    assert waits(world, lead)


def test_a_note_in_the_chatter_answers(sign_in: SignIn, world: World, chat: Chat) -> None:
    odoo = sign_in("salesperson")
    lead = wrote(world, chat)
    odoo.open(PIPELINE, record=lead)
    odoo.click(".o-mail-Chatter-logNote")
    odoo.page.locator(".o-mail-Composer-input").fill("Le llamé por teléfono")
    odoo.click(".o-mail-Composer-send")
    world.eventually(lambda: not waits(world, lead))


def test_the_card_of_another_opportunity_shows_nothing_of_ours(sign_in: SignIn, world: World, chat: Chat) -> None:
    odoo = sign_in("salesperson")
    wrote(world, chat)
    (vera,) = world.odoo("res.users", "search", [["login", "=", f"salesperson-{SPANISH}".lower()]])
    name = f"Sin chat {chat.manychat_id}"
    plain = world.odoo("crm.lead", "create", {"name": name, "type": "opportunity", "user_id": vera})
    odoo.open(PIPELINE, view="kanban")
    search(odoo, chat.manychat_id)
    expect(odoo.page.locator(".o_kanban_record:visible", has_text=name)).to_have_count(1)
    expect(odoo.page.locator(".o_manychat_card")).to_have_count(1)
    odoo.open(PIPELINE, record=plain)
    expect(bar(odoo)).to_be_hidden()


def test_the_list_of_those_who_wait_begins_with_the_longest_wait(sign_in: SignIn, world: World) -> None:
    odoo = sign_in("salesperson")
    late, early = world.chat(), world.chat()
    second, first = wrote(world, late, minute=30), wrote(world, early, minute=10)
    odoo.open(WAITING)
    names = [row for row in odoo.rows() if early.manychat_id in row or late.manychat_id in row]
    assert early.manychat_id in names[0]
    assert late.manychat_id in names[1]
    row = odoo.page.locator(".o_data_row", has_text=early.manychat_id)
    row.locator("button[name=action_manychat_answered]").click()
    expect(row).to_have_count(0)
    assert not waits(world, first)
    assert waits(world, second)


def test_the_filters_find_who_waits_and_whose_window_closes(sign_in: SignIn, world: World) -> None:
    odoo = sign_in("salesperson")
    now, soon, closed = world.chat(), world.chat(), world.chat()
    leads = [wrote(world, now), wrote(world, soon, minute=-21 * 60), wrote(world, closed, minute=-25 * 60)]
    world.odoo("crm.lead", "action_manychat_answered", [leads[0]])
    expected = {
        "manychat_waits": {soon, closed},
        "manychat_window_closes": {soon},
        "manychat_window_closed": {closed},
    }
    for name, chats in expected.items():
        odoo.open(PIPELINE, view="list")
        odoo.click(".o_searchview_dropdown_toggler")
        odoo.page.locator(".o_filter_menu .o_menu_item", has_text=filter_name(world, name)).first.click()
        odoo.settle()
        shown = "\n".join(odoo.rows())
        assert {chat for chat in (now, soon, closed) if chat.manychat_id in shown} == chats, name


def test_a_merged_opportunity_offers_each_chat_the_newest_first(sign_in: SignIn, world: World) -> None:
    odoo = sign_in("salesperson")
    old, new = world.chat(), world.chat()
    kept, gone = wrote(world, old, minute=0), wrote(world, new, minute=20)
    world.odoo("crm.lead", "merge_opportunity", [kept, gone])
    odoo.open(PIPELINE, record=old.lead["id"])
    buttons = bar(odoo).locator("button.o_manychat_links")
    expect(buttons).to_have_count(2)
    buttons.first.click()
    links = odoo.page.locator(".o-dropdown--menu a.o_manychat_link")
    expect(links).to_have_count(2)
    assert [str(link.get_attribute("href")).rpartition("/")[2] for link in links.all()] == [
        new.manychat_id,
        old.manychat_id,
    ]
    expect(links.first).to_contain_text("hace")


def test_the_events_of_the_chat_show_what_the_customer_said(sign_in: SignIn, world: World, chat: Chat) -> None:
    lead = None
    for phone in (False, True):
        odoo = sign_in("salesperson", phone=phone)
        lead = lead or wrote(world, chat)
        odoo.open(PIPELINE, record=lead)
        if phone:
            odoo.click(".o_button_more")
        odoo.click("button[name=action_view_manychat_events]")
        shown = odoo.page.locator(".o_kanban_record:visible" if phone else ".o_data_row")
        expect(shown.first).to_contain_text("Me duele la espalda")
        assert odoo.overflow() == 0


def test_who_changes_the_id_of_a_chat_is_asked_and_the_chatter_says_so(
    sign_in: SignIn, world: World, chat: Chat
) -> None:
    odoo = sign_in("salesperson")
    lead = wrote(world, chat)
    odoo.open(PIPELINE, record=lead)
    odoo.click(".nav-link[name=manychat]")
    expect(odoo.field("x_manychat_id").locator("input")).to_have_count(0)
    change = ".tab-pane.active button[name=action_manychat_change_id]"
    odoo.click(change)
    expect(odoo.field("effect")).to_contain_text(chat.manychat_id)
    odoo.click(".modal-footer button[special=cancel], .modal-footer .btn-secondary")
    assert chat.lead["x_manychat_id"] == chat.manychat_id

    odoo.click(change)
    odoo.field("manychat_id").locator("input").fill(f"{chat.manychat_id}-B")
    odoo.page.keyboard.press("Tab")
    odoo.settle()
    odoo.click(".modal-footer button[name=action_change]")
    tracked = odoo.page.locator(".o-mail-Message-tracking", has_text=f"{chat.manychat_id}-B")
    expect(tracked).to_contain_text(chat.manychat_id)
    expect(odoo.field("x_manychat_id")).to_have_text(f"{chat.manychat_id}-B")

    odoo.click(change)
    odoo.click(".modal-footer button[name=action_remove]")
    assert not world.odoo("crm.lead", "read", [lead], ["x_manychat_id"])[0]["x_manychat_id"]
    expect(odoo.page.locator(".o-mail-Message-tracking")).not_to_have_count(1)

"""What goes back to ManyChat, as administrators choose it, and what salespeople see when ManyChat refuses it.

ManyChat itself is a stand-in; Odoo asks it over real HTTP.
"""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.manychat_stand_in import ACCOUNT, ManyChatStandIn, asked_by_odoo
from tests.pictures import invented
from tests.world import World

from .conftest import SignIn
from .odoo_page import PATIENCE, OdooPage
from .people import LANGUAGES
from .test_lost_leads import press

ACTION = "miasalud_crm.manychat_write_back_action"
CHOICES = (
    "stage_field_id",
    "stage_id_field_id",
    "salesperson_field_id",
    "status_field_id",
    "won_tag_id",
    "lost_tag_id",
)
expect.set_options(timeout=PATIENCE * 1000)


@pytest.fixture
def manychat(world: World) -> Iterator[ManyChatStandIn]:
    with asked_by_odoo(world.stack) as stand_in:
        yield stand_in
    (record,) = world.odoo("manychat.write.back", "search", [])
    world.odoo("manychat.write.back", "write", [record], {"enabled": False, **dict.fromkeys(CHOICES, False)})


def choose(odoo: OdooPage, name: str, text: str) -> None:
    odoo.field(name).locator("input").fill(text)
    odoo.page.locator(".o-autocomplete--dropdown-item", has_text=text).first.click()
    odoo.settle()


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_an_administrator_tests_refreshes_and_switches_it_on(
    sign_in: SignIn, world: World, manychat: ManyChatStandIn, phone: bool
) -> None:
    odoo = sign_in("administrator", phone=phone)
    odoo.open(ACTION)
    assert odoo.overflow() == 0
    press(odoo, "action_test")
    expect(odoo.page.locator(".o_notification")).to_contain_text(f"“{ACCOUNT}”")
    press(odoo, "action_refresh")
    expect(odoo.page.locator(".o_notification").last).to_contain_text("4")
    if not phone:  # there the choice opens in a dialog of its own
        choose(odoo, "stage_field_id", "etapa")
        odoo.click(".o_form_button_save")
        (settings,) = world.odoo("manychat.write.back", "search_read", [], fields=["stage_field_id", "enabled"])
        assert (settings["stage_field_id"][1], settings["enabled"]) == ("etapa", False)
    manychat.troubles.append((200, {"status": "error", "message": "Wrong token"}))
    press(odoo, "action_test")
    expect(odoo.page.locator(".o_notification").last).to_contain_text("Wrong token")


def test_a_sales_manager_sees_it_and_changes_nothing(sign_in: SignIn) -> None:
    odoo = sign_in("manager")
    odoo.open(ACTION)
    expect(odoo.field("enabled")).to_be_visible()
    expect(odoo.page.locator("button[name=action_test]")).to_have_count(0)
    expect(odoo.field("stage_field_id").locator("input")).to_have_count(0)


def test_one_click_switches_it_off_and_the_chatter_says_who(
    sign_in: SignIn, world: World, manychat: ManyChatStandIn
) -> None:
    (record,) = world.odoo("manychat.write.back", "search", [])
    world.odoo("manychat.write.back", "write", [record], {"enabled": True})
    odoo = sign_in("administrator")
    odoo.open(ACTION)
    odoo.click(".o_field_widget[name=enabled] input")
    world.eventually(lambda: world.odoo("manychat.write.back", "search", [["enabled", "=", False]]))
    expect(odoo.page.locator(".o-mail-Message").first).to_contain_text("Ada Administra")


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_what_manychat_refused_is_listed_with_the_reason_and_marked_as_seen(
    sign_in: SignIn, world: World, phone: bool
) -> None:
    chat = world.chat()
    world.settled(chat.enters(25))
    invented.refusal(world, chat.manychat_id)
    odoo = sign_in("manager", phone=phone)
    odoo.open("miasalud_crm.crm_lead_unsent_action")
    row = odoo.page.locator(".o_data_row, .o_kanban_record:not(.o_kanban_ghost)").filter(has_text="WhatsApp").first
    expect(row).to_be_visible()
    assert odoo.overflow() == 0
    before = world.odoo("crm.lead", "search_count", [["manychat_unsent", "=", True]])
    row.locator("button[name=action_manychat_unsent_seen]").click()
    world.eventually(lambda: world.odoo("crm.lead", "search_count", [["manychat_unsent", "=", True]]) == before - 1)


@pytest.mark.parametrize("language", LANGUAGES, indirect=True)
@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_an_opportunity_shows_the_refusal_until_it_is_seen(sign_in: SignIn, world: World, phone: bool) -> None:
    chat = world.chat()
    world.settled(chat.enters(25))
    invented.refusal(world, chat.manychat_id)
    odoo = sign_in("manager", phone=phone)
    odoo.go(f"/odoo/crm/{chat.lead['id']}")
    bar = odoo.page.locator(".o_manychat_unsent")
    expect(bar).to_be_visible()
    expect(bar).to_contain_text("WhatsApp")
    assert odoo.overflow() == 0
    odoo.click(".o_manychat_unsent button[name=action_manychat_unsent_seen]")
    expect(bar).to_be_hidden()

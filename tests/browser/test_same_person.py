"""One person in two opportunities: a user merges them with Odoo's own Merge, or says that they are two people."""

import itertools
import time

import pytest
from playwright.sync_api import expect

from tests.world import Chat, World

from .conftest import SignIn
from .odoo_page import PATIENCE, OdooPage

expect.set_options(timeout=PATIENCE * 1000)

PEOPLE = "miasalud_crm.manychat_same_person_action"
_lines = itertools.count(1)


@pytest.fixture
def twins(world: World) -> tuple[Chat, Chat]:
    """Two conversations from one phone, once with the 1 that WhatsApp still writes for Mexico."""
    line = f"55{time.time_ns() // 1000 % 10**6:06}{next(_lines):02}"
    one, other = world.chat(), world.chat()
    assert world.settled(one.enters(17, phone=f"+521{line}"), other.enters(18, phone=f"52{line}")) == ["created"] * 2
    one.line = other.line = line  # type: ignore[attr-defined]
    return one, other


def row(odoo: OdooPage, chat: Chat) -> str:
    return f".o_data_row:has-text('{chat.line}')"  # type: ignore[attr-defined]


def test_two_opportunities_of_one_person_are_merged_and_both_chats_go_on(
    odoo: OdooPage, world: World, twins: tuple[Chat, Chat]
) -> None:
    one, other = twins
    odoo.open(PEOPLE)
    expect(odoo.page.locator(f"{row(odoo, one)} td[name=lead_count]")).to_have_text("2")
    odoo.click(f"{row(odoo, one)} button[name=action_merge]")
    expect(odoo.page.locator(".modal [name=opportunity_ids] .o_data_row")).to_have_count(2)
    odoo.click(".modal button[name=action_merge]")
    assert one.lead["id"] == other.lead["id"]
    odoo.open(PEOPLE)
    expect(odoo.page.locator(row(odoo, one))).to_have_count(0)
    assert world.settled(other.enters(19, minute=20)) == ["moved"]
    assert world.settled(one.enters(20, minute=30)) == ["moved"]
    assert one.stage == "Retorno a AE"


def test_a_form_shows_the_other_one_until_a_user_says_that_they_are_two_people(
    odoo: OdooPage, twins: tuple[Chat, Chat]
) -> None:
    one, other = twins
    odoo.open("crm.crm_lead_action_pipeline", record=one.lead["id"])
    banner = odoo.page.locator(".o_manychat_same_person")
    expect(banner.locator("[name=manychat_same_person_places]")).to_contain_text("Retornó en AC")
    odoo.click(".o_manychat_same_person button[name=action_manychat_distinct]")
    odoo.click(".modal footer .btn-primary")
    expect(banner).to_have_count(0)
    odoo.open("crm.crm_lead_action_pipeline", record=other.lead["id"])
    expect(banner).to_have_count(0)
    odoo.open(PEOPLE)
    expect(odoo.page.locator(row(odoo, one))).to_have_count(0)


def test_a_salesperson_opens_merge_from_the_form_on_a_phone(
    sign_in: SignIn, world: World, twins: tuple[Chat, Chat]
) -> None:
    odoo = sign_in("salesperson", phone=True)
    odoo.open("crm.crm_lead_action_pipeline", record=twins[0].lead["id"])
    assert odoo.overflow() <= 0
    odoo.click(".o_manychat_same_person button[name=action_manychat_merge]")
    odoo.click(".modal button[name=action_merge]")
    assert twins[0].lead["id"] == twins[1].lead["id"]


def test_an_opportunity_without_another_one_shows_nothing(odoo: OdooPage, world: World, chat: Chat) -> None:
    assert world.settled(chat.enters(17, phone=f"+5218{time.time_ns() % 10**9:09}")) == ["created"]
    odoo.open("crm.crm_lead_action_pipeline", record=chat.lead["id"])
    expect(odoo.page.locator(".o_manychat_same_person")).to_have_count(0)

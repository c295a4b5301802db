"""A ManyChat stage that nobody has mapped: a manager sees it, says what it means, and its event goes through."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.world import Chat, World

from .odoo_page import PATIENCE, OdooPage

expect.set_options(timeout=PATIENCE * 1000)

ALIASES = "miasalud_crm.manychat_stage_alias_action"
MAP = "miasalud_crm.manychat_stage_map_action"


@pytest.fixture
def unknown(chat: Chat, world: World) -> str:
    """The label of a stage that has arrived, that nobody has mapped, and for which an event waits."""
    label = f"Etapa {chat.manychat_id}"
    assert world.settled(chat.enters(label)) == ["dead_lettered"]
    return label


@pytest.fixture
def own_stage(unknown: str, world: World) -> Iterator[str]:
    """A pipeline stage that bears the unknown stage's name; it goes after the test, with what has come of it."""
    stage = world.odoo("crm.stage", "create", {"name": unknown, "sequence": 99})
    yield unknown
    for model in ("crm.lead", "manychat.stage.map"):
        world.odoo(model, "unlink", world.odoo(model, "search", [["stage_id", "=", stage]]))
    world.odoo("crm.stage", "unlink", [stage])


def test_pointing_an_unknown_stage_to_a_mapped_one_lets_its_event_through(
    odoo: OdooPage, world: World, chat: Chat, unknown: str
) -> None:
    odoo.open(MAP)
    odoo.click(".o_manychat_open_aliases button")
    row = odoo.page.locator(".o_data_row", has_text=unknown)
    expect(row.locator("td[name=waiting_count]")).to_have_text("1")
    odoo.click(f".o_data_row:has-text('{unknown}') [name=map_id]")
    odoo.page.locator(".o_selected_row [name=map_id] input").fill("Retornó en AC")
    odoo.page.locator(".o-autocomplete--dropdown-item a", has_text="Retornó en AC").first.click()
    odoo.click(".o_list_button_save")
    # How many were released is said in the person's language; the number is the same in all.
    expect(odoo.page.locator(".o_notification", has_text=unknown)).to_contain_text("1")
    world.eventually(lambda: world.odoo("crm.lead", "search_count", [["x_manychat_id", "=", chat.manychat_id]]))
    assert chat.stage == "Retornó en AC"
    odoo.open(ALIASES)
    expect(odoo.page.locator(".o_data_row", has_text=unknown)).to_have_count(0)


def test_an_unknown_stage_becomes_a_row_of_its_own(odoo: OdooPage, world: World, chat: Chat, own_stage: str) -> None:
    odoo.open(ALIASES)
    odoo.click(f".o_data_row:has-text('{own_stage}') button[name=action_map_to_new_row]")
    # Filled in with what is known; a pipeline stage of that name is most likely the one.
    expect(odoo.field("name").locator("input, textarea").first).to_have_value(own_stage)
    expect(odoo.field("stage_id").locator("input")).to_have_value(own_stage)
    odoo.click(".modal .o_form_button_save")
    expect(odoo.page.locator(".o_data_row", has_text=own_stage)).to_have_count(0)
    world.eventually(lambda: world.odoo("crm.lead", "search_count", [["x_manychat_id", "=", chat.manychat_id]]))
    assert chat.stage == own_stage
    odoo.open(MAP)
    row = odoo.page.locator(".o_data_row", has_text=own_stage)
    expect(row.locator("td[name=lead_count]")).to_have_text("1")
    odoo.click(f".o_data_row:has-text('{own_stage}') [name=lead_count] button")
    expect(odoo.page.locator(".o_data_row")).to_have_count(1)


def test_the_events_that_wait_open_from_their_number_and_can_be_discarded(
    odoo: OdooPage, world: World, chat: Chat, unknown: str
) -> None:
    odoo.open(ALIASES)
    odoo.click(f".o_data_row:has-text('{unknown}') [name=waiting_count] button")
    assert [chat.manychat_id in row for row in odoo.rows()] == [True]
    odoo.open(ALIASES)
    odoo.click(f".o_data_row:has-text('{unknown}') button[name=action_discard]")
    odoo.click(".modal footer .btn-primary")
    expect(odoo.page.locator(".o_data_row", has_text=unknown)).to_have_count(0)
    (event,) = world.odoo("manychat.event", "search_read", [["manychat_id", "=", chat.manychat_id]])
    assert event["state"] == "discarded"

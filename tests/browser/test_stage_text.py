"""What a bot says in a stage: a manager writes it, sees it filled in, and learns what is wrong before it is sent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.world import World

from .conftest import SignIn
from .odoo_page import PATIENCE

expect.set_options(timeout=PATIENCE * 1000)

MAP = "miasalud_crm.manychat_stage_map_action"


@pytest.fixture
def row(world: World) -> Iterator[int]:
    """A row of the stage map, without a text before and after."""
    (found,) = world.odoo("manychat.stage.map", "search", [["manychat_stage_id", "=", 17]])
    yield found
    world.odoo("manychat.stage.map", "write", [found], {"answer_text": False})


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_a_text_is_shown_filled_in_and_a_wrong_one_is_not_saved(
    sign_in: SignIn, world: World, row: int, phone: bool
) -> None:
    odoo = sign_in("manager", phone=phone)
    odoo.open(MAP, record=row)
    odoo.click(".nav-link[name=answer_text]")
    text = odoo.field("answer_text").locator("textarea")
    text.fill("Su asesora es {salesperson}.\n\nEstamos en {stage}.")
    text.press("Tab")
    odoo.settle()
    expect(odoo.field("answer_preview")).to_contain_text("Su asesora es Ana Torres.")
    odoo.click(".o_form_button_save")
    assert world.odoo("manychat.stage.map", "read", [row], ["answer_text"])[0]["answer_text"].startswith("Su asesora")
    assert odoo.overflow() == 0
    text.fill("Hola {nombre}")
    text.press("Tab")
    odoo.settle()
    expect(odoo.field("answer_preview")).to_contain_text("{nombre}")
    odoo.click(".o_form_button_save")
    expect(odoo.page.locator(".modal .modal-body, .o_error_dialog").last).to_contain_text("{nombre}")
    odoo.click(".modal footer button.btn-primary")
    odoo.click(".o_form_button_cancel")

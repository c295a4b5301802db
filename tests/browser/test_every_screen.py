"""Every screen of ours opens, in both languages and on a phone: those that are added later too."""

from typing import Any

import pytest

from tests.world import World

from .conftest import SignIn
from .people import LANGUAGES

#: A laptop. Its lists scroll sideways for what does not fit, and buttons at their end are not seen.
SMALL_DESKTOP = {"width": 1280, "height": 760}


@pytest.fixture(scope="module")
def screens(world: World) -> list[tuple[str, int, str]]:
    """Menu, action and view of everything that our menus lead to."""
    ours = world.odoo("ir.model.data", "search_read", [["module", "=", "miasalud_crm"], ["model", "=", "ir.ui.menu"]])
    menus = world.odoo("ir.ui.menu", "read", [row["res_id"] for row in ours], ["complete_name", "action"])
    found = [
        (menu["complete_name"], int(menu["action"].split(",")[1]), view)
        for menu in menus
        if menu["action"]
        for view in _views(world, menu["action"])
    ]
    assert found
    return found


@pytest.mark.parametrize("language", LANGUAGES, indirect=True)
@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
@pytest.mark.timeout(900)
def test_every_screen_opens_without_a_complaint(screens: list[Any], sign_in: SignIn, phone: bool) -> None:
    odoo = sign_in("administrator", phone=phone)
    for menu, action, view in screens:
        odoo.open(action, view)
        assert not odoo.faults, f"{menu}, {view}: {odoo.faults}"
        assert odoo.page.locator(".o_error_dialog").count() == 0, f"{menu}, {view}"
        assert odoo.overflow() == 0, f"{menu}, {view} is wider than its window"


@pytest.mark.parametrize(
    "action",
    [
        "manychat_api_key_action",
        "manychat_event_action",
        "manychat_event_refused_action",
        "manychat_stage_map_flow_action",
        "crm_lead_unsent_action",
    ],
)
def test_a_list_shows_its_last_column_on_a_laptop(sign_in: SignIn, action: str) -> None:
    odoo = sign_in("administrator")
    odoo.page.set_viewport_size(SMALL_DESKTOP)
    odoo.open(f"miasalud_crm.{action}", "list")
    assert odoo.overflow(".o_list_renderer") == 0


def _views(world: World, action: str) -> list[str | None]:
    model, number = action.split(",")
    if model != "ir.actions.act_window":
        return [None]
    (row,) = world.odoo(model, "read", [int(number)], ["view_mode", "target"])
    # A form as one of several is what a record opens in.
    modes = row["view_mode"].split(",")
    return [None] if row["target"] == "new" else [mode for mode in modes if mode != "form" or modes == ["form"]]

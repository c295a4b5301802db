"""Every screen of ours before axe, the checker of the WCAG rules: names for what has no text, contrast, structure.

What Odoo's web client draws around our views, and its own widgets in them, are Odoo's: they are excluded, each by name.
"""

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.world import World

from .conftest import SignIn
from .odoo_page import OdooPage
from .test_every_screen import screens  # noqa: F401

#: The rules of WCAG 2.2, levels A and AA: https://github.com/dequelabs/axe-core/blob/develop/doc/rule-descriptions.md
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]

#: Parts of the page that Odoo draws, not our views: selector, and why it is no fault of ours.
ODOOS_OWN = {
    ".o_navbar": "the web client's own bar",
    ".o_control_panel": "breadcrumbs, pager, view switcher and search bar",
    ".o_searchview": "the same on a phone",
    ".o_search_panel": "the search panel",
    ".o_list_renderer thead": "headings of lists: sort arrows and resize handles",
    ".o_list_record_selector": "Odoo's box for choosing a row has no label",
    ".o_list_actions_header": "the button for optional columns",
    ".o_handle_cell": "the handle for moving a row",
    ".o_optional_columns_dropdown": "the list of optional columns",
    ".o_statusbar_status": "the arrows of the status bar",
    ".o_field_badge": "white on Odoo's own green has 3.1:1",
    ".o_avatar, .o_field_many2one_avatar_user": "pictures of users without a text, beside their names",
    ".o_notebook_headers": "the tabs of a form",
    ".o_pivot": "the pivot table",
    ".o_graph_renderer": "the chart's canvas",
    ".o-mail-Chatter": "the chatter",
    ".o_field_widget.o_field_boolean": "Odoo's own box gets its label by another element",
    ".o_column_quick_create, .o_kanban_header": "kanban columns",
    ".o_cp_buttons": "buttons of the control panel",
    ".o_field_widget.o_field_many2many_tags .o_delete": "the cross of a tag",
    ".o_setting_container, .settings_tab": "the settings page of all apps",
}
#: Rules about the page as a whole, which is Odoo's.
#: And one about what Odoo's lists do in a narrow window.
OF_THE_PAGE = ["html-has-lang", "document-title", "meta-viewport", "bypass", "scrollable-region-focusable"]


def violations(odoo: OdooPage) -> list[str]:
    """What axe finds in what is open: rule, element and reason."""
    context = {"include": [[".o_action_manager"]], "exclude": [[selector] for selector in _present(odoo)]}
    options = {
        "runOnly": {"type": "tag", "values": RULES},
        "rules": {rule: {"enabled": False} for rule in OF_THE_PAGE},
        "resultTypes": ["violations"],
    }
    found: dict[str, Any] = Axe().run(odoo.page, context=context, options=options).response
    return [
        f"{violation['id']}: {node['html'][:160]} ({node['failureSummary'].splitlines()[-1].strip()})"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]


def _present(odoo: OdooPage) -> list[str]:
    """The selectors of what is Odoo's own; axe refuses one that finds nothing."""
    return [selector for selector in ODOOS_OWN if odoo.page.locator(selector).count()]


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
@pytest.mark.timeout(900)
def test_no_screen_of_ours_breaks_a_rule_of_accessibility(
    screens: list[Any],  # noqa: F811
    sign_in: SignIn,
    phone: bool,
) -> None:
    odoo = sign_in("administrator", phone=phone)
    found = {}
    for menu, action, view in screens:
        odoo.open(action, view)
        if faults := violations(odoo):
            found[f"{menu}, {view}"] = faults
    assert not found, "\n".join(f"{screen}\n  " + "\n  ".join(faults) for screen, faults in found.items())


def test_an_opportunity_breaks_none(sign_in: SignIn, world: World) -> None:
    odoo, one, other = sign_in(), world.chat(), world.chat()
    phone = f"+52551234{one.manychat_id[-4:]}"
    assert world.settled(one.enters(17, phone=phone, summary="¿Tienen citas?"), other.enters(18, phone=phone))
    odoo.open("crm.crm_lead_action_pipeline", record=one.lead["id"])
    ours = [fault for fault in violations(odoo) if "manychat" in fault]
    assert not ours, "\n".join(ours)


def test_axe_finds_a_button_without_a_name(odoo: OdooPage) -> None:
    odoo.open("miasalud_crm.manychat_field_map_action")
    odoo.page.evaluate(
        "document.querySelector('.o_action_manager').insertAdjacentHTML('beforeend', "
        "'<button><i class=fa></i></button>')"
    )
    assert {fault.split(":")[0] for fault in violations(odoo)} == {"button-name"}

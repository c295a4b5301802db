"""axe, the checker of the WCAG rules, over everything that a page shows: our elements, and Odoo's around them.

Nothing is left out beforehand and no rule is off: what Odoo's own elements break is in `ODOOS_OWN`, each by its rule
and the one kind of element. An element of ours is never excused with them.
"""

from dataclasses import dataclass
from typing import Any

from axe_playwright_python.sync_playwright import Axe

from .odoo_page import OdooPage

#: The rules of WCAG 2.2, levels A and AA: https://github.com/dequelabs/axe-core/blob/develop/doc/rule-descriptions.md
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]

#: What Odoo's own elements break: rule, element, and what it is.
ODOOS_OWN: list[tuple[str, str, str]] = [
    ("html-has-lang", "html", "the page as a whole"),
    ("meta-viewport", "meta[name=viewport]", "the page as a whole"),
    ("aria-required-children", ".o_menu_systray, .o_menu_sections", "a menu's role, around buttons"),
    ("aria-required-parent", ".o_menu_brand", "the app's name"),
    ("link-name", ".o_menu_toggle", "the way to all apps"),
    ("button-name", ".o_switch_view", "the view switcher"),
    ("button-name", ".o_control_panel button.dropdown-toggle", "the view switcher of a phone, the gear"),
    ("button-name", ".o_control_panel button:has(> .fa-search)", "the search of a phone"),
    ("button-name", ".o_optional_columns_dropdown button", "the choice of columns"),
    ("aria-allowed-attr", ".o_searchview", "the search"),
    ("aria-allowed-attr", ".o_searchview_facet, .o_searchview_input", "the search of Odoo 19"),
    ("aria-allowed-attr", ".o-autocomplete--input", "a field with suggestions in Odoo 19"),
    ("aria-allowed-attr", ".o-dropdown, .o-dropdown-item", "menus and their items in Odoo 19"),
    ("color-contrast", ".o_datetime_picker div", "days of the months beside the shown one"),
    ("autocomplete-valid", ".o_select_menu_input", "a list of choices in Odoo 19"),
    ("color-contrast", "span.opacity-50.p-2", "the language of a translated field in Odoo 19"),
    ("role-img-alt", ".o_searchview_icon", "the search"),
    ("target-size", ".o_searchview button", "the search"),
    ("aria-required-parent", ".o_searchview_facet", "a filter of the search"),
    ("aria-command-name", ".o_searchview_facet_label", "a filter of the search"),
    ("aria-roles", ".o_searchview_facet i", "a filter of the search"),
    ("label", ".o_list_record_selector input", "the box that selects a row"),
    ("aria-required-parent", ".settings_tab .tab", "the apps of a settings page"),
    ("color-contrast", ".o_setting_box *:not(.o_manychat_settings *)", "grey texts of the settings of all apps"),
    ("color-contrast", ".o_pivot_measure_row", "the headings of a pivot table"),
    ("aria-required-parent", ".o_notebook_headers .nav-link", "the tabs of a form"),
    ("color-contrast", ".o_form_label", "labels of fields, which are grey on a phone"),
    ("button-name", ".o_back_button", "the way back on a phone"),
    ("color-contrast", ".o_lead_opportunity_form .oe_grey", "the words around the probability"),
    ("target-size", ".o_priority_star", "the stars of an opportunity"),
    ("image-alt", "img[src*='/avatar_128']", "pictures of users, beside their names"),
    ("role-img-alt", ".o_column_quick_create i, .o-mail-ActivityButton i", "new column, activities of a card"),
    ("aria-prohibited-attr", ".o-mail-Message-avatarContainer", "the chatter"),
    ("color-contrast", ".o-mail-Chatter-topbar *", "the chatter"),
    ("role-img-alt", ".o-mail-Chatter-topbar i, .o-mail-Followers i", "the chatter"),
    ("list", ".o-mail-Message ul:has(> .o-mail-Message-tracking)", "tracked changes in the chatter"),
    ("scrollable-region-focusable", ".o_list_renderer, .o_pivot", "a table that is wider than its window"),
]

_RUN = """async ([tags, odoosOwn]) => {
    const found = await axe.run(document, {
        runOnly: { type: "tag", values: tags }, resultTypes: ["violations"], elementRef: true,
    });
    return found.violations.flatMap(({ id, nodes }) => nodes.map(({ element, html, failureSummary }) => ({
        rule: id,
        html: html.slice(0, 300),
        reason: failureSummary.trim().split("\\n").at(-1).trim(),
        known: odoosOwn.findIndex(([rule, selector]) => rule === id && element.matches(selector)),
    })));
}"""


@dataclass(frozen=True)
class Fault:
    """One element that breaks one rule."""

    rule: str
    html: str
    reason: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.html} ({self.reason})"


def faults(odoo: OdooPage) -> list[Fault]:
    """What the page that is open breaks, apart from what is known of Odoo's own elements."""
    odoo.page.evaluate(Axe().axe_script)
    found: list[dict[str, Any]] = odoo.page.evaluate(_RUN, [TAGS, ODOOS_OWN])
    return [Fault(each["rule"], each["html"], each["reason"]) for each in found if each["known"] < 0]

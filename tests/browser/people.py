"""The people who use it, each with the rights and the language that a real one would have. All invented."""

from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Browser, BrowserContext

#: What people in Mexico and Colombia have. Odoo reads i18n/es.po for it first, then i18n/es_419.po, on 18 and 19 alike
#: (odoo/tools/translate.py, get_po_paths): our es.po serves every Spanish.
SPANISH = "es_419"
LANGUAGES = ["en_US", SPANISH]

GROUPS = {
    "salesperson": ["sales_team.group_sale_salesman"],
    "manager": ["sales_team.group_sale_manager"],
    "builder": ["miasalud_crm.group_bot_builder"],
    "administrator": ["sales_team.group_sale_manager", "base.group_system"],
}
_NAMES = {
    "salesperson": "Vera Ventas",
    "manager": "Mara Mando",
    "builder": "Bruno Bots",
    "administrator": "Ada Administra",
}
PASSWORD = "prueba-de-navegador"


@dataclass(frozen=True)
class Person:
    """Somebody who can sign in."""

    login: str
    password: str
    name: str


def ensure_languages(stack: Any) -> None:
    """Activates the languages that aren't yet, with all their translations."""
    codes = stack.rpc("res.lang", "search_read", [["active", "=", True]], fields=["code"])
    missing = sorted(set(LANGUAGES) - {row["code"] for row in codes})
    if missing:
        inactive = {"active_test": False}
        languages = stack.rpc("res.lang", "search", [["code", "in", missing]], context=inactive)
        wizard = stack.rpc("base.language.install", "create", {"lang_ids": [[6, 0, languages]]})
        stack.rpc("base.language.install", "lang_install", [wizard])


def person(stack: Any, role: str, language: str) -> Person:
    """The one with this role and language, created if this Odoo doesn't know them yet."""
    login = f"{role}-{language}".lower()
    someone = Person(login, PASSWORD, _NAMES[role])
    if not stack.rpc("res.users", "search_count", [["login", "=", login]]):
        known = stack.rpc("res.users", "fields_get", [], ["type"])
        groups = [_record(stack, name) for name in ["base.group_user", *GROUPS[role]]]
        values = {
            "name": someone.name,
            "login": login,
            "password": PASSWORD,
            "email": f"{login}@example.com",
            "lang": language,
            "tz": "UTC",
            "group_ids" if "group_ids" in known else "groups_id": [[6, 0, groups]],  # 19 and 18
            # Neither OdooBot's greeting nor the tours for newcomers: they cover what is to be seen.
            "odoobot_state": "disabled",
            "tour_enabled": False,
        }
        values = {name: value for name, value in values.items() if name in known}
        stack.rpc("res.users", "create", values, context={"no_reset_password": True})
    return someone


def signed_in(
    browser: Browser, stack: Any, role: str, language: str, size: dict[str, int], touch: bool
) -> BrowserContext:
    """A browser window of that size in which they are signed in already."""
    someone = person(stack, role, language)
    context = browser.new_context(
        viewport=size,
        has_touch=touch,
        locale=language.replace("_", "-"),
        timezone_id="UTC",
        reduced_motion="reduce",
    )
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=stack.odoo_url)
    who = {"db": stack.database, "login": someone.login, "password": someone.password}
    answer = context.request.post(f"{stack.odoo_url}/web/session/authenticate", data={"params": who}).json()
    assert answer.get("result", {}).get("uid"), answer
    return context


def _record(stack: Any, xml_id: str) -> int:
    module, name = xml_id.split(".")
    domain = [["module", "=", module], ["name", "=", name]]
    (row,) = stack.rpc("ir.model.data", "search_read", domain, fields=["res_id"])
    return row["res_id"]

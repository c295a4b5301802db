"""A customer writes: the salesperson hears of it, and when the answer is overdue, the team leader too."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.world import Chat, World

from .conftest import SignIn
from .odoo_page import PATIENCE, OdooPage
from .people import SPANISH, person

expect.set_options(timeout=PATIENCE * 1000)

MAP = "miasalud_crm.manychat_stage_map_action"
STAGE = 18
LONG_AGO = "2020-01-01 00:00:00"


@dataclass
class Team:
    """A sales team that works at all hours, so that the tests run at night too."""

    id: int
    calendar: str
    salesperson: int


@pytest.fixture
def team(world: World, sign_in: SignIn) -> Iterator[Team]:
    for role in ("manager", "salesperson"):
        person(world.stack, role, SPANISH)
    users = {
        role: world.odoo("res.users", "search", [["login", "=", f"{role}-{SPANISH}".lower()]])[0]
        for role in ("manager", "salesperson")
    }
    day = {"name": "x", "hour_from": 0, "hour_to": 24, "day_period": "morning"}
    hours = [[5, 0, 0], *([0, 0, {**day, "dayofweek": str(number)}] for number in range(7))]
    calendar = world.odoo("resource.calendar", "create", {"name": "Día y noche", "tz": "UTC", "attendance_ids": hours})
    team = world.odoo("crm.team", "create", {"name": "Turno de prueba", "user_id": users["manager"]})
    (row,) = _row(world)
    world.odoo("manychat.stage.map", "write", [row], {"tells_since": LONG_AGO})
    yield Team(team, "Día y noche", users["salesperson"])
    world.odoo("manychat.stage.map", "write", [row], {"answer_hours": 0, "tells_salesperson": True})
    leads = world.odoo("crm.lead", "search", [["team_id", "=", team], ["active", "in", [True, False]]])
    world.odoo("crm.lead", "unlink", leads)
    world.odoo("crm.team", "unlink", [team])
    world.odoo("resource.calendar", "unlink", [calendar])


def _row(world: World) -> list[int]:
    return world.odoo("manychat.stage.map", "search", [["manychat_stage_id", "=", STAGE]])


def customer_writes(world: World, chat: Chat, team: Team, words: str, minute: float = 0) -> None:
    """In the chat, that many minutes into it: it began an hour ago."""
    world.settled(chat.enters(STAGE, minute, summary=words))
    world.odoo("crm.lead", "write", [chat.lead["id"]], {"user_id": team.salesperson, "team_id": team.id})


def a_minute_passes(world: World) -> None:
    """The scheduled action runs, as it does each minute by itself."""
    domain = [["module", "=", "miasalud_crm"], ["name", "=", "cron_waiting"]]
    (row,) = world.odoo("ir.model.data", "search_read", domain, fields=["res_id"])
    world.odoo("ir.cron", "method_direct_trigger", [row["res_id"]])


def activities(world: World, chat: Chat) -> list[dict[str, Any]]:
    domain = [["res_model", "=", "crm.lead"], ["res_id", "=", chat.lead["id"]]]
    return world.odoo("mail.activity", "search_read", domain, fields=["user_id", "summary"], order="id")


def has(world: World, chat: Chat, count: int) -> list[dict[str, Any]]:
    """The opportunity's activities, once there are so many."""

    def seen() -> bool:
        a_minute_passes(world)
        return len(activities(world, chat)) == count

    world.eventually(seen)
    return activities(world, chat)


def set_limit(odoo: OdooPage, world: World, hours: str) -> None:
    """A sales manager types the limit into the stage map. It then counts as if it had been there since yesterday."""
    odoo.open(MAP)
    label = world.odoo("manychat.stage.map", "read", _row(world), ["name"])[0]["name"]
    odoo.click(f".o_data_row:has-text('{label}') td[name=answer_hours]")
    odoo.page.locator(".o_selected_row [name=answer_hours] input").fill(hours)
    odoo.click(".o_list_button_save")
    world.odoo("manychat.stage.map", "write", _row(world), {"limited_since": LONG_AGO})


def choose_calendar(odoo: OdooPage, team: Team) -> None:
    odoo.open("sales_team.crm_team_action_config", record=team.id)
    odoo.field("manychat_calendar_id").locator("input").fill(team.calendar)
    odoo.page.locator(".o-autocomplete--dropdown-item a", has_text=team.calendar).first.click()
    odoo.click(".o_form_button_save")


def open_activities_menu(odoo: OdooPage) -> None:
    """Beside the clock, the salesperson's activities by kind of record; a click opens the opportunities."""
    odoo.click(".o_menu_systray .o-mail-ActivityMenu-counter, .o_menu_systray i.fa-clock-o")
    expect(odoo.page.locator(".o-mail-ActivityGroup").first).to_be_visible()


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_the_salesperson_hears_of_it_answers_and_it_is_gone(
    sign_in: SignIn, world: World, chat: Chat, team: Team, phone: bool
) -> None:
    customer_writes(world, chat, team, "¿Cuánto cuesta la consulta?", 58)
    customer_writes(world, chat, team, "¿Hay alguien?", 59)
    (activity,) = has(world, chat, 1)
    assert activity["user_id"][0] == team.salesperson
    assert "2" in activity["summary"]
    assert "¿Hay alguien?" in activity["summary"]
    vera = sign_in("salesperson", phone=phone)
    vera.go("/odoo/crm")
    open_activities_menu(vera)
    vera.go(f"/odoo/crm/{chat.lead['id']}")
    expect(vera.page.locator(".o-mail-Activity", has_text="¿Hay alguien?")).to_have_count(1)
    vera.click(".o-mail-Chatter-sendMessage")
    vera.page.locator(".o-mail-Composer-input").first.fill("Cuesta 50 dólares.")
    vera.click(".o-mail-Composer-send")
    expect(vera.page.locator(".o-mail-Message", has_text="Cuesta 50 dólares.").first).to_be_visible()
    has(world, chat, 0)
    vera.go(f"/odoo/crm/{chat.lead['id']}")
    expect(vera.page.locator(".o-mail-Activity")).to_have_count(0)


def test_a_limit_passes_then_the_leader_hears_of_it(sign_in: SignIn, world: World, chat: Chat, team: Team) -> None:
    mara, vera = sign_in("manager"), sign_in("salesperson")
    choose_calendar(mara, team)
    set_limit(mara, world, "2:00")
    customer_writes(world, chat, team, "Quiero una cita")  # an hour ago
    assert "Quiero una cita" in has(world, chat, 1)[0]["summary"]
    lead = world.odoo("crm.lead", "read", [chat.lead["id"]], ["manychat_answer_due", "manychat_answer_overdue"])[0]
    assert lead["manychat_answer_due"]
    assert not lead["manychat_answer_overdue"]
    # Time passes: instead of an hour more, the limit becomes shorter.
    set_limit(mara, world, "0:45")
    world.eventually(lambda: has(world, chat, 1) and chat_is_overdue(world, chat))
    vera.open("miasalud_crm.crm_lead_waiting_action", view="kanban")
    card = vera.page.locator(".o_kanban_record", has_text="Quiero una cita")
    expect(card.locator(".o_manychat_card .badge")).to_have_count(1)
    expect(card.locator(".o_manychat_overdue")).to_be_visible()
    set_limit(mara, world, "0:20")
    notices = has(world, chat, 2)
    assert [notice["user_id"][1] for notice in notices] == ["Vera Ventas", "Mara Mando"]
    mara.go(f"/odoo/crm/{chat.lead['id']}")
    expect(mara.page.locator(".o-mail-Activity")).to_have_count(2)
    expect(mara.page.locator(".o_manychat_bar .o_manychat_overdue")).to_be_visible()
    vera.go(f"/odoo/crm/{chat.lead['id']}")
    vera.click(".o-mail-Activity-markDone >> nth=0")
    vera.click(".o-mail-ActivityMarkAsDone button[aria-label='Done'], .o-mail-ActivityMarkAsDone .btn-primary")
    has(world, chat, 0)
    mara.open("miasalud_crm.manychat_funnel_action", view="list")
    rows = world.odoo("manychat.funnel", "search_read", [["lead_id", "=", chat.lead["id"]]], fields=["answers_late"])
    assert sum(row["answers_late"] for row in rows) == 1


def chat_is_overdue(world: World, chat: Chat) -> bool:
    (lead,) = world.odoo("crm.lead", "read", [chat.lead["id"]], ["manychat_answer_overdue"])
    return bool(lead["manychat_answer_overdue"])


def test_a_limit_below_zero_is_refused(sign_in: SignIn, world: World) -> None:
    odoo = sign_in("manager")
    odoo.open(MAP, record=_row(world)[0])
    odoo.field("answer_hours").locator("input").fill("-1:00")
    odoo.click(".o_form_button_save")
    expect(odoo.page.locator(".o_error_dialog")).to_be_visible()
    odoo.click(".modal .btn-primary")
    odoo.click(".o_form_button_cancel")
    assert world.odoo("manychat.stage.map", "read", _row(world), ["answer_hours"])[0]["answer_hours"] == 0

"""What companies have in their Odoo goes on as before, and takes part as it does with everything else."""

import time
from typing import Any

import pytest

from tests.e2e.test_pipeline import STAGES
from tests.world import Chat, World


def one(world: World, model: str, *domain: Any, fields: list[str]) -> dict[str, Any]:
    records = world.odoo(model, "search_read", list(domain), fields=fields)
    assert len(records) == 1, records
    return records[0]


def map_adviser(world: World, name: str) -> int:
    """An adviser whose Odoo user has this name; returns the number that bots send."""
    number = time.time_ns() % 10**9
    user = one(world, "res.users", ("name", "=", name), fields=["id"])
    world.odoo("manychat.advisor", "create", {"external_id": number, "role": "commercial", "user_id": user["id"]})
    return number


def notes(world: World, lead_id: int) -> int:
    domain = [["model", "=", "crm.lead"], ["res_id", "=", lead_id], ["body", "ilike", "anotado"]]
    return world.odoo("mail.message", "search_count", domain)


def test_an_automation_that_commits_and_one_that_writes_act_once_for_each_event(world: World, chat: Chat) -> None:
    assert world.settled(chat.enters(17)) == ["created"]
    lead_id = chat.lead["id"]
    assert notes(world, lead_id) == 1
    assert world.settled(chat.enters(19, 1), chat.enters(19, 1)) == ["moved", "moved"]
    assert notes(world, lead_id) == 2
    assert chat.stage_changes == [(STAGES[17], STAGES[19])]


def test_an_id_of_before_belongs_to_the_opportunity_and_not_to_its_double(world: World) -> None:
    chat = Chat(world, "ANTES-1")
    names = world.odoo("crm.lead", "search_read", [["x_manychat_id", "=", chat.manychat_id]], fields=["name"])
    assert [lead["name"] for lead in names] == ["Oportunidad de antes"]
    world.settled(chat.enters(21, 120))
    assert chat.stage == STAGES[21]


def test_a_lead_of_before_becomes_an_opportunity_with_its_next_event(world: World) -> None:
    chat = Chat(world, "ANTES-2")
    assert world.settled(chat.enters(22, 120)) == ["moved"]
    found = one(world, "crm.lead", ("id", "=", chat.lead["id"]), fields=["type", "team_id", "date_conversion"])
    assert found["type"] == "opportunity"
    assert found["date_conversion"]
    assert found["team_id"][1] == "Equipo Aqui"


def test_a_filter_of_before_groups_and_sorts_by_the_id(world: World, chat: Chat) -> None:
    world.settled(chat.enters(17))
    saved = one(world, "ir.filters", ("name", "=", "Por chat"), fields=["domain", "context", "sort"])
    assert "x_manychat_id" in saved["context"]
    domain = [["x_manychat_id", "!=", False]]
    groups = world.odoo("crm.lead", "read_group", domain, ["x_manychat_id"], ["x_manychat_id"])
    assert chat.manychat_id in [group["x_manychat_id"] for group in groups]
    ids = [
        lead["x_manychat_id"]
        for lead in world.odoo("crm.lead", "search_read", domain, fields=["x_manychat_id"], order="x_manychat_id desc")
    ]
    assert ids == sorted(ids, reverse=True)
    exported = world.odoo("crm.lead", "export_data", [chat.lead["id"]], ["name", "x_manychat_id"])
    assert exported["datas"][0][1] == chat.manychat_id


@pytest.mark.parametrize(
    ("name", "team", "company"),
    [("Cercana", "Equipo Aqui", None), ("Lejana", "Equipo Alla", "Segunda Empresa")],
)
def test_an_opportunity_belongs_to_its_salespersons_team_and_company(
    world: World, chat: Chat, name: str, team: str, company: str | None
) -> None:
    world.settled(chat.enters(17, commercial_advisor_id=map_adviser(world, name)))
    found = one(world, "crm.lead", ("id", "=", chat.lead["id"]), fields=["user_id", "team_id", "company_id"])
    first = one(world, "res.company", ("id", "=", 1), fields=["name"])["name"]
    assert (found["user_id"][1], found["team_id"][1]) == (name, team)
    assert found["company_id"][1] == (company or first)


def test_the_assignment_of_leads_moves_none_of_ours(world: World) -> None:
    chats = [world.chat() for _ in range(3)]
    world.settled(*(chat.enters(25) for chat in chats))
    (cron,) = world.odoo("ir.model.data", "search_read", [["name", "=", "ir_cron_crm_lead_assign"]], fields=["res_id"])
    world.odoo("ir.cron", "method_direct_trigger", [cron["res_id"]])
    for chat in chats:
        assert chat.stage == STAGES[25]
        assert not chat.stage_changes


def test_a_form_of_the_website_still_makes_a_lead(world: World) -> None:
    lead_id = world.odoo("crm.lead", "create", {"name": "Por la web", "type": "lead", "email_from": "a@example.com"})
    found = one(world, "crm.lead", ("id", "=", lead_id), fields=["type", "x_manychat_id"])
    assert (found["type"], found["x_manychat_id"]) == ("lead", False)

"""What people decide, as it is with nothing beside: the same tests, in this package's system; and in two companies."""

from tests.e2e.test_decisions import *  # noqa: F403
from tests.e2e.test_decisions import differing, of, stage_id
from tests.world import Chat, World

from .test_neighbours import map_adviser, one


def test_a_decision_in_the_second_company_is_in_sql_with_that_companys_currency(world: World, chat: Chat) -> None:
    """An automation notes each move; another one commits when an opportunity is created."""
    world.settled(chat.enters(17, commercial_advisor_id=map_adviser(world, "Lejana")))
    company = one(world, "res.company", ("name", "=", "Segunda Empresa"), fields=["id"])["id"]
    values = {"stage_id": stage_id(world, 21), "expected_revenue": 77}
    world.odoo("crm.lead", "write", [chat.lead["id"]], values, context={"allowed_company_ids": [company]})
    world.eventually(lambda: of(world, chat)["expected_revenue"])
    row = of(world, chat)
    assert (row["currency"], row["salesperson"], row["team"]) == ("EUR", "Lejana", "Equipo Alla")
    assert (row["stage"], row["stage_by"]) == (chat.stage, "person")
    assert differing(world, chat) == []


def test_the_assignment_of_leads_decides_nothing_that_stays_out_of_sql(world: World, chat: Chat) -> None:
    world.settled(chat.enters(17))
    (job,) = world.odoo("ir.model.data", "search_read", [["name", "=", "ir_cron_crm_lead_assign"]], fields=["res_id"])
    world.odoo("ir.cron", "method_direct_trigger", [job["res_id"]])
    world.eventually(lambda: not differing(world, chat))
    owner = chat.lead["user_id"]
    assert of(world, chat)["salesperson_id"] == (owner[0] if owner else None)

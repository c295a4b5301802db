"""Installing on databases that already know MiaSalud's stages and ids: real databases, a real installation."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.local.odoo import Odoo
from tests.e2e.test_pipeline import STAGES

from .conftest import database_name

# As it is in production: the stages have the ids of the user's table, and a manual field holds the ManyChat ids.
BEFORE = """
env.cr.execute("UPDATE crm_stage SET id = id + 1000 WHERE id BETWEEN 16 AND 26")
for number, name in {stages!r}.items():
    env.cr.execute(
        "INSERT INTO crm_stage (id, name, sequence, fold) VALUES (%s, jsonb_build_object('en_US', %s::text), %s, %s)",
        [number, name, 100 - number, number == 20],
    )
model = env["ir.model"]._get("crm.lead")
env["ir.model.fields"].create(
    dict(name="x_manychat_id", model_id=model.id, field_description="ManyChat", ttype="char", state="manual")
)
leads = env["crm.lead"].create([
    dict(name="vieja", type="opportunity", stage_id=17, x_manychat_id="MC-DOBLE"),
    dict(name="nueva", type="opportunity", stage_id=18, x_manychat_id="MC-DOBLE"),
    dict(name="perdida", type="opportunity", stage_id=19, x_manychat_id="MC-DOBLE"),
    dict(name="sola", type="opportunity", stage_id=20, x_manychat_id="MC-SOLA"),
    dict(name="sin", type="opportunity", stage_id=21),
])
env.flush_all()
leads[2].action_archive()
for days, lead in enumerate(reversed(leads)):
    env.cr.execute("UPDATE crm_lead SET create_date = now() - %s * interval '1 day' WHERE id = %s", [days, lead.id])
env.cr.commit()
"""
AFTER = """
import json
stages = env["crm.stage"].search_read([], ["name", "sequence", "fold", "is_won"], order="id")
rows = [(row.manychat_stage_id, row.stage_id.id) for row in env["manychat.stage.map"].search([])]
ids = {identity.manychat_id: (identity.lead_id.name,
                              sorted(identity.with_context(active_test=False).duplicate_lead_ids.mapped("name")))
       for identity in env["manychat.identity"].search([])}
found = env["crm.lead"].search([("x_manychat_id", "=", "MC-SOLA")]).mapped("name")
print("SEEN " + json.dumps(dict(stages=stages, rows=rows, ids=ids, found=found)))
"""


@pytest.fixture(scope="module")
def seen(odoo: Odoo) -> Iterator[dict[str, Any]]:
    """What is in such a database after the installation."""
    database = database_name("adopt", odoo)
    odoo.create(database, durable=False)
    try:
        odoo.run_script(database, BEFORE.format(stages=STAGES))
        odoo.install_modules(database, ["miasalud_crm"])
        printed = odoo.run_script(database, AFTER)
        yield json.loads(next(line for line in printed.splitlines() if line.startswith("SEEN "))[5:])
    finally:
        odoo.drop(database)


def test_existing_stages_are_adopted(seen: dict[str, Any]) -> None:
    assert seen["rows"] == [[number, number] for number in STAGES]
    assert [stage["name"] for stage in seen["stages"]].count("Comienza AC") == 1


def test_settings_of_adopted_stages_do_not_change(seen: dict[str, Any]) -> None:
    adopted = [stage for stage in seen["stages"] if stage["id"] in STAGES]
    assert [(stage["sequence"], stage["fold"], stage["is_won"]) for stage in adopted] == [
        (100 - number, number == 20, False) for number in STAGES
    ]


def test_ids_of_a_manual_field_are_adopted(seen: dict[str, Any]) -> None:
    assert seen["ids"]["MC-SOLA"] == ["sola", []]
    assert seen["found"] == ["sola"]


def test_of_doubled_ids_the_newest_open_opportunity_wins_and_the_others_are_listed(seen: dict[str, Any]) -> None:
    assert seen["ids"]["MC-DOBLE"] == ["nueva", ["perdida", "vieja"]]


# What follows takes place in the same database, after people have worked with it.
USE = """
from datetime import datetime, timedelta, timezone
from bridge.contract.event import accept
from bridge.contract.payloads import EventType
began = datetime.now(timezone.utc) - timedelta(hours=1)
def event(minute, stage):
    moment = began + timedelta(minutes=minute)
    payload = dict(manychat_id="MC-NUEVA", first_name="Prueba", channel="Facebook", commercial_advisor_id=700,
                   state=dict(stage_id=stage, date=moment.isoformat()))
    return accept(EventType.OPPORTUNITY, payload, received_at=moment, source="odoo").envelope()
bridge = env.ref("miasalud_crm.user_bridge")
results = env["crm.lead"].with_user(bridge).manychat_apply([event(0, 17), event(5, 22)])
assert [result["status"] for result in results] == ["created", "moved"], results
env["manychat.stage.map"].create(dict(name="Etapa propia", stage_id=env["crm.stage"].create(dict(name="Propia")).id))
env.cr.commit()
"""
# In use until then: what the uninstallation deletes and changes would be decisions.
UNINSTALL = """
import os
os.environ["MIASALUD_QUEUE_CONNECTION_STRING"] = (
    "DefaultEndpointsProtocol=http;AccountName=none;AccountKey=bm9uZQ==;QueueEndpoint=http://127.0.0.1:9/none"
)
env["ir.module.module"].search([("name", "=", "miasalud_crm")]).button_immediate_uninstall()
"""
LEFT = """
import json
env.cr.execute("SELECT name, x_manychat_id FROM crm_lead WHERE x_manychat_id IS NOT NULL")
ids = dict(env.cr.fetchall())
left = dict(
    stages=env["crm.stage"].search([]).mapped("name"),
    opportunities=[[lead.name, lead.stage_id.name] for lead in env["crm.lead"].with_context(active_test=False).search(
        [("name", "in", ["vieja", "nueva", "sola", "sin", "Prueba"])], order="name")],
    ids=ids,
    fields=env["ir.model.fields"].search([("name", "like", "manychat")]).mapped("name"),
    models=env["ir.model"].search([("model", "like", "manychat")]).mapped("model"),
)
print("SEEN " + json.dumps(left))
"""


@pytest.fixture(scope="module")
def left(odoo: Odoo, seen: dict[str, Any]) -> dict[str, Any]:
    """What is in the database after the addon was used and uninstalled."""
    database = database_name("adopt", odoo)
    for script in (USE, UNINSTALL):
        odoo.run_script(database, script)
    printed = odoo.run_script(database, LEFT)
    return json.loads(next(line for line in printed.splitlines() if line.startswith("SEEN "))[5:])


def test_uninstalling_leaves_stages_and_opportunities_in_place(left: dict[str, Any]) -> None:
    assert {*STAGES.values(), "Propia"} <= set(left["stages"])
    assert dict(left["opportunities"]) == {
        "vieja": STAGES[17],
        "nueva": STAGES[18],
        "sola": STAGES[20],
        "sin": STAGES[21],
        "Prueba": STAGES[22],
    }


def test_uninstalling_keeps_the_ids_where_installing_again_finds_them(left: dict[str, Any]) -> None:
    # Those of the doubles were never touched.
    doubles = dict.fromkeys(["vieja", "nueva", "perdida"], "MC-DOBLE")
    assert left["ids"] == {**doubles, "sola": "MC-SOLA", "Prueba": "MC-NUEVA"}


def test_uninstalling_leaves_nothing_else_of_the_addon(left: dict[str, Any]) -> None:
    assert left["models"] == []
    assert left["fields"] == ["x_manychat_id"]  # people had a field of that name, and have it again

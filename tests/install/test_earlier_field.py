"""Installing over a field ``x_manychat_id`` of any type, uninstalling, and installing again: real databases."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.local.odoo import Odoo

from .conftest import database_name

BEGIN = """
import json
is_19 = "team_ids" in env["crm.stage"]._fields
model = env["ir.model"]._get("crm.lead")
def make_field(ttype, **values):
    values = dict(name="x_manychat_id", model_id=model.id, field_description="Id del chat", ttype=ttype, **values)
    env["ir.model.fields"].create(dict(values, state="manual"))
    env.flush_all()
def make_leads(**values):
    names = list(values)
    env["crm.lead"].create([dict(name=name, type="opportunity", x_manychat_id=values[name]) for name in names])
def show(**seen):
    env.cr.commit()
    print("SEEN " + json.dumps(seen))
def ids():
    leads = env["crm.lead"].search([("x_manychat_id", "!=", False)])
    return {lead.name: lead.x_manychat_id for lead in leads}
def grouped():
    groups = env["crm.lead"].read_group([("x_manychat_id", "!=", False)], ["x_manychat_id"], ["x_manychat_id"])
    return sorted(group["x_manychat_id"] for group in groups)
"""
#: What people may have made of the field, by the test's name: a script, and the ids that the app then knows.
EARLIER: dict[str, tuple[str, dict[str, str]]] = {
    "char": ('make_field("char"); make_leads(ana=" MC-1 ", eva="MC-2", sin=False)', {"ana": "MC-1", "eva": "MC-2"}),
    "text": ('make_field("text"); make_leads(ana="MC-1")', {"ana": "MC-1"}),
    "translated": (
        'make_field("char", translate="standard" if is_19 else True); make_leads(ana="MC-1")',
        {"ana": "MC-1"},
    ),
    "one for each company": ('make_field("char", company_dependent=True); make_leads(ana="MC-1")', {"ana": "MC-1"}),
    "integer": ('make_field("integer"); make_leads(ana=6123, eva=0)', {"ana": "6123"}),
    "float": ('make_field("float"); make_leads(ana=6123456789012345.0, eva=0)', {"ana": "6123456789012345"}),
    "boolean": ('make_field("boolean"); make_leads(ana=True)', {}),
    "date": ('make_field("date"); make_leads(ana="2026-01-02")', {}),
    "binary": ('make_field("binary"); make_leads(ana="TUMt")', {}),
    "customer": ('make_field("many2one", relation="res.partner"); make_leads(ana=env.user.partner_id.id)', {}),
    "customers": ('make_field("many2many", relation="res.partner"); make_leads(ana=env.user.partner_id.ids)', {}),
    "required": (
        """
make_field("char"); make_leads(ana="MC-1")
env.cr.execute("UPDATE crm_lead SET x_manychat_id = 'MC-' || id WHERE x_manychat_id IS NULL")
env["ir.model.fields"]._get("crm.lead", "x_manychat_id").required = True
""",
        {"ana": "MC-1"},
    ),
    "used by a report": (
        """
make_field("integer"); make_leads(ana=6123)
env.cr.execute("CREATE VIEW prueba AS SELECT id, x_manychat_id FROM crm_lead")
""",
        {"ana": "6123"},
    ),
    "selection": (
        """
make_field("selection", selection_ids=[(0, 0, dict(value="mc1", name="Uno"))]); make_leads(ana="mc1")
""",
        {"ana": "mc1"},
    ),
    "link": (
        """
env["ir.model"].create(dict(name="Chat", model="x_chat"))
make_field("many2one", relation="x_chat"); make_leads(ana=env["x_chat"].create(dict(x_name="MC-1")).id)
""",
        {"ana": "MC-1"},
    ),
    "of the customer": (
        """
make_field("char", related="partner_id.ref", store=False)
person = env["res.partner"].create(dict(name="Ana", ref="MC-1"))
env["crm.lead"].create(dict(name="ana", type="opportunity", partner_id=person.id))
""",
        {"ana": "MC-1"},
    ),
}
#: Those of which Odoo itself keeps more than a column: the ones that also go through an installation.
WHOLE_WAY = ("integer", "selection", "translated")
TAKE_OVER = """
from odoo.addons.miasalud_crm.earlier_field import take_over
seen = {}
for name, script in scripts.items():
    exec(script)
    env.flush_all()
    take_over(env)
    env.cr.execute(
        "SELECT name, btrim(x_manychat_id) FROM crm_lead"
        " WHERE x_manychat_id IS NOT NULL AND name IN ('ana', 'eva', 'sin')"
    )
    seen[name] = dict(env.cr.fetchall())
    env.cr.rollback()
    (env.registry._setup_models__ if is_19 else env.registry.setup_models)(env.cr)
    env.invalidate_all()
show(**seen)
"""
LOOK = """
show(ids=ids(), grouped=grouped(), type=env["crm.lead"]._fields["x_manychat_id"].type,
     identities=sorted(env["manychat.identity"].search([]).mapped("manychat_id")))
"""
GO_ON = """
lead = env["crm.lead"].create(dict(name="nueva", type="opportunity", x_manychat_id="MC-NUEVA"))
env.cr.commit()
"""
UNINSTALL = 'env["ir.module.module"].search([("name", "=", "miasalud_crm")]).button_immediate_uninstall()'
LEFT = """
field = env["ir.model.fields"]._get("crm.lead", "x_manychat_id")
show(ids=ids(), grouped=grouped(), field=[field.state, field.ttype, field.field_description], modules=field.modules,
     parameter=env["ir.config_parameter"].search_count([("key", "like", "miasalud_crm.%")]))
"""


@pytest.fixture
def database(odoo: Odoo) -> Iterator[str]:
    name = database_name("earlier", odoo)
    odoo.create(name, durable=False)
    yield name
    odoo.drop(name)


def run(odoo: Odoo, database: str, script: str) -> Any:
    printed = odoo.run_script(database, BEGIN + script)
    lines = [line for line in printed.splitlines() if line.startswith("SEEN ")]
    return json.loads(lines[0][5:]) if lines else None


@pytest.fixture(scope="module")
def taken_over(odoo: Odoo) -> Any:
    """The ids in the app's column, by what people had made of the field."""
    name = database_name("take_over", odoo)
    odoo.create(name, durable=False)
    scripts = {name: script for name, (script, _ids) in EARLIER.items()}
    try:
        return run(odoo, name, f"scripts = {scripts!r}\n{TAKE_OVER}")
    finally:
        odoo.drop(name)


@pytest.mark.parametrize("earlier", EARLIER)
def test_a_field_of_any_type_makes_room_and_gives_what_can_be_an_id(taken_over: Any, earlier: str) -> None:
    assert taken_over[earlier] == EARLIER[earlier][1]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("earlier", WHOLE_WAY)
def test_installing_uninstalling_and_installing_again_keeps_the_ids(odoo: Odoo, database: str, earlier: str) -> None:
    script, ids = EARLIER[earlier]
    run(odoo, database, f"{script}\nenv.cr.commit()")
    odoo.install_modules(database, ["miasalud_crm"])
    found = run(odoo, database, LOOK)
    found["ids"] = {name: value for name, value in found["ids"].items() if name in ("ana", "eva", "sin")}
    assert found["ids"] == ids
    assert set(ids.values()) <= set(found["grouped"])
    assert found["type"] == "char"
    run(odoo, database, GO_ON)
    run(odoo, database, UNINSTALL)
    left = run(odoo, database, LEFT)
    expected = ids | {"nueva": "MC-NUEVA"}
    assert {name: value for name, value in left["ids"].items() if name in ("ana", "eva", "nueva")} == expected
    assert left["field"] == ["manual", "char", "Id del chat"]
    assert left["parameter"] == 0
    odoo.install_modules(database, ["miasalud_crm"])
    again = run(odoo, database, LOOK)
    assert {name: value for name, value in again["ids"].items() if name in ("ana", "eva", "nueva")} == expected
    assert set(expected.values()) <= set(again["identities"])


@pytest.mark.timeout(600)
def test_without_an_earlier_field_none_is_left_and_the_ids_come_back(odoo: Odoo, database: str) -> None:
    odoo.install_modules(database, ["miasalud_crm"])
    run(odoo, database, GO_ON)
    run(odoo, database, UNINSTALL)
    left = 'show(fields=env["ir.model.fields"].search([("name", "like", "manychat")]).mapped("name"))'
    assert run(odoo, database, left) == {"fields": []}
    odoo.install_modules(database, ["miasalud_crm"])
    assert run(odoo, database, LOOK)["ids"] == {"nueva": "MC-NUEVA"}

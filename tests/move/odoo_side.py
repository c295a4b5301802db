"""Odoo as the old system left it: contacts with ``x_manychat_id``, and opportunities that people made by hand."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from psycopg.rows import dict_row

from deploy.local.stack import Stack

from .old_system import Person

#: Run in Odoo's shell. Dates that the ORM sets itself are written afterwards.
_FILL = """
import json
people = json.load(open({path!r}))
quiet = dict(tracking_disable=True, mail_create_nolog=True, mail_create_nosubscribe=True, mail_notrack=True)
if "x_manychat_id" not in env["res.partner"]._fields:
    env["ir.model.fields"].create(dict(
        model_id=env["ir.model"]._get_id("res.partner"), name="x_manychat_id", field_description="ManyChat",
        ttype="char", state="manual",
    ))
stages = {{row.manychat_stage_id: row.stage_id.id for row in env["manychat.stage.map"].search([])}}
won = stages[26]
contacts, deals = [], []
for person in people:
    for number in range(person["contacts"]):
        contacts.append((person, number))
partners = env["res.partner"].with_context(**quiet).create([
    dict(
        name=f"Persona Inventada {{person['number']}}", x_manychat_id=person["manychat_id"],
        email=f"persona{{person['number']}}@example.com", phone=f"+52155{{person['number']:08}}",
        active=not person["is_archived"], is_company=person["is_company"],
    )
    for person, number in contacts
])
vals, dates = [], []
for (person, number), partner in zip(contacts, partners):
    if number:
        continue
    for deal in person["deals"]:
        vals.append(dict(
            name=f"A mano {{person['number']}}", partner_id=partner.id, type=deal["type"], user_id=False,
            description=f"{{person['manychat_id']}}/{{len(dates)}}",
        ))
        dates.append(deal)
leads = env["crm.lead"].with_context(**quiet).create(vals)
for lead, deal in zip(leads, dates):
    if deal["stage"]:
        lead.with_context(**quiet).stage_id = stages[deal["stage"]]
    if deal["closed"] == "won":
        lead.with_context(**quiet).stage_id = won
    if deal["closed"] == "lost":
        lead.with_context(**quiet).action_set_lost()
env.flush_all()
for lead, deal in zip(leads, dates):
    moved = deal["moved_at"] or (deal["closed"] == "won" and deal["closed_at"]) or deal["created"]
    env.cr.execute(
        "UPDATE crm_lead SET create_date = %s, date_last_stage_update = %s, date_closed = %s WHERE id = %s",
        [deal["created"], moved, deal["closed_at"], lead.id],
    )
env.cr.execute("UPDATE res_partner SET write_date = '2025-01-01' WHERE x_manychat_id IS NOT NULL")
seller = env["res.users"].with_context(no_reset_password=True).create(dict(name="Adriana", login="adriana"))
env["manychat.advisor"].create(dict(external_id=700, role="commercial", user_id=seller.id))
env["manychat.migration"]._fields and env["manychat.migration"].init()
env.cr.commit()
print("made", len(partners), "contacts", len(leads), "opportunities")
"""


class OdooSide:
    """Odoo's database, read past the product."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def fill(self, people: Sequence[Person]) -> str:
        path = Path(self.stack.folder / "people.json")
        path.write_text(json.dumps([_jsonable(person) for person in people]))
        return self.stack.odoo.run_script(self.stack.database, _FILL.format(path=str(path)))

    def rows(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        with self.stack.odoo.cluster.connect(self.stack.database, row_factory=dict_row) as connection:
            return connection.execute(query, parameters).fetchall()

    def contacts(self) -> list[dict[str, Any]]:
        """Every contact, as the database has it, with the transaction that wrote it last."""
        return self.rows("SELECT id, xmin::text, md5(partner::text) FROM res_partner partner ORDER BY id")

    def stages(self) -> dict[int, int]:
        """Ids of the pipeline's stages by ManyChat's numbers."""
        rows = self.rows("SELECT manychat_stage_id AS number, stage_id FROM manychat_stage_map WHERE active")
        return {row["number"]: row["stage_id"] for row in rows}

    def by_person(self) -> dict[str, list[dict[str, Any]]]:
        """The opportunities that follow each conversation."""
        found: dict[str, list[dict[str, Any]]] = {}
        for row in self.rows(
            "SELECT identity.manychat_id, lead.id, lead.stage_id, lead.active, lead.partner_id, lead.type, "
            "lead.description, lead.manychat_order FROM manychat_identity identity "
            "JOIN crm_lead lead ON lead.id = identity.lead_id"
        ):
            found.setdefault(row["manychat_id"], []).append(row)
        return found

    def leads(self) -> dict[int, str]:
        """All that the database says of each opportunity, its chatter and followers included.

        Not what Odoo itself computes anew at night.
        """
        rows = self.rows(
            """
            SELECT lead.id, concat(
                   (to_jsonb(lead) - 'automated_probability' - 'probability')::text,
                   (SELECT array_agg(id ORDER BY id) FROM mail_message WHERE model = 'crm.lead' AND res_id = lead.id),
                   (SELECT array_agg(partner_id ORDER BY id) FROM mail_followers
                     WHERE res_model = 'crm.lead' AND res_id = lead.id),
                   (SELECT array_agg(period::text ORDER BY id) FROM manychat_stage_history period
                     WHERE lead_id = lead.id)) AS said
              FROM crm_lead lead
            """
        )
        return {row["id"]: row["said"] for row in rows}


def _jsonable(person: Person) -> dict[str, Any]:
    deals = [{name: _moment(value) for name, value in vars(deal).items()} for deal in person.deals]
    names = ("number", "manychat_id", "contacts", "is_archived", "is_company")
    return {name: getattr(person, name) for name in names} | {"deals": deals}


def _moment(value: Any) -> Any:
    return value.strftime("%Y-%m-%d %H:%M:%S") if hasattr(value, "strftime") else value

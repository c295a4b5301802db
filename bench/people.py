"""People whom the system knows already: rows copied, by SQL, from those that the product wrote for one person."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import Any

import psycopg

from bridge.contract import examples
from tests.world import PATIENCE
from tests.year.tables import copy_row, run

from .system import BenchStack

#: The person whose rows are copied.
TEMPLATE = "MC-BENCH-TEMPLATE"
_MINE = f"template.manychat_id = '{TEMPLATE}'"


def make_template(stack: BenchStack) -> None:
    """Send a contact and an opportunity event of one person; then stop the bridge that has applied them."""
    world = stack.world()
    date = (datetime.now(timezone.utc) - timedelta(hours=2)).isoformat()
    opportunity = examples.OPPORTUNITY | {"manychat_id": TEMPLATE, "state": {"stage_id": 16, "date": date}}
    sent = [
        world.send("contact", examples.CONTACT | {"manychat_id": TEMPLATE, "datetime_actual": date}),
        world.send("crm-opportunity", opportunity),
    ]
    world.settled(*sent)
    deadline = time.monotonic() + PATIENCE
    while world.odoo("manychat.event", "search_count", [["state", "!=", "done"], ["event_id", "in", sent]]):
        if time.monotonic() > deadline:
            raise TimeoutError("The first events' outcomes did not reach Odoo.")
        time.sleep(0.2)
    stack.programs.stop_program("bridge")


def add(stack: BenchStack, prefix: str, count: int) -> list[str]:
    """Copy the template's person: an opportunity in the first stage, in Odoo and in SQL.

    :param prefix: of their ManyChat ids, which end in 0, 1, 2 …
    :return: their ManyChat ids
    """
    with stack.superuser(stack.database) as connection:
        add_to_odoo(connection, prefix, count)
        for table in ("crm_lead", "manychat_identity", "manychat_stage_history"):
            run(connection, f"ANALYZE {table}")
    with stack.superuser(stack.store_database) as connection:
        add_to_sql(connection, prefix, count)
    return [f"{prefix}-{number}" for number in range(count)]


def add_to_odoo(connection: psycopg.Connection[Any], prefix: str, count: int) -> None:
    [(base,)] = run(connection, "SELECT max(id) + 1 FROM crm_lead")
    source = f"generate_series(0, {count - 1}) AS source(n)"
    manychat_id, lead_id = f"'{prefix}-' || source.n", f"source.n + {base}"
    copy_row(connection, "crm_lead", f"template.x_manychat_id = '{TEMPLATE}'", source, {
        "id": lead_id,
        "name": "'Persona ' || source.n",
        "contact_name": "'Persona ' || source.n",
        "x_manychat_id": manychat_id,
    })  # fmt: skip
    run(connection, "SELECT setval('crm_lead_id_seq', (SELECT max(id) FROM crm_lead))")
    copy_row(connection, "manychat_identity", _MINE, source, {"manychat_id": manychat_id, "lead_id": lead_id})
    lead = f"(SELECT id FROM crm_lead WHERE x_manychat_id = '{TEMPLATE}')"
    period = f"template.left_at IS NULL AND template.lead_id = {lead}"
    copy_row(connection, "manychat_stage_history", period, source, {"lead_id": lead_id})


def add_to_sql(connection: psycopg.Connection[Any], prefix: str, count: int) -> None:
    [(contact,)] = run(connection, "SELECT max(id) + 1 FROM contacts")
    [(opportunity,)] = run(connection, "SELECT max(id) + 1 FROM opportunities")
    source = f"generate_series(0, {count - 1}) AS source(n)"
    manychat_id = f"'{prefix}-' || source.n"
    copy_row(connection, "contacts", _MINE, source, {"id": f"source.n + {contact}", "manychat_id": manychat_id})
    copy_row(connection, "opportunities", _MINE, source, {
        "id": f"source.n + {opportunity}",
        "manychat_id": manychat_id,
        "contact_id": f"source.n + {contact}",
    })  # fmt: skip
    for table in ("contacts", "opportunities"):
        run(connection, f"SELECT setval('{table}_id_seq', (SELECT max(id) FROM {table}))")
        run(connection, f"ANALYZE {table}")

"""People whom the system knows already: rows copied, by SQL, from those that the product wrote for one person."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import Any

import psycopg

from bridge.contract import examples
from tests.world import PATIENCE
from tests.year.tables import copy_row, run, without_indices

from .system import BenchStack

#: The person whose rows are copied.
TEMPLATE = "MC-BENCH-TEMPLATE"
_MINE = f"template.manychat_id = '{TEMPLATE}'"
CHANNELS = ("Facebook", "Instagram", "WhatsApp")
_IN_ODOO = ("crm_lead", "manychat_identity", "manychat_stage_history", "manychat_event")
_IN_SQL = ("contacts", "opportunities", "audit")


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
        _add_to_odoo(connection, prefix, count)
        for table in _IN_ODOO:
            run(connection, f"ANALYZE {table}")
    with stack.superuser(stack.store_database) as connection:
        _add_to_sql(connection, prefix, count)
        for table in _IN_SQL:
            run(connection, f"ANALYZE {table}")
    return [f"{prefix}-{number}" for number in range(count)]


def add_many(stack: BenchStack, prefix: str, count: int, *, stays: int) -> None:
    """The same for very many, of several channels, who have been in as many stages and are in the last of them.

    :param stays: stages that each person was in, and rows of the audit that they have; at most as many as are mapped
    """
    with (
        stack.superuser(stack.database) as connection,
        without_indices(connection, *_IN_ODOO),
    ):
        _add_to_odoo(connection, prefix, count, stays)
    with stack.superuser(stack.store_database) as connection, without_indices(connection, *_IN_SQL):
        _add_to_sql(connection, prefix, count)
        _add_audit(connection, prefix, count, stays)


def _add_to_odoo(connection: psycopg.Connection[Any], prefix: str, count: int, stays: int = 1) -> None:
    [(base,)] = run(connection, "SELECT max(id) + 1 FROM crm_lead")
    run(connection, "DROP TABLE IF EXISTS bench_stage")
    run(
        connection,
        "CREATE TEMP TABLE bench_stage AS SELECT stage_id, row_number() OVER (ORDER BY sequence, id) - 1 AS position "
        "FROM manychat_stage_map",
    )
    source = f"generate_series(0, {count - 1}) AS source(n)"
    manychat_id, lead_id = f"'{prefix}-' || source.n", f"source.n + {base}"
    channels = ", ".join(f"'{name}'" for name in CHANNELS)
    copy_row(connection, "crm_lead", f"template.x_manychat_id = '{TEMPLATE}'", source, {
        "id": lead_id,
        "name": "'Persona ' || source.n",
        "contact_name": "'Persona ' || source.n",
        "x_manychat_id": manychat_id,
        "stage_id": _stage(stays - 1),
        "manychat_channel": f"(ARRAY[{channels}])[1 + source.n % {len(CHANNELS)}]",
    })  # fmt: skip
    run(connection, "SELECT setval('crm_lead_id_seq', (SELECT max(id) FROM crm_lead))")
    copy_row(connection, "manychat_identity", _MINE, source, {"manychat_id": manychat_id, "lead_id": lead_id})
    for stay in range(stays):
        _add_stay(connection, source, lead_id, stay, stays)


def _add_stay(connection: psycopg.Connection[Any], source: str, lead_id: str, stay: int, stays: int) -> None:
    """One period of each opportunity; the last one is open."""
    lead = f"(SELECT id FROM crm_lead WHERE x_manychat_id = '{TEMPLATE}')"
    is_last = stay == stays - 1
    # Each stay takes a day and some minutes, which differ from person to person.
    copy_row(connection, "manychat_stage_history", f"template.lead_id = {lead}", source, {
        "lead_id": lead_id,
        "stage_id": _stage(stay),
        "previous_stage_id": _stage(stay - 1),
        "next_stage_id": "NULL::int" if is_last else _stage(stay + 1),
        "entered_at": f"template.entered_at - interval '{stays - stay} days' - source.n % 600 * interval '1 minute'",
        "left_at": "NULL::timestamp" if is_last
        else f"template.entered_at - interval '{stays - stay - 1} days' - source.n % 500 * interval '1 minute'",
        "event_id": f"encode(sha256(('{lead_id} {stay}' || source.n)::bytea), 'hex')",
    })  # fmt: skip


def _stage(position: int) -> str:
    """The Odoo stage at a place of the stage map; NULL before the first."""
    return f"(SELECT stage_id FROM bench_stage WHERE position = {position})"


def _add_to_sql(connection: psycopg.Connection[Any], prefix: str, count: int) -> None:
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


def _add_audit(connection: psycopg.Connection[Any], prefix: str, count: int, each: int) -> None:
    source = f"generate_series(0, {count * each - 1}) AS source(n)"
    copy_row(connection, "audit", f"{_MINE} AND template.type = 'opportunity'", source, {
        "event_id": f"encode(sha256(('{prefix}' || source.n)::bytea), 'hex')",
        "manychat_id": f"'{prefix}-' || source.n / {each}",
        "received_at": f"template.received_at - source.n % {each} * interval '1 day'",
        "finished_at": f"template.finished_at - source.n % {each} * interval '1 day'",
        "reported_at": "template.finished_at",
    })  # fmt: skip

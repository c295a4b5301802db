"""A year of events in Odoo's database and in the bridge's, by SQL."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import Any

import psycopg

from bridge.contract import examples

from . import events
from .events import EVENT_ID, MANYCHAT_ID
from .system import YearStack
from .tables import copy_row, run, without_indices

#: Tables that are filled.
IN_ODOO = [
    "manychat_event",
    "manychat_stage_history",
    "manychat_identity",
    "crm_lead",
    "mail_message",
    "mail_tracking_value",
]
IN_SQL = [
    "audit",
    "contact_states",
    "contacts",
    "opportunities",
    "opportunity_stages",
    "campaign_contacts",
    "dead_letters",
]
#: The person whose rows are copied.
TEMPLATE = "900000001"
_OF_TEMPLATE = f"template.manychat_id = '{TEMPLATE}'"
_EVENT_TIMES = {
    "received_at": "source.at",
    "occurred_at": "source.at - interval '1 second'",
    "queued_at": "source.at + interval '0.1 second'",
    "applied_at": "source.at + interval '0.7 second'",
    "create_date": "source.at",
    "write_date": "source.at + interval '0.7 second'",
}


def send_template(stack: YearStack) -> None:
    """Send one event of each type and two opportunity events of one person, and wait until they are applied."""
    world = stack.world()
    recently = datetime.now(timezone.utc) - timedelta(minutes=30)
    text = "Preguntó por el tratamiento y por el precio; pidió una cita para la próxima semana. " * 2
    sent = [
        world.send("contact", examples.CONTACT | {"manychat_id": TEMPLATE, "datetime_actual": recently.isoformat()}),
        world.send("campaign-assignment", examples.CAMPAIGN_ASSIGNMENT | {"manychat_id": TEMPLATE}),
        world.send(
            "/api/v1/manychat/campaign-contacts/update-by-manychat-id",
            examples.CAMPAIGN_CONTACT | {"manychat_id": TEMPLATE},
            "PUT",
        ),
    ]
    for minute, stage in enumerate((16, 17, 18)):
        state = {"stage_id": stage, "summary": text, "date": (recently + timedelta(minutes=minute)).isoformat()}
        sent.append(world.send("crm-opportunity", examples.OPPORTUNITY | {"manychat_id": TEMPLATE, "state": state}))
    world.settled(*sent)
    # The log of Odoo learns the outcomes of the others a few seconds later.
    world.eventually(
        lambda: not world.odoo("manychat.event", "search_count", [["state", "!=", "done"], ["event_id", "in", sent]])
    )


def fill(stack: YearStack, count: int) -> None:
    """Fill both databases of ``stack`` with ``count`` events. Its programs may run, and do nothing meanwhile."""
    started = time.monotonic()
    with stack.superuser(stack.database) as connection:
        events.make(connection, count)
        with without_indices(connection, *IN_ODOO):
            _fill_odoo(connection, started)
        events.drop(connection)
    with stack.superuser(stack.store_database) as connection:
        events.make(connection, count)
        with without_indices(connection, *IN_SQL):
            _fill_sql(connection, started)
        events.drop(connection)
    _say("filled", started)


def _fill_odoo(connection: psycopg.Connection[Any], started: float) -> None:
    [(base,)] = run(connection, "SELECT max(id) FROM crm_lead")
    run(
        connection,
        "CREATE TEMP TABLE year_stage AS SELECT stage_id, row_number() OVER (ORDER BY sequence, id) AS stage "
        "FROM manychat_stage_map",
    )
    lead_id = f"(source.person + {base})"
    stage_after = "(SELECT stage_id FROM year_stage WHERE year_stage.stage = source.stage)"
    _nested_loops(connection)
    _copy_each_type(connection, "manychat_event", {
        **_EVENT_TIMES,
        "event_id": EVENT_ID,
        "manychat_id": MANYCHAT_ID,
        "payload": f"template.payload || jsonb_build_object('manychat_id', {MANYCHAT_ID})",
        "request": f"replace(template.request::text, '{TEMPLATE}', {MANYCHAT_ID})::jsonb",
        "outcome": "source.outcome",
        "lead_id": f"CASE WHEN source.type = 'opportunity' THEN {lead_id} END",
        "stage_before_id": f"CASE WHEN source.outcome = 'moved' THEN {stage_after} END",
        "stage_after_id": f"CASE WHEN source.type = 'opportunity' THEN {stage_after} END",
    })  # fmt: skip
    _say("manychat_event", started)
    periods = "year_period AS source"

    def stage_of(column: str) -> str:
        return f"(SELECT stage_id FROM year_stage WHERE year_stage.stage = source.{column})"

    copy_row(connection, "manychat_stage_history", "template.left_at IS NOT NULL", periods, {
        "lead_id": lead_id,
        "stage_id": stage_after,
        "previous_stage_id": stage_of("previous"),
        "next_stage_id": stage_of("next"),
        "entered_at": "source.at",
        "left_at": "source.left_at",
        "lost": "false",
        "event_id": EVENT_ID,
        "create_date": "source.at",
        "write_date": "COALESCE(source.left_at, source.at)",
    })  # fmt: skip
    people = (
        "(SELECT person, min(n) AS n, min(at) AS at, max(at) AS last, count(*) AS moves, "
        "(array_agg(stage ORDER BY n DESC))[1] AS stage FROM year_period GROUP BY person) AS source"
    )
    copy_row(connection, "crm_lead", f"template.x_manychat_id = '{TEMPLATE}'", people, {
        "id": lead_id,
        "name": "'Persona ' || source.person",
        "contact_name": "'Persona ' || source.person",
        "phone": "'+57300' || lpad(source.person::text, 7, '0')",
        "x_manychat_id": MANYCHAT_ID,
        "active": "source.person % 16 <> 0",
        "stage_id": stage_after,
        "create_date": "source.at",
        "write_date": "source.last",
        "date_open": "source.at",
        "date_last_stage_update": "source.last",
        "manychat_last_date": "source.last",
        "manychat_last_event_date": "source.last",
        "manychat_order": "to_char(source.last, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') || '|' "
        "|| to_char(source.last, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') || '|'",
    })  # fmt: skip
    copy_row(connection, "manychat_identity", _OF_TEMPLATE, people, {"manychat_id": MANYCHAT_ID, "lead_id": lead_id})
    _say("opportunities and their history", started)
    [(first,)] = run(connection, "SELECT max(id) + 1 FROM mail_message")
    tracked = (
        "template.model = 'crm.lead' AND EXISTS (SELECT FROM mail_tracking_value WHERE mail_message_id = template.id)"
    )
    message = {
        "res_id": lead_id,
        "record_name": "'Persona ' || source.person",
        "date": "source.at",
        "create_date": "source.at",
        "write_date": "source.at",
        "message_id": "'<' || source.n || '.year@odoo>'",
    }
    copy_row(connection, "mail_message", tracked, periods, {**message, "id": f"source.n + {first}"})
    copy_row(connection, "mail_tracking_value", "template.new_value_char IS NOT NULL", periods, {
        "mail_message_id": f"source.n + {first}",
        "old_value_integer": stage_of("previous"),
        "new_value_integer": stage_after,
        "create_date": "source.at",
        "write_date": "source.at",
    })  # fmt: skip
    # Every fourth event of a conversation brings a new summary, which becomes a note.
    note = f"template.model = 'crm.lead' AND NOT ({tracked}) AND template.body LIKE '%Preguntó%'"
    summaries = "(SELECT * FROM year_event WHERE type = 'opportunity' AND n % 4 = 0 ORDER BY n) AS source"
    copy_row(connection, "mail_message", note, summaries, {**message, "id": f"source.n + {first} + 1000000000"})
    for table in ("crm_lead", "mail_message"):
        run(connection, f"SELECT setval('{table}_id_seq', (SELECT max(id) FROM {table}))")
    _say("chatter", started)


def _copy_each_type(connection: psycopg.Connection[Any], table: str, values: dict[str, str]) -> None:
    """A copy for each event of the year, of the row of its type."""
    templates = f"(SELECT DISTINCT ON (type) * FROM {table} AS template WHERE {_OF_TEMPLATE} ORDER BY type, id DESC)"
    copy_row(connection, table, templates, "year_event AS source", values, condition="template.type = source.type")


def _nested_loops(connection: psycopg.Connection[Any]) -> None:
    # They keep the order of the events.
    for kind in ("hashjoin", "mergejoin"):
        run(connection, f"SET enable_{kind} = off")


def _fill_sql(connection: psycopg.Connection[Any], started: float) -> None:
    _nested_loops(connection)
    [(contact_base,)] = run(connection, "SELECT max(id) FROM contacts")
    [(opportunity_base,)] = run(connection, "SELECT max(id) FROM opportunities")
    times = {
        "received_at": "source.at",
        "occurred_at": "source.at - interval '1 second'",
        "enqueued_at": "date_trunc('second', source.at)",
        "started_at": "source.at + interval '0.4 second'",
        "tried_at": "source.at + interval '0.4 second'",
        "finished_at": "source.at + interval '0.7 second'",
        "reported_at": "source.at + interval '2 second'",
    }
    _copy_each_type(connection, "audit", {
        **times,
        "event_id": EVENT_ID,
        "manychat_id": MANYCHAT_ID,
        "payload": f"replace(template.payload, '{TEMPLATE}', {MANYCHAT_ID})",
        "outcome": "source.outcome",
        "lead_id": "CASE WHEN source.type = 'opportunity' THEN source.person END",
    })  # fmt: skip
    _say("audit", started)
    people = (
        "(SELECT person, min(n) AS n, min(at) AS at, max(at) AS last, max(n) AS newest FROM year_event "
        "WHERE type = '{}' GROUP BY person) AS source"
    )
    row = {"created_at": "source.at", "updated_at": "source.last", "event_at": "source.last",
           "event_received_at": "source.last"}  # fmt: skip
    newest = EVENT_ID.replace("source.n", "source.newest")
    copy_row(connection, "contacts", _OF_TEMPLATE, people.format("contact"), {
        **row, "id": f"source.person + {contact_base}", "manychat_id": MANYCHAT_ID, "event_id": newest,
    })  # fmt: skip
    contact_id = f"source.person + {contact_base}"
    copy_row(connection, "contact_states", "true", "(SELECT * FROM year_event WHERE type <> 'opportunity') AS source", {
        "contact_id": contact_id, "created_at": "source.at", "event_id": EVENT_ID,
    })  # fmt: skip
    copy_row(connection, "opportunities", _OF_TEMPLATE, people.format("opportunity"), {
        **row, "id": f"source.person + {opportunity_base}", "manychat_id": MANYCHAT_ID, "contact_id": contact_id,
        "lead_id": "source.person", "event_id": newest, "odoo_synced_at": "source.last",
    })  # fmt: skip
    copy_row(connection, "opportunity_stages", "true", "year_period AS source", {
        "opportunity_id": f"source.person + {opportunity_base}", "lead_id": "source.person",
        "event_at": "source.at", "applied_at": "source.at", "event_id": EVENT_ID,
    })  # fmt: skip
    assigned = people.format("campaign_assignment")
    copy_row(connection, "campaign_contacts", "template.campaign_id IS NOT NULL", assigned, {
        **row, "contact_id": contact_id, "event_id": newest, "assigned_at": "source.at",
    })  # fmt: skip
    for table in ("contacts", "opportunities"):
        run(connection, f"SELECT setval('{table}_id_seq', (SELECT max(id) FROM {table}))")
    _dead_letters(connection)
    _say("contacts, states, opportunities", started)


def _dead_letters(connection: psycopg.Connection[Any]) -> None:
    """One of 5,000 events was given up; all but a few of these were settled later."""
    run(
        connection,
        f"""
        INSERT INTO dead_letters (event_id, message_id, queue, type, manychat_id, body, code, message, attempts,
                                  first_tried_at, last_tried_at, status, notified_at, resolved_at, discarded_at)
        SELECT {EVENT_ID}, 'm' || source.n, 'manychat-crm-opportunities-queue', 'opportunity', {MANYCHAT_ID},
               repeat('x', 900), 'unmapped_stage', 'Its stage is not mapped.', 1, source.at, source.at,
               CASE WHEN source.n % 20000 = 0 THEN 'discarded' ELSE 'resolved' END, source.at,
               CASE WHEN source.n % 20000 <> 0 THEN source.at + interval '1 day' END,
               CASE WHEN source.n % 20000 = 0 THEN source.at + interval '1 day' END
          FROM year_event AS source WHERE source.n % 5000 = 0
        """,
    )


def _say(what: str, started: float) -> None:
    print(f"{time.monotonic() - started:7.0f} s  {what}", flush=True)

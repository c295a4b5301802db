"""Refused requests become rows of the list of deliveries; their own table goes."""

from psycopg2.extras import Json

from odoo.addons.miasalud_crm.deliveries import REFUSED_PREFIX
from odoo.addons.miasalud_crm.models.manychat_event_refused import KEPT
from odoo.tools import SQL
from odoo.tools.sql import table_columns, table_exists

from bridge.contract import attribution
from bridge.contract.payloads import WEBHOOKS, EventType

#: Of the former table, in the order of the arguments of :func:`_move`.
COLUMNS = (
    *("id", "path", "code", "message", "problems", "body", "manychat_id"),
    *("key_name", "create_date", "create_uid"),
)
TYPES = {each.spec.path: each for each in WEBHOOKS}


def migrate(cr, version):
    if not table_exists(cr, "manychat_rejection"):
        return
    # Older releases had fewer columns.
    known = table_columns(cr, "manychat_rejection")
    columns = SQL(", ").join(SQL.identifier(name) if name in known else SQL("NULL") for name in COLUMNS)
    cr.execute(SQL("SELECT %s FROM manychat_rejection ORDER BY id DESC LIMIT %s", columns, KEPT))
    for row in reversed(cr.fetchall()):
        _move(cr, *row)
    cr.execute("DELETE FROM ir_filters WHERE model_id = 'manychat.rejection'")
    # Odoo drops no table of a model that is no longer in the code.
    cr.execute("DROP TABLE manychat_rejection")


def _move(cr, row_id, path, code, message, problems, body, manychat_id, key_name, created, user_id):
    # Rows of before 0.3.0 had no person.
    person = manychat_id or attribution.person_of(body or "")
    kind = TYPES.get(path, EventType.OPPORTUNITY)
    request = {"method": kind.spec.method, "path": path or kind.spec.path, "headers": [], "body": body or ""}
    if not person:
        # Masking what is masked already changes nothing.
        request |= {"body": attribution.masked(request["body"]), "masked": True}
    errors = [_problem(line) for line in (problems or "").splitlines() if line.strip()]
    cr.execute(
        """
        INSERT INTO manychat_event (event_id, type, state, manychat_id, source, received_at, code, message, problems,
                                    request, key_name, create_uid, create_date, write_uid, write_date)
        VALUES (%s, %s, 'refused', %s, 'odoo', %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        ON CONFLICT (event_id) DO NOTHING
        """,
        [
            f"{REFUSED_PREFIX}{row_id:032x}",
            kind.value,
            person,
            created,
            code,
            message,
            Json(errors) if errors else None,
            Json(request),
            key_name,
            user_id,
            created,
            user_id,
            created,
        ],
    )


def _problem(line):
    """One problem from its former line: “field: message”."""
    field, colon, message = line.partition(": ")
    return {"field": field, "message": message} if colon else {"field": "", "message": line}

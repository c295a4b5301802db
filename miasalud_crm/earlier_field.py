"""A field ``x_manychat_id`` that a database had before this app: taken over by it, and given back when it goes.

People have built filters, views and exports on their field. The app's own field has its name and its column, so these
go on working while the app is installed. After that, people have a field of that name again, with all values.
"""

import logging

from odoo.tools import SQL
from odoo.tools.sql import table_columns

_logger = logging.getLogger(__name__)

NAME = "x_manychat_id"
#: Keeps the values of a field that was no text, as they were.
OLD_COLUMN = "x_manychat_id_old"
#: The label of the field that people had. Its presence says that they had one.
LABEL_PARAMETER = "miasalud_crm.earlier_field"
#: Column types that hold text. Of these, Odoo itself makes the column that the app wants.
TEXTS = ("varchar", "text")
_OLD = SQL.identifier(OLD_COLUMN)
_WHOLE = SQL("NULLIF(%s, 0)::text", _OLD)
# By way of text: a direct cast rounds to 15 digits, and an ID may have more.
_DECIMAL = SQL(r"NULLIF(regexp_replace(%s::text::numeric::text, '\.0+$', ''), '0')", _OLD)
#: How a column of another type reads as text. For the types that are not here, no value can be an ID of ManyChat.
AS_TEXT = {
    **dict.fromkeys(("int2", "int4", "int8"), _WHOLE),
    **dict.fromkeys(("float4", "float8", "numeric"), _DECIMAL),
    # a translated text
    "jsonb": SQL("(SELECT value FROM jsonb_each_text(%s) ORDER BY key <> 'en_US' LIMIT 1)", _OLD),
}
#: Types of a field that is no column and may yet show IDs, for example those of the customer.
SIMPLE = ("char", "text", "integer", "float", "selection")


def take_over(env):
    """Make room for the app's column, before its tables are created. Its values are those of the earlier field."""
    field = env["crm.lead"]._fields.get(NAME)
    column = table_columns(env.cr, "crm_lead").get(NAME)
    if field is None and column is None:
        add_column(env.cr)
        return
    kind = field.type if field is not None else None
    if field is not None:
        remember(env.cr)
        _forget_storage(env.registry)
    if column and column["udt_name"] in TEXTS and kind != "reference":
        return
    shown = []
    if kind == "many2one" or (column is None and kind in SIMPLE):
        shown = _shown(env["crm.lead"], field)
    if column:
        set_aside(env.cr)
    name = SQL.identifier(NAME)
    add_column(env.cr)
    if column and kind != "many2one" and column["udt_name"] in AS_TEXT:
        env.cr.execute(SQL("UPDATE crm_lead SET %s = %s", name, AS_TEXT[column["udt_name"]]))
    for lead_id, text in shown:
        env.cr.execute(SQL("UPDATE crm_lead SET %s = %s WHERE id = %s", name, text, lead_id))
    _logger.info("The earlier field %s was no stored text. Its column, if it had one, is now %s.", NAME, OLD_COLUMN)


def _forget_storage(registry):
    """Have Odoo store the app's field as the app says: it goes by what the database says of a field of that name."""
    for names in (registry._database_translated_fields, registry._database_company_dependent_fields):
        if f"crm.lead.{NAME}" in names:
            # a dict in Odoo 19, where the other one is a set
            names.pop(f"crm.lead.{NAME}") if isinstance(names, dict) else names.discard(f"crm.lead.{NAME}")


def _shown(leads, field):
    """What people see in a field whose values are no text in its own column: list of pairs of lead id and text."""
    if field.type == "many2one" and not field.comodel_name.startswith("x_"):
        return []  # a customer or another record of Odoo's: its name is no ID of ManyChat
    leads = leads.with_context(active_test=False).search([])
    values = [(lead.id, lead[NAME].display_name if field.type == "many2one" else lead[NAME]) for lead in leads]
    return [(lead_id, f"{value:.0f}" if field.type == "float" else str(value)) for lead_id, value in values if value]


def add_column(cr):
    """Add the app's column. Odoo would fill one of its own making, lead by lead; :func:`fill` is one statement."""
    cr.execute(SQL("ALTER TABLE crm_lead ADD COLUMN IF NOT EXISTS %s varchar", SQL.identifier(NAME)))


def set_aside(cr):
    """Rename the column, so that the app can have one of its own under that name. Nothing is lost, no view breaks."""
    for statement in (
        "ALTER TABLE crm_lead DROP COLUMN IF EXISTS %(old)s",
        "ALTER TABLE crm_lead RENAME COLUMN %(name)s TO %(old)s",
        "ALTER TABLE crm_lead ALTER COLUMN %(old)s DROP NOT NULL",
    ):
        cr.execute(SQL(statement, name=SQL.identifier(NAME), old=_OLD))


def remember(cr):
    """Note that people had the field, and how it was called; and forget what only a field of its type has."""
    cr.execute(
        """
        INSERT INTO ir_config_parameter (key, value)
        SELECT %s, COALESCE(field_description->>'en_US', name)
          FROM ir_model_fields WHERE model = 'crm.lead' AND name = %s
            ON CONFLICT (key) DO NOTHING;
        UPDATE ir_model_fields SET translate = NULL, company_dependent = NULL WHERE model = 'crm.lead' AND name = %s;
        DELETE FROM ir_model_fields_selection
         WHERE field_id IN (SELECT id FROM ir_model_fields WHERE model = 'crm.lead' AND name = %s)
        """,
        [LABEL_PARAMETER, NAME, NAME, NAME],
    )


def give_back(env):
    """Keep each opportunity's ID in its column when the app goes, and make it people's own field if they had one."""
    env.flush_all()
    # The opportunities that had the same ID as another one, too.
    env.cr.execute(
        """
        UPDATE crm_lead lead SET x_manychat_id = identity.manychat_id
          FROM manychat_identity_duplicate_lead_rel duplicate
          JOIN manychat_identity identity ON identity.id = duplicate.identity_id
         WHERE duplicate.lead_id = lead.id AND lead.x_manychat_id IS NULL
        """
    )
    label = env["ir.config_parameter"].get_param(LABEL_PARAMETER)
    if not label:
        # Odoo drops the column of a field that is stored. A later installation looks for the column.
        env.cr.execute("UPDATE ir_model_fields SET store = FALSE WHERE model = 'crm.lead' AND name = %s", [NAME])
    else:
        env.cr.execute(
            """
            UPDATE ir_model_fields
               SET state = 'manual', compute = NULL, depends = NULL, related = NULL, readonly = FALSE,
                   required = FALSE, field_description = jsonb_build_object('en_US', %s::text), help = NULL
             WHERE model = 'crm.lead' AND name = %s
         RETURNING id
            """,
            [label, NAME],
        )
        [field_id] = env.cr.fetchone()
        env["ir.model.data"].search(
            [("module", "=", "miasalud_crm"), ("model", "=", "ir.model.fields"), ("res_id", "=", field_id)]
        ).unlink()
        env["ir.config_parameter"].set_param(LABEL_PARAMETER, False)
    env.invalidate_all()


def fill(cr):
    """Write into the column what the identities say: the one statement for all opportunities at once."""
    cr.execute(
        """
        UPDATE crm_lead lead SET x_manychat_id = known.manychat_id
          FROM crm_lead same
          LEFT JOIN LATERAL (
               SELECT manychat_id FROM manychat_identity
                WHERE lead_id = same.id ORDER BY sequence, id LIMIT 1) known ON TRUE
         WHERE same.id = lead.id AND lead.x_manychat_id IS DISTINCT FROM known.manychat_id
        """
    )

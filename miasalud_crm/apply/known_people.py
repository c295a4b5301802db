"""People whom Odoo knows as contacts: an earlier integration gave ``res.partner`` a field with their ManyChat ID.

Contacts are only read, here and in the whole addon.
"""

from collections import defaultdict

from odoo.tools import SQL
from odoo.tools.sql import table_columns

#: The field of the earlier integration, and the types of its column that can hold an ID of ManyChat.
NAME = "x_manychat_id"
_TYPES = ("varchar", "text", "int4", "int8")
#: The ID without the blanks around it. Texts and numbers alike.
ID = SQL("btrim(%s::text)", SQL.identifier(NAME))


def has_field(env):
    """Whether contacts have such a field, stored in a column of their own."""
    field = env["res.partner"]._fields.get(NAME)
    if field is None or not field.store or field.translate or field.company_dependent:
        return False
    return bool(field.column_type) and field.column_type[0] in _TYPES


def find(env, manychat_ids):
    """The contacts of each of ``manychat_ids`` that has any.

    :return dict: ManyChat id → ``res.partner``; active ones first, people before companies, newest first
    """
    found = defaultdict(env["res.partner"].browse)
    if manychat_ids and has_field(env):
        env["res.partner"].flush_model([NAME, "active", "is_company"])
        # The cast serves the index of `index`; without a value, no row is in it.
        rows = env.execute_query(
            SQL(
                "SELECT %(id)s, id FROM res_partner WHERE %(column)s IS NOT NULL AND %(id)s = ANY(%(ids)s) "
                "ORDER BY active DESC, is_company NULLS FIRST, id DESC",
                id=ID,
                column=SQL.identifier(NAME),
                ids=list(manychat_ids),
            )
        )
        for manychat_id, partner_id in rows:
            found[manychat_id] |= env["res.partner"].browse(partner_id)
    return dict(found)


def index(cr):
    """Index the field, so that the first event of each new person does not read all contacts."""
    # By the column: while modules are loaded, the registry may not have a field that people made.
    column = table_columns(cr, "res_partner").get(NAME)
    if column and column["udt_name"] in _TYPES:
        statement = "CREATE INDEX IF NOT EXISTS manychat_known_people ON res_partner ((%s)) WHERE %s IS NOT NULL"
        cr.execute(SQL(statement, ID, SQL.identifier(NAME)))


def drop_index(cr):
    """Leave nothing behind on a table of Odoo's."""
    cr.execute("DROP INDEX IF EXISTS manychat_known_people")

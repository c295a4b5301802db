"""People whom Odoo knows as contacts: an earlier integration gave ``res.partner`` a field with their ManyChat ID.

Contacts are only read, here and in the whole addon.
"""

from collections import defaultdict

from odoo.tools import SQL
from odoo.tools.sql import table_columns

#: The field of the earlier integration.
NAME = "x_manychat_id"
_COLUMN = SQL.identifier(NAME)
#: What stands around an ID that people or programs copied: all blanks, and characters of no width.
_BLANKS = "".join(char for char in map(chr, range(0x3001)) if char.isspace()) + "\u200b\u200c\u200d\u2060\ufeff"
_WHOLE = SQL("NULLIF(%s, 0)::text", _COLUMN)  # Odoo writes 0 for an empty number
# By way of text: a direct cast rounds to 15 digits, and an ID may have more.
_DECIMAL = SQL(r"NULLIF(regexp_replace(%s::text::numeric::text, '\.0+$', ''), '0')", _COLUMN)
#: How a column reads as text, by its type. Each can be indexed. A field of another kind holds no ID of ManyChat.
_AS_TEXT = {
    **dict.fromkeys(("varchar", "text"), SQL("%s::text", _COLUMN)),
    **dict.fromkeys(("int2", "int4", "int8"), _WHOLE),
    **dict.fromkeys(("float4", "float8", "numeric"), _DECIMAL),
    # Translated, or of each company: one value, in one of the languages or companies.
    "jsonb": SQL("(jsonb_path_query_first(%s, '$.*') #>> '{}')", _COLUMN),
}


def is_unreadable(env):
    """Whether contacts have such a field, but none whose IDs can be looked up: computed, or of another type."""
    return NAME in env["res.partner"]._fields and identifier(env) is None


def identifier(env):
    """The ID of a contact without the blanks around it, or NULL, as an expression over ``res_partner``.

    :return: ``None`` if contacts have no such field, stored in a column of their own
    """
    field = env["res.partner"]._fields.get(NAME)
    if field is None or not field.store or not field.column_type or field.type in ("many2one", "json"):
        return None
    return _identifier(field.column_type[0])


def _identifier(column_type):
    text = _AS_TEXT.get(column_type)
    return text and SQL("NULLIF(btrim(%s, %s), '')", text, _BLANKS)


def find(env, manychat_ids):
    """The contacts of each of ``manychat_ids`` that has any.

    :return dict: ManyChat id → ``res.partner``; active ones first, people before companies, newest first
    """
    found = defaultdict(env["res.partner"].browse)
    expression = identifier(env) if manychat_ids else None
    if expression:
        env["res.partner"].flush_model([NAME, "active", "is_company"])
        # The index of `index` has this very expression; without a value, no row is in it.
        rows = env.execute_query(
            SQL(
                "SELECT %(id)s, id FROM res_partner WHERE %(id)s = ANY(%(ids)s) "
                "ORDER BY active DESC, is_company NULLS FIRST, id DESC",
                id=expression,
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
    if column and (expression := _identifier(column["udt_name"])):
        statement = (
            "CREATE INDEX IF NOT EXISTS manychat_known_people ON res_partner ((%(id)s)) WHERE %(id)s IS NOT NULL"
        )
        cr.execute(SQL(statement, id=expression))


def drop_index(cr):
    """Leave nothing behind on a table of Odoo's."""
    cr.execute("DROP INDEX IF EXISTS manychat_known_people")

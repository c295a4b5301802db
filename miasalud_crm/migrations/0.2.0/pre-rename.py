"""Fields with new names: their columns, and the favourites of users that name them."""

from odoo.tools import SQL
from odoo.tools.sql import column_exists

#: Old and new columns of ``manychat_event``.
COLUMNS = (("refusals", "attempt_count"), ("discard_untold", "discard_to_report"))
#: Old and new measures of the model ``manychat.funnel``, which has no table.
MEASURES = (("staying", "in_stage"), ("leaving", "left"), ("losing", "lost"), ("advancing", "advanced"))


def migrate(cr, version):
    for old, new in COLUMNS:
        if column_exists(cr, "manychat_event", old) and not column_exists(cr, "manychat_event", new):
            cr.execute(
                SQL("ALTER TABLE manychat_event RENAME COLUMN %s TO %s", SQL.identifier(old), SQL.identifier(new))
            )
    cr.execute("ALTER INDEX IF EXISTS manychat_event_untold RENAME TO manychat_event_discard_to_report")
    for old, new in MEASURES:
        # The context of a favourite is Python: {'graph_measure': 'losing', 'pivot_measures': ['entered', 'losing']}
        cr.execute(
            "UPDATE ir_filters SET context = regexp_replace(context, %s, %s, 'g') WHERE model_id = 'manychat.funnel'",
            [rf"""(['"]){old}\1""", rf"\1{new}\1"],
        )

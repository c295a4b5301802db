"""The field *ManyChat ID* becomes a column, where people may have left the column of a field of their own."""

from odoo.addons.miasalud_crm import earlier_field
from odoo.tools.sql import table_columns


def migrate(cr, version):
    column = table_columns(cr, "crm_lead").get(earlier_field.NAME)
    if column:
        earlier_field.remember(cr)
        if column["udt_name"] not in earlier_field.TEXTS:
            earlier_field.set_aside(cr)
    earlier_field.add_column(cr)

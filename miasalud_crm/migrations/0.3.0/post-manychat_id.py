"""The column of *ManyChat ID* says what the identities say."""

from odoo.addons.miasalud_crm import earlier_field


def migrate(cr, version):
    earlier_field.fill(cr)

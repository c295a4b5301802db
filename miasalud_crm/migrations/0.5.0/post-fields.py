"""The rows that fill Odoo's UTM fields from a campaign's own fields; the installation makes them too."""

from odoo import SUPERUSER_ID, api


def migrate(cr, version):
    api.Environment(cr, SUPERUSER_ID, {})["manychat.field.map"]._make_attribution()

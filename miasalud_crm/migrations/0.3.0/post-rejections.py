"""Refused requests from before their person was noted: find it, or keep no word of the text."""

from odoo import SUPERUSER_ID, api


def migrate(cr, version):
    env = api.Environment(cr, SUPERUSER_ID, {})
    for rejection in env["manychat.rejection"].search([("manychat_id", "=", False), ("body", "!=", False)]):
        rejection.write(rejection._attributed(rejection.body))

"""Bot builders see no decisions of Odoo users, unless someone has changed the rule."""

from odoo import SUPERUSER_ID, api

FORMER = "[(0, '=', 1)] if user.has_group('sales_team.group_sale_salesman') else [(1, '=', 1)]"
NEW = "[(0, '=', 1)] if user.has_group('sales_team.group_sale_salesman') else [('type', '!=', 'decision')]"


def migrate(cr, version):
    env = api.Environment(cr, SUPERUSER_ID, {})
    rule = env.ref("miasalud_crm.manychat_event_rule_builder", raise_if_not_found=False)
    if rule and rule.domain_force == FORMER:
        rule.domain_force = NEW

"""Rules of companies that PostgreSQL answers without reading all opportunities, unless someone has changed them."""

from odoo import SUPERUSER_ID, api

NEW = "[('lead_id', 'not any', [('company_id', 'any', [('id', 'not in', company_ids)])])]"
#: XML ids of the rules, and their former domains, which allow the same.
RULES = {
    "miasalud_crm.manychat_event_rule_company": (
        "['|', ('lead_id', '=', False), ('lead_id.company_id', 'in', company_ids + [False])]"
    ),
    "miasalud_crm.manychat_identity_rule_company": "[('lead_id.company_id', 'in', company_ids + [False])]",
}


def migrate(cr, version):
    env = api.Environment(cr, SUPERUSER_ID, {})
    for name, former in RULES.items():
        rule = env.ref(name, raise_if_not_found=False)
        if rule and rule.domain_force == former:
            rule.domain_force = NEW

"""An Odoo as companies have it: other apps, two companies, leads, assignment, stages of teams, an id of their own.

The addon must work beside all of it, and change nothing for it.
"""

#: The apps with which companies use CRM. Each brings others along.
MODULES = ("sale_management", "website_crm", "crm_sms", "mass_mailing_crm", "project", "hr", "base_automation")
#: In short: what divides transactions and acts on every opportunity.
FEW_MODULES = ("base_automation",)

#: Run in Odoo's shell before the addon is installed.
SCRIPT = """
env["res.config.settings"].create(dict(group_use_lead=True, crm_use_auto_assignment=True)).execute()
here = env.ref("base.main_company")
there = env["res.company"].create(dict(name="Segunda Empresa", currency_id=env.ref("base.EUR").id))
groups_field = "group_ids" if "group_ids" in env["res.users"]._fields else "groups_id"
salesperson = env.ref("sales_team.group_sale_salesman")
def user(name, company):
    return env["res.users"].with_context(no_reset_password=True).create({
        "name": name, "login": f"vende.{name.lower()}", "company_id": company.id, "company_ids": [(6, 0, company.ids)],
        groups_field: [(6, 0, (salesperson | env.ref("base.group_user")).ids)],
    })
near, far = user("Cercana", here), user("Lejana", there)
env.ref("base.user_admin").company_ids |= there
teams = env["crm.team"].create([
    dict(name="Equipo Aqui", company_id=here.id, use_leads=True, use_opportunities=True, member_ids=near.ids),
    dict(name="Equipo Alla", company_id=there.id, use_leads=True, use_opportunities=True, member_ids=far.ids),
])
teams.crm_team_member_ids.assignment_max = 30
stage = env["crm.stage"].create(dict(name="Solo Alla", sequence=0))
stage["team_ids" if "team_ids" in stage._fields else "team_id"] = teams[1]
# A field of their own, with values: also on a lead, which no pipeline shows.
env["ir.model.fields"].create(dict(
    name="x_manychat_id", model_id=env["ir.model"]._get("crm.lead").id, field_description="Chat", ttype="char",
    state="manual",
))
env["crm.lead"].create([
    dict(name="Oportunidad de antes", type="opportunity", x_manychat_id="ANTES-1"),
    dict(name="Lead de antes", type="lead", x_manychat_id="ANTES-2", team_id=teams[0].id),
    dict(name="Doble", type="lead", x_manychat_id="ANTES-1"),
])
for_all = {} if "user_ids" in env["ir.filters"]._fields else {"user_id": False}
env["ir.filters"].create(dict(
    name="Por chat", model_id="crm.lead", context="{'group_by': ['x_manychat_id']}", **for_all,
    domain="[('x_manychat_id', '!=', False)]", sort='["x_manychat_id desc"]',
))
env.cr.commit()
"""

#: Then, for a running system: automations that do what Odoo's own tests forbid, or count with everything else.
AUTOMATIONS = """
def automation(name, trigger, code, **values):
    model = env["ir.model"]._get("crm.lead")
    rule = env["base.automation"].create(dict(name=name, model_id=model.id, trigger=trigger, **values))
    env["ir.actions.server"].create(dict(
        name=name, model_id=model.id, state="code", code=code, usage="base_automation", base_automation_id=rule.id,
    ))
automation("Guardar ya", "on_create", "env.cr.commit()")
stage_field = env["ir.model.fields"]._get("crm.lead", "stage_id")
automation("Anotar", "on_create_or_write", "record.message_post(body='anotado')",
           trigger_field_ids=[(6, 0, stage_field.ids)])
env.cr.commit()
"""

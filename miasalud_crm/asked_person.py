"""How far a person's opportunity is, as one plain statement reads it: for bots that ask.

Names are in the language in which they reach SQL, so that the bridge's API answers the same.
"""

from datetime import datetime, timezone

from bridge.contract.opportunity_state import Status
from bridge.contract.person import Person, as_in_sql, name_of

from .apply.state import HOME, bridge_user_id, in_language

_SELECT = """
    WITH {home}
    SELECT map.name, NULLIF(map.manychat_stage_id, 0),
           {stage},
           CASE WHEN lead.active IS NOT TRUE THEN 'lost' WHEN stage.is_won THEN 'won' ELSE 'open' END,
           person.name, advisor.name, identity.decided_at, map.answer_text, home.date_format
      FROM manychat_identity identity
      JOIN crm_lead lead ON lead.id = identity.lead_id
      CROSS JOIN home
      LEFT JOIN crm_stage stage ON stage.id = lead.stage_id
      LEFT JOIN manychat_stage_map map ON map.stage_id = stage.id AND map.active
      LEFT JOIN res_users salesperson ON salesperson.id = lead.user_id
      LEFT JOIN res_partner person ON person.id = salesperson.partner_id
      LEFT JOIN manychat_advisor advisor ON advisor.id = lead.manychat_medical_advisor_id
     WHERE identity.manychat_id = %(manychat_id)s
""".replace("{home}", HOME).replace("{stage}", in_language("stage.name"))


def find(env, manychat_id):
    """How far the person is, as a :class:`bridge.contract.person.Person`; ``None`` without an opportunity."""
    env.cr.execute(_SELECT, {"manychat_id": manychat_id, "bridge_user": bridge_user_id(env)})
    row = env.cr.fetchone()
    if not row:
        return None
    stage, stage_id, odoo_stage, status, salesperson, advisor, decided_at, text, date_format = row
    return Person(
        stage=stage,
        stage_id=stage_id,
        odoo_stage=as_in_sql(odoo_stage),
        status=Status(status),
        salesperson=as_in_sql(salesperson),
        medical_advisor=name_of(advisor),
        decided_at=decided_at and decided_at.replace(tzinfo=timezone.utc),
        as_of=datetime.now(timezone.utc),
        text=text,
        date_format=date_format,
    )

"""How far a person's opportunity is, as one plain statement reads it: for bots that ask.

Names are in the language in which they reach SQL, so that the bridge's API answers the same.
"""

from datetime import datetime, timezone

from bridge.contract.fields import to_datetime
from bridge.contract.opportunity_state import Status
from bridge.contract.person import Person, name_of

# Only decisions of people count, and an answer to the customer is none.
_SELECT = """
    WITH home AS (
        SELECT lang.code, lang.date_format
          FROM res_users machine
          JOIN res_company company ON company.id = machine.company_id
          JOIN res_partner partner ON partner.id = company.partner_id
          LEFT JOIN res_lang lang ON lang.code = partner.lang AND lang.active
         WHERE machine.id = %(user_id)s
    )
    SELECT map.name, NULLIF(map.manychat_stage_id, 0),
           COALESCE(stage.name ->> home.code, stage.name ->> 'en_US'),
           CASE WHEN lead.active IS NOT TRUE THEN 'lost' WHEN stage.is_won THEN 'won' ELSE 'open' END,
           person.name, advisor.name, decision.as_of, map.answer_text, home.date_format
      FROM manychat_identity identity
      JOIN crm_lead lead ON lead.id = identity.lead_id
      LEFT JOIN home ON true
      LEFT JOIN crm_stage stage ON stage.id = lead.stage_id
      LEFT JOIN manychat_stage_map map ON map.stage_id = stage.id AND map.active
      LEFT JOIN res_users salesperson ON salesperson.id = lead.user_id
      LEFT JOIN res_partner person ON person.id = salesperson.partner_id
      LEFT JOIN manychat_advisor advisor ON advisor.id = lead.manychat_medical_advisor_id
      LEFT JOIN LATERAL (
          SELECT event.payload -> 'state' ->> 'as_of' AS as_of
            FROM manychat_event event
           WHERE event.manychat_id = identity.manychat_id AND event.type = 'decision'
             AND event.payload ->> 'by' = 'person' AND event.payload -> 'decided' <> '["answered"]'
           ORDER BY event.occurred_at DESC, event.id DESC LIMIT 1
      ) decision ON true
     WHERE identity.manychat_id = %(manychat_id)s
"""


def find(cr, manychat_id, user_id):
    """How far the person is, as a :class:`bridge.contract.person.Person`; ``None`` without an opportunity.

    :param int user_id: the addon's own user, whose company's language names have
    """
    cr.execute(_SELECT, {"manychat_id": manychat_id, "user_id": user_id})
    row = cr.fetchone()
    if not row:
        return None
    stage, stage_id, odoo_stage, status, salesperson, advisor, decided_at, text, date_format = row
    return Person(
        stage=stage,
        stage_id=stage_id,
        odoo_stage=odoo_stage,
        status=Status(status),
        salesperson=salesperson,
        medical_advisor=name_of(advisor),
        decided_at=to_datetime(decided_at),
        as_of=datetime.now(timezone.utc),
        text=text,
        date_format=date_format,
    )

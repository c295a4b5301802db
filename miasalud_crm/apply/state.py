"""States of opportunities as they go to SQL: see :class:`bridge.contract.opportunity_state.OpportunityState`.

One statement makes them all, whether a decision carries the state, an answer to the bridge, or the back-fill.
"""

from .. import private_sql

#: The bridge's user.
BRIDGE_USER = "miasalud_crm.user_bridge"
#: The row ``home``: the company of the bridge's user, and its language. All names that leave Odoo are in that language,
#: whoever makes the change: a stage by two names would be two stages for SQL.
HOME = """
    home AS (
        SELECT company.id, company.currency_id, COALESCE(lang.code, 'en_US') AS lang, lang.date_format
          FROM res_company company
          JOIN res_partner partner ON partner.id = company.partner_id
          LEFT JOIN res_lang lang ON lang.code = partner.lang AND lang.active
         WHERE company.id = COALESCE((SELECT company_id FROM res_users WHERE id = %(bridge_user)s),
                                     (SELECT min(id) FROM res_company))
    )"""
#: A text of the contract is as long at most.
_NAME = "left(COALESCE({name}->>home.lang, {name}->>'en_US'), 256)"
_MOMENT = 'to_char({moment}, \'YYYY-MM-DD"T"HH24:MI:SS.US"Z"\')'

#: The rows ``states``. A clock that is read in the same SELECT as a lock would be read before it, therefore ``dated``.
_STATES = """{home}, locked AS MATERIALIZED (
        SELECT id FROM crm_lead WHERE id IN ({leads}) ORDER BY id {lock}
    ), dated AS MATERIALIZED (
        SELECT id, clock_timestamp() AT TIME ZONE 'UTC' AS as_of FROM locked
    ), states AS MATERIALIZED (
        SELECT identity.id, identity.manychat_id, lead.id AS lead_id, dated.as_of,
               jsonb_strip_nulls(jsonb_build_object(
                   'lead_id', lead.id,
                   'as_of', {as_of},
                   'status', place.status,
                   'stage_id', stage.id,
                   'stage', {stage},
                   'manychat_stage_id', NULLIF(map.manychat_stage_id, 0),
                   'manychat_stage', left(map.name, 256),
                   'lost_reason', CASE place.status WHEN 'lost' THEN {reason} END,
                   'salesperson_id', lead.user_id,
                   'salesperson', left(person.name, 256),
                   'team_id', team.id,
                   'team', {team},
                   'medical_advisor_id', advisor.external_id,
                   'expected_revenue', lead.expected_revenue,
                   'currency', currency.name,
                   'closed_at', CASE WHEN place.status <> 'open' THEN {closed_at} END,
                   'first_answered_at', {first_answered_at},
                   'decided_at', {decided_at},
                   'merged_into', CASE WHEN EXISTS (
                       SELECT FROM manychat_identity earlier
                        WHERE earlier.lead_id = identity.lead_id
                          AND (earlier.sequence, earlier.id) < (identity.sequence, identity.id)) THEN lead.id END
               )) AS state
          FROM dated
          CROSS JOIN home
          JOIN crm_lead lead ON lead.id = dated.id
          JOIN manychat_identity identity ON identity.lead_id = lead.id
          LEFT JOIN crm_stage stage ON stage.id = lead.stage_id
          CROSS JOIN LATERAL (
              SELECT CASE WHEN lead.active IS NOT TRUE THEN 'lost' WHEN stage.is_won THEN 'won' ELSE 'open' END
          ) AS place (status)
          LEFT JOIN manychat_stage_map map ON map.stage_id = stage.id AND map.active
          LEFT JOIN crm_lost_reason reason ON reason.id = lead.lost_reason_id
          LEFT JOIN res_users salesperson ON salesperson.id = lead.user_id
          LEFT JOIN res_partner person ON person.id = salesperson.partner_id
          LEFT JOIN manychat_advisor advisor ON advisor.id = lead.manychat_medical_advisor_id
          LEFT JOIN crm_team team ON team.id = lead.team_id
          LEFT JOIN res_company company ON company.id = COALESCE(lead.company_id, team.company_id, home.id)
          LEFT JOIN res_currency currency ON currency.id = company.currency_id
    )
"""
#: The opportunity stays as it is until the transaction ends.
LOCK = "FOR NO KEY UPDATE"
#: Without those that another transaction is changing: it will report them itself.
SKIP_CHANGING = "FOR SHARE SKIP LOCKED"


def in_language(name):
    """The expression for a translated name, beside the row ``home``.

    :param str name: the column
    """
    return _NAME.format(name=name)


def moment(column):
    """The expression for a moment as the contract writes it.

    :param str column: naive UTC
    """
    return _MOMENT.format(moment=column)


def states_of(leads, lock=""):
    """The common table expressions that give the rows ``states``: ``id`` and ``manychat_id`` of the identity,
    ``lead_id``, ``as_of``, ``state``.

    :param str leads: statement that selects ids of opportunities
    :param str lock: :data:`LOCK`, :data:`SKIP_CHANGING`, or nothing if the transaction holds the opportunities already
    """
    return _STATES.format(
        home=HOME,
        leads=leads,
        lock=lock,
        as_of=moment("dated.as_of"),
        closed_at=moment("lead.date_closed"),
        first_answered_at=moment("lead.manychat_first_answered_at"),
        decided_at=moment("identity.decided_at"),
        stage=in_language("stage.name"),
        reason=in_language("reason.name"),
        team=in_language("team.name"),
    )


def bridge_user_id(env):
    return env["ir.model.data"]._xmlid_to_res_id(BRIDGE_USER) or None


_OF_PEOPLE = "WITH {} SELECT manychat_id, state FROM states WHERE manychat_id = ANY(%(manychat_ids)s)"
_BY_PEOPLE = "SELECT lead_id FROM manychat_identity WHERE manychat_id = ANY(%(manychat_ids)s)"


def read_states(env, manychat_ids, lock=""):
    """The states of people's opportunities: dict of ManyChat id → state as JSON, without people who have none.

    The caller has flushed what it changed.

    :raises psycopg2.errors.SerializationFailure: another transaction was in the way
    """
    if not manychat_ids:
        return {}
    statement = _OF_PEOPLE.format(states_of(_BY_PEOPLE, lock))
    parameters = {"manychat_ids": sorted(manychat_ids), "bridge_user": bridge_user_id(env)}
    return {row["manychat_id"]: row["state"] for row in private_sql.fetch(env.cr, statement, parameters)}


_ANSWER = """
    WITH {states}, names AS (
        SELECT jsonb_object_agg(stage.id, {name}) AS names
          FROM crm_stage stage CROSS JOIN home
         WHERE stage.id = ANY(%(stage_ids)s)
    )
    SELECT names.names, states.manychat_id, states.state
      FROM names LEFT JOIN states ON true
"""


def read_answer(env, manychat_ids, stage_ids):
    """What the answer to a batch says of opportunities and of stages.

    The caller holds the opportunities, and has flushed what it changed.

    :return tuple: dict of ManyChat id → state as JSON, also of the other conversations of these opportunities; and dict
        of stage id → name
    """
    if not manychat_ids:
        return {}, {}
    statement = _ANSWER.format(states=states_of(_BY_PEOPLE), name=in_language("stage.name"))
    parameters = {
        "manychat_ids": sorted(manychat_ids),
        "stage_ids": sorted(stage_ids),
        "bridge_user": bridge_user_id(env),
    }
    rows = private_sql.fetch(env.cr, statement, parameters)
    states = {row["manychat_id"]: row["state"] for row in rows if row["manychat_id"]}
    return states, {int(stage_id): name for stage_id, name in (rows[0]["names"] or {}).items()}


_PAGE = """
    WITH page AS MATERIALIZED (
        SELECT id, manychat_id, lead_id FROM manychat_identity
         WHERE CASE WHEN %(manychat_ids)s::text[] IS NULL THEN id > %(after)s
                    ELSE manychat_id = ANY(%(manychat_ids)s::text[]) END
         ORDER BY id LIMIT %(limit)s
    ), {}
    SELECT page.id, page.manychat_id, states.state FROM page LEFT JOIN states ON states.id = page.id ORDER BY page.id
"""


def read_page(env, after, limit, manychat_ids=None):
    """States in the order of the identities' ids: list of dicts of ``id``, ``manychat_id`` and ``state``.

    ``state`` is ``None`` while another transaction changes the opportunity.

    :param manychat_ids: only these people, or ``None``
    :raises psycopg2.errors.SerializationFailure: another transaction was in the way
    """
    statement = _PAGE.format(states_of("SELECT lead_id FROM page", SKIP_CHANGING))
    parameters = {
        "manychat_ids": None if manychat_ids is None else list(manychat_ids),
        "after": after,
        "limit": limit,
        "bridge_user": bridge_user_id(env),
    }
    return private_sql.fetch(env.cr, statement, parameters)

"""What a transaction decides about opportunities that follow a conversation, written into the outbox when it commits.

The transaction remembers what was there before its first change. Before the commit, one statement compares that with
what is there then, and inserts one event for each conversation whose opportunity has changed. Odoo also does so before
each savepoint; the events of one transaction then keep their ids, and the last comparison is what they say.
"""

from contextlib import contextmanager
from contextvars import ContextVar
from uuid import uuid4

from psycopg2.extras import Json

from odoo import SUPERUSER_ID, api
from odoo.tools import SQL

from bridge.contract.opportunity_state import Actor
from bridge.errors import BadQueueAccount

from . import private_sql, relay_thread
from .actor import current_actor, is_chat, is_within_chat
from .apply.state import LOCK, bridge_user_id, in_language, moment, states_of
from .models.manychat_migration import migrating
from .queues import queue_account

#: The fields of ``crm.lead`` whose change is a decision, or has Odoo compute one of them.
WATCHED = (
    "type",
    "company_id",
    "stage_id",
    "active",
    "lost_reason_id",
    "user_id",
    "team_id",
    "manychat_medical_advisor_id",
    "expected_revenue",
    "manychat_first_answered_at",
)
#: What no user writes is one, too.
_COLUMNS = {*WATCHED, "date_closed"}
_KEY = "miasalud_crm.decisions"
_in_write = ContextVar("manychat_in_write", default=frozenset())

_BEFORE = """
    SELECT lead.id, jsonb_build_object(
               'is_new', false, 'stage_id', lead.stage_id, 'is_won', COALESCE(stage.is_won, false),
               'active', lead.active, 'lost_reason_id', lead.lost_reason_id, 'user_id', lead.user_id,
               'team_id', lead.team_id, 'company_id', COALESCE(lead.company_id, team.company_id),
               'advisor_id', lead.manychat_medical_advisor_id, 'expected_revenue', lead.expected_revenue,
               'date_closed', lead.date_closed, 'first_answered_at', lead.manychat_first_answered_at)
      FROM crm_lead lead
      LEFT JOIN crm_stage stage ON stage.id = lead.stage_id
      LEFT JOIN crm_team team ON team.id = lead.team_id
     WHERE {} IN %s AND EXISTS (SELECT FROM manychat_identity WHERE lead_id = lead.id)
"""

_MEET = """
    UPDATE crm_lead SET write_date = crm_lead.write_date
      FROM (SELECT id FROM crm_lead WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE) AS held
     WHERE crm_lead.id = held.id RETURNING crm_lead.id
"""
_CHANGED = """
    SELECT unnest(%(lead_ids)s::integer[])
     UNION
    SELECT lead_id FROM manychat_identity WHERE manychat_id = ANY(%(manychat_ids)s::text[])
"""
_INSERT = (
    """
    WITH {states}, before AS (
        SELECT * FROM jsonb_to_recordset(%(leads)s) AS before (
               lead_id int, is_new boolean, stage_id int, is_won boolean, active boolean, lost_reason_id int,
               user_id int, team_id int, company_id int, advisor_id int, expected_revenue numeric,
               date_closed timestamp, first_answered_at timestamp, by text, uid int)
    ), links AS (
        SELECT * FROM jsonb_to_recordset(%(links)s) AS links (
               manychat_id text, lead_id int, is_merge boolean, stage_id int, state jsonb, by text, uid int)
    ), places AS (
        SELECT * FROM jsonb_to_recordset(%(places)s) AS places (manychat_id text, merged boolean, by text, uid int)
    ), changes AS (
        SELECT states.manychat_id, states.lead_id, states.state, states.as_of,
               COALESCE(links.by, before.by, places.by) AS by,
               CASE WHEN links.by IS NOT NULL THEN links.uid WHEN before.by IS NOT NULL THEN before.uid
                    ELSE places.uid END AS uid,
               left_stage.id AS stage_before_id, {left_stage} AS stage_before,
               array_remove(ARRAY[
                   CASE WHEN before.stage_id IS DISTINCT FROM lead.stage_id AND before.lead_id IS NOT NULL
                          OR NOT links.is_merge THEN 'stage' END,
                   CASE WHEN place.status = 'won' AND was.status <> 'won' THEN 'won' END,
                   CASE WHEN place.status = 'lost' AND (was.status <> 'lost'
                             OR before.lost_reason_id IS DISTINCT FROM lead.lost_reason_id) THEN 'lost' END,
                   CASE WHEN place.status <> 'lost' AND was.status = 'lost'
                          OR place.status = 'open' AND was.status = 'won' AND before.stage_id = lead.stage_id
                        THEN 'restored' END,
                   CASE WHEN before.user_id IS DISTINCT FROM lead.user_id AND before.lead_id IS NOT NULL
                        THEN 'salesperson' END,
                   CASE WHEN before.team_id IS DISTINCT FROM lead.team_id AND before.lead_id IS NOT NULL
                        THEN 'team' END,
                   CASE WHEN before.advisor_id IS DISTINCT FROM lead.manychat_medical_advisor_id
                             AND before.lead_id IS NOT NULL THEN 'advisor' END,
                   CASE WHEN round(COALESCE(before.expected_revenue, 0), 6)
                          <> round(COALESCE(lead.expected_revenue, 0)::numeric, 6) AND before.lead_id IS NOT NULL
                        THEN 'revenue' END,
                   CASE WHEN before.first_answered_at IS NULL AND lead.manychat_first_answered_at IS NOT NULL
                             AND before.lead_id IS NOT NULL THEN 'answered' END,
                   CASE WHEN links.is_merge OR links.manychat_id IS NULL AND states.state ? 'merged_into'
                             AND NOT places.merged THEN 'merged' END
               ], NULL) AS decided,
               links.manychat_id IS NULL AND (
                   places.merged AND NOT states.state ? 'merged_into'
                   OR place.status <> 'open' AND before.date_closed IS DISTINCT FROM lead.date_closed
                      AND before.lead_id IS NOT NULL OR before.first_answered_at <> lead.manychat_first_answered_at
                   OR left_company.currency_id IS DISTINCT FROM company.currency_id AND before.lead_id IS NOT NULL
               ) AS is_detail
          FROM states
          CROSS JOIN home
          JOIN crm_lead lead ON lead.id = states.lead_id
          LEFT JOIN links ON links.manychat_id = states.manychat_id AND links.lead_id IS DISTINCT FROM states.lead_id
          LEFT JOIN before ON before.lead_id = lead.id AND (links.manychat_id IS NULL OR before.is_new)
          LEFT JOIN places ON places.manychat_id = states.manychat_id
          LEFT JOIN crm_team team ON team.id = lead.team_id
          LEFT JOIN res_company company ON company.id = COALESCE(lead.company_id, team.company_id, home.id)
          LEFT JOIN res_company left_company ON left_company.id = COALESCE(before.company_id, home.id)
          LEFT JOIN crm_stage left_stage
            ON left_stage.id = CASE WHEN links.manychat_id IS NOT NULL THEN links.stage_id
                                    WHEN before.active THEN before.stage_id END
          CROSS JOIN LATERAL (SELECT states.state->>'status') AS place (status)
          CROSS JOIN LATERAL (
              SELECT CASE WHEN before.lead_id IS NULL THEN place.status
                          WHEN before.is_new THEN 'open'
                          WHEN NOT before.active THEN 'lost'
                          WHEN before.is_won THEN 'won'
                          ELSE 'open' END
          ) AS was (status)
         UNION ALL
        SELECT manychat_id, NULL, state || '{"status": "deleted"}', (state->>'as_of')::timestamptz AT TIME ZONE 'UTC',
               by, uid, left_stage.id, {left_stage}, ARRAY['deleted'], false
          FROM links
          CROSS JOIN home
          LEFT JOIN crm_stage left_stage ON left_stage.id = links.stage_id
         WHERE links.lead_id IS NOT NULL AND links.state IS NOT NULL
           AND links.manychat_id = ANY(%(manychat_ids)s::text[])
           AND NOT EXISTS (SELECT FROM manychat_identity WHERE manychat_identity.manychat_id = links.manychat_id)
    ), decisions AS (
        SELECT manychat_id, lead_id, state, as_of, by, uid, stage_before_id, stage_before,
               CASE WHEN cardinality(decided) > 0 THEN decided ELSE ARRAY['detail'] END AS decided,
               by = 'person' AND decided <> ARRAY['answered'] AS is_persons
          FROM changes WHERE cardinality(decided) > 0 OR is_detail
    ), noted AS (
        UPDATE manychat_identity SET decided_at = decisions.as_of
          FROM decisions
         WHERE manychat_identity.manychat_id = decisions.manychat_id AND decisions.is_persons
    ), written AS (
    INSERT INTO manychat_event (event_id, type, manychat_id, lead_id, state, payload, source, received_at, occurred_at,
                                retries, create_uid, create_date, write_uid, write_date)
    SELECT encode(sha256(convert_to(%(token)s || manychat_id, 'UTF8')), 'hex'), 'decision', manychat_id, lead_id,
           'pending', jsonb_strip_nulls(jsonb_build_object(
               'manychat_id', manychat_id, 'decided', decided, 'by', by, 'user_id', uid,
               'stage_before_id', stage_before_id, 'stage_before', stage_before,
               'state', CASE WHEN is_persons THEN state || jsonb_build_object('decided_at', {as_of}) ELSE state END)),
           'odoo', as_of, as_of, 0, %(uid)s, now() AT TIME ZONE 'UTC', %(uid)s, now() AT TIME ZONE 'UTC'
      FROM decisions ORDER BY lead_id, manychat_id
        ON CONFLICT (event_id) DO UPDATE
           SET payload = EXCLUDED.payload, lead_id = EXCLUDED.lead_id, received_at = EXCLUDED.received_at,
               occurred_at = EXCLUDED.occurred_at
    RETURNING event_id, manychat_id)
    SELECT compared.manychat_id, written.event_id, {decided_at} AS decided_before
      FROM (SELECT manychat_id FROM states UNION SELECT unnest(%(manychat_ids)s::text[])) AS compared (manychat_id)
      LEFT JOIN written ON written.manychat_id = compared.manychat_id
      LEFT JOIN manychat_identity identity ON identity.manychat_id = written.manychat_id
""".replace("{states}", states_of(_CHANGED, LOCK))
    .replace("{left_stage}", in_language("left_stage.name"))
    .replace("{as_of}", moment("as_of"))
    .replace("{decided_at}", moment("identity.decided_at"))
)
_FORGET = """
    WITH forgotten AS (
        SELECT * FROM jsonb_to_recordset(%s) AS forgotten (event_id text, manychat_id text, decided_before timestamp)
    ), dated AS (
        UPDATE manychat_identity SET decided_at = forgotten.decided_before
          FROM forgotten WHERE manychat_identity.manychat_id = forgotten.manychat_id
    )
    DELETE FROM manychat_event USING forgotten
     WHERE manychat_event.event_id = forgotten.event_id AND state = 'pending' RETURNING manychat_event.event_id
"""


class Decisions:
    """What one transaction has changed, with what was there before its first change.

    :ivar str token: makes the ids of its events
    :ivar dict leads: lead id → values before, as the statement takes them
    :ivar dict links: ManyChat id → its opportunity before, as the statement takes it
    :ivar dict places: ManyChat id → whether it counted as merged into another one, as the statement takes it
    :ivar dict written: the events that were written before a savepoint, by id, as the statements take them: with what
        they changed of ``decided_at``
    :ivar set touched: ids of leads that may have changed since the last comparison
    :ivar set touched_people: ManyChat ids whose opportunity may be another one since then
    :ivar dict recorded: lead id → values when it was last recorded, of those whose ``write`` had not returned: another
        app may commit meanwhile
    """

    def __init__(self):
        # Odoo's retry of the transaction has another one; what it wrote before is rolled back.
        self.token = uuid4().hex
        self.leads, self.links, self.places, self.written = {}, {}, {}, {}
        self.touched, self.touched_people, self.recorded = set(), set(), {}

    def stage_before(self, lead):
        """The id of the stage in which ``lead`` was before the transaction; ``None``: in none, it was lost or new."""
        known = self.leads.get(lead.id) or {"active": lead.active, "stage_id": lead.stage_id.id or None}
        return known.get("stage_id") if known.get("active") else None

    def __copy__(self):  # a savepoint that is rolled back goes back to it
        copied = Decisions()
        copied.token = self.token
        copied.leads, copied.links = dict(self.leads), {name: dict(link) for name, link in self.links.items()}
        copied.places = dict(self.places)
        copied.written, copied.recorded = dict(self.written), dict(self.recorded)
        copied.touched, copied.touched_people = set(self.touched), set(self.touched_people)
        return copied

    def go_on(self, before, lead_ids, made_by):
        """Go on after a ``write``, in which another app may have committed or rolled back.

        :param Decisions before: those of the transaction in which it began
        :param set lead_ids: leads that it wrote
        """
        if self.token != before.token:
            # What is in the database since is what later changes are compared with.
            for lead_id in lead_ids:
                then = before.leads[lead_id] | before.recorded.get(lead_id, {})
                self.leads.setdefault(lead_id, then | made_by)
            self.touched |= lead_ids


@contextmanager
def writing(lead_ids):
    """Have the ``write`` of opportunities go on while the context lasts, whatever another app commits in it."""
    token = _in_write.set(_in_write.get() | lead_ids)
    try:
        yield
    finally:
        _in_write.reset(token)


def in_write():
    """Ids of the leads whose ``write`` has not returned."""
    return _in_write.get()


def decisions_of(env):
    """The :class:`Decisions` of the transaction, which are recorded before it commits.

    ``None`` if no queue is configured, so that nothing would ever take them: an unused outbox only grows.
    """
    data = env.cr.postcommit.data  # it outlives savepoints, and ends with the transaction
    if _KEY not in data:
        data[_KEY] = Decisions() if env.registry.ready and _is_configured(env) else None
    found = data[_KEY]
    if found and _KEY not in env.cr.precommit.data:
        _record_before_commit(env.cr, env.uid)
    return found


def settle(env):
    """Have what the transaction has decided so far written."""
    if env.cr.postcommit.data.get(_KEY):
        env.cr.flush()


def _is_configured(env):
    try:
        return bool(queue_account(env))
    except BadQueueAccount:
        return True  # it is going to be corrected; until then, events wait


def meet(leads):
    """Have a transaction that changes ``leads`` at the same moment conflict with this one, and repeat.

    Call it where a conversation begins or ceases to be followed. The other transaction's snapshot is older: it would
    write the state of a conversation that has left the opportunity, later than this one, or none of one that has come.
    A lock alone is over before it looks.
    """
    private_sql.fetch(leads.env.cr, _MEET, [leads.ids])


def is_deciding(env):
    """Whether a change is none of the chat's, and none that a migration brings from the old system."""
    return not is_chat() and not migrating(env)


@contextmanager
def changing(env, column, ids):
    """Have Odoo or PostgreSQL change opportunities while the context lasts, in another way than by a ``write``.

    :param str column: of ``crm_lead``
    :param ids: its values in the opportunities that change
    """
    if not ids or not is_deciding(env) or not (decisions := decisions_of(env)):
        yield
        return
    env["crm.lead"].flush_model([column])
    lead_ids = _remember(env, decisions, column, ids)
    yield
    decisions_of(env).touched |= lead_ids  # what Odoo compared in the context was compared too early


def remember_flushed(leads, vals_list):
    """Remember what is there before the ORM writes values into the table that no ``write`` has brought: computed ones.

    :param vals_list: the values of each of ``leads``
    """
    # Of what the chat has set off, too: the ORM may write what the chat has changed, and its answer has the state.
    if is_within_chat():
        return
    # What a new one begins with is remembered when it is there, and so is a conversation that comes to follow.
    followed = leads._fields["x_manychat_id"]
    known = {*leads.ids}.difference(leads.env.records_to_compute(followed).ids)
    changed = [
        lead.id
        for lead, vals in zip(leads, vals_list, strict=True)
        if not _COLUMNS.isdisjoint(vals) and lead.id in known and lead._cache.get(followed.name, True)
    ]
    if changed and (decisions := decisions_of(leads.env)):
        _remember(leads.env, decisions, "id", {*changed} - decisions.leads.keys() - in_write())
        decisions.touched |= {*changed} & decisions.leads.keys()


def _remember(env, decisions, column, ids):
    if not ids:
        return set()
    made_by = by(env)  # it may ask the database, too
    env.cr.execute(_BEFORE.format(SQL.identifier("lead", column).code), [tuple(ids)])
    found = dict(env.cr.fetchall())
    decisions.leads = {lead_id: values | made_by for lead_id, values in found.items()} | decisions.leads
    decisions.touched |= found.keys()
    return {*found}


def by(env):
    """What makes a change now, as the statement takes it."""
    actor = current_actor(env)
    return {"by": actor.value, "uid": env.uid if actor in (Actor.PERSON, Actor.IMPORT) else None}


def _record_before_commit(cr, uid):
    cr.precommit.data[_KEY] = True
    # Last: what is recorded is what others do before the commit, too.
    cr.precommit.add(lambda: cr.precommit.add(lambda: _record(cr, uid)))


def _record(cr, uid):
    cr.precommit.data.pop(_KEY, None)
    if not (decisions := cr.postcommit.data.get(_KEY)):
        return
    try:
        _compare(cr, uid, decisions)
    except Exception:
        _record_before_commit(cr, uid)  # an app that opens a savepoint may go on after its error
        raise


def _compare(cr, uid, decisions):
    env = api.Environment(cr, SUPERUSER_ID, {})
    env["crm.lead"].flush_model()
    env["manychat.identity"].flush_model()
    # Only what may have changed: a job that opens a savepoint for each opportunity would compare all at each of them.
    lead_ids, people = decisions.touched, decisions.touched_people
    if not (lead_ids or people):
        return
    before = {lead_id: decisions.leads[lead_id] for lead_id in lead_ids & decisions.leads.keys()}
    parameters = {
        "lead_ids": list(lead_ids),
        "manychat_ids": list(people),
        "leads": Json([{"lead_id": lead_id, **values} for lead_id, values in before.items()]),
        "places": Json([{"manychat_id": name, **place} for name, place in decisions.places.items()]),
        "links": Json([{"manychat_id": name, **link} for name, link in decisions.links.items()]),
        "token": decisions.token,
        "uid": uid,
        "bridge_user": bridge_user_id(env),
    }
    rows = private_sql.fetch(cr, _INSERT, parameters)
    decisions.touched, decisions.touched_people = set(), set()
    written = {row["event_id"]: row for row in rows if row["event_id"]}
    compared = {row["manychat_id"] for row in rows}
    undone = {
        event_id: row
        for event_id, row in decisions.written.items()
        if row["manychat_id"] in compared and event_id not in written
    }
    if undone:
        private_sql.fetch(cr, _FORGET, [Json([*undone.values()])])
    # Of an event that is written again, the first row has what was there before the transaction.
    kept = {event_id: row for event_id, row in decisions.written.items() if event_id not in undone}
    decisions.written = written | kept
    for lead in env["crm.lead"].browse(in_write()).exists():
        decisions.recorded[lead.id] = lead._manychat_watched()
    if written:
        relay_thread.wake_after_commit(cr)

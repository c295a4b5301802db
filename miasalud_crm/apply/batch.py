"""The records that a batch of events needs: found, created where missing, and locked."""

from collections import defaultdict
from contextlib import suppress

import psycopg2

from bridge.contract.fields import channel_key

from .. import private_sql
from ..models.manychat_advisor import COMMERCIAL, MEDICAL
from ..moments import naive_utc
from .custom_fields import CustomFields


class EventBatch:
    """A batch of opportunity events with the records that they concern.

    :ivar dict rows: event id → locked ``manychat.event``
    :ivar dict leads: ManyChat id → locked ``crm.lead``; the caller adds the ones that it creates
    :ivar dict advisors: (role, ManyChat id) → ``manychat.advisor``
    :ivar dict sources: channel, as :func:`channel_key` gives it → id of its ``utm.source``
    :ivar CustomFields custom: what the events say of fields that a manager has chosen for unknown ones
    :ivar dict customers: ManyChat id → ``res.partner``, of people without an opportunity whom Odoo knows as contacts
    :ivar set taken_over: ManyChat ids whose opportunity was there before, without the id
    """

    def __init__(self, env, events, known):
        """
        :param known: see :func:`lock_rows`
        """
        self.env = env
        self.rows, self._busy_event_ids = lock_rows(env, events, known)
        self.leads, self._busy_manychat_ids = lock_leads(env, {event.manychat_id for event in events})
        self.advisors, self.sources = {}, {}
        self.custom = None
        self.customers, self.taken_over = {}, set()

    def is_busy(self, event):
        """Whether another transaction holds the event's row or its opportunity."""
        return event.id in self._busy_event_ids or event.manychat_id in self._busy_manychat_ids

    def load_references(self, events):
        """Find or create the advisers and UTM sources that ``events`` name."""
        self.advisors = _advisors(self.env, events)
        channels = [event.payload.channel for event in events if event.payload.channel]
        self.sources = self.env["utm.source"]._manychat_find_or_create(channels)
        self.custom = CustomFields(self.env, events, self.rows)

    def references(self, event, company):
        """Ids of the records that ``event`` names, by lead field; ``None`` or ``False`` where there is none.

        :param company: ``res.company`` of the opportunity, or an empty one
        """
        payload = event.payload
        commercial = self.advisors.get((COMMERCIAL, payload.commercial_advisor_id))
        medical = self.advisors.get((MEDICAL, payload.medical_advisor_id))
        return {
            "user_id": commercial and commercial._salesperson(company).id,
            "source_id": payload.channel and self.sources.get(channel_key(payload.channel)),
            "manychat_commercial_advisor_id": commercial and commercial.id,
            "manychat_medical_advisor_id": medical and medical.id,
        }

    def rounds(self, pending):
        """Split ``pending`` into rounds: the first event of each opportunity, then the second of each, and so on.

        Each round writes its own line into the history of an opportunity.

        :param list pending: pairs of event and ``manychat.stage.map``, oldest first
        :return list: lists of such pairs
        """
        rounds, counts = [], defaultdict(int)
        for event, stage_map in pending:
            # A merged opportunity follows several people, and still takes one event a round.
            opportunity = self.leads.get(event.manychat_id, event.manychat_id)
            position = counts[opportunity]
            counts[opportunity] += 1
            if position == len(rounds):
                rounds.append([])
            rounds[position].append((event, stage_map))
        return rounds


def lock_rows(env, events, known):
    """Lock the ``manychat.event`` rows of ``events``; create those of events that did not come through the webhook.

    :param known: ids of the events that had a row when the transaction began, for it sees no later ones
    :return tuple: dict of event id → row, and the set of event ids whose row another transaction holds
    """
    by_id = {event.id: event for event in events}
    # The same order everywhere, so that two bridges cannot wait for each other. What was read before the lock stays
    # true: PostgreSQL locks no row that has changed since the transaction's snapshot.
    statement = "SELECT id, event_id FROM manychat_event WHERE event_id = ANY(%s) ORDER BY id FOR UPDATE SKIP LOCKED"
    locked = _lock(env.cr, statement, list(by_id))
    rows = dict(
        zip((row["event_id"] for row in locked), env["manychat.event"].browse(row["id"] for row in locked), strict=True)
    )
    if len(rows) < len(by_id):
        rows |= _create_rows(env, [event for event in events if event.id not in rows and event.id not in known])
    return rows, by_id.keys() - rows.keys()


def _create_rows(env, events):
    """Create the rows of ``events``: dict of event id → row."""
    created = env["manychat.event"].create(
        [
            {
                "event_id": event.id,
                "type": event.type.value,
                "manychat_id": event.manychat_id,
                "state": "queued",
                "payload": event.payload.canonical(),
                "warnings": list(event.warnings) or False,
                "extra": dict(event.extra) or False,
                "source": event.source,
                "received_at": naive_utc(event.received_at),
                "occurred_at": naive_utc(event.occurred_at),
                "traceparent": event.traceparent,
            }
            for event in events
        ]
    )
    created.flush_recordset()  # fails now if another bridge creates the same row
    return {row.event_id: row for row in created}


def lock_leads(env, manychat_ids):
    """Lock the opportunities of ``manychat_ids``.

    An id without an opportunity is locked as well: when two bridges meet a new person at the same moment, one creates
    the opportunity and the other one learns that the id is busy, without failing.

    :return tuple: dict of ManyChat id → lead, and the set of ids that another transaction holds
    """
    domain = [("manychat_id", "in", list(manychat_ids))]
    identities = env["manychat.identity"].search_fetch(domain, ["manychat_id", "lead_id"], order="id")
    leads = {}
    if identities:
        statement = "SELECT id FROM crm_lead WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED"
        free = {row["id"] for row in _lock(env.cr, statement, identities.lead_id.ids)}
        leads = {identity.manychat_id: identity.lead_id for identity in identities if identity.lead_id.id in free}
    known = set(identities.mapped("manychat_id"))
    return leads, (known - leads.keys()) | _lock_new(env.cr, set(manychat_ids) - known)


def _lock(cr, statement, keys):
    """The rows of ``keys`` that ``statement`` could lock.

    Without those that another transaction holds, and those that one has changed since this one's snapshot: they would
    fail the whole statement.
    """
    try:
        return private_sql.fetch(cr, statement, [keys])
    except psycopg2.errors.SerializationFailure:
        locked = []
        for key in keys:
            with suppress(psycopg2.errors.SerializationFailure):
                locked += private_sql.fetch(cr, statement, [[key]])
        return locked


def _lock_new(cr, manychat_ids):
    """Lock ids that have no opportunity. Return those that another transaction holds."""
    if not manychat_ids:
        return set()
    cr.execute(
        """
        SELECT id FROM unnest(%s::text[]) AS id
         WHERE NOT pg_try_advisory_xact_lock(hashtextextended('manychat_id ' || id, 0))
        """,
        [sorted(manychat_ids)],
    )
    return {manychat_id for (manychat_id,) in cr.fetchall()}


def _advisors(env, events):
    named = {(COMMERCIAL, event.payload.commercial_advisor_id) for event in events}
    named |= {(MEDICAL, event.payload.medical_advisor_id) for event in events}
    return env["manychat.advisor"]._find_or_create({(role, number) for role, number in named if number is not None})

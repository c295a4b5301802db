"""What the bridge calls on the event log, over RPC."""

import logging
from datetime import datetime

import psycopg2
from psycopg2.extras import Json

from odoo import api, models

from bridge.contract.errors import ContractError
from bridge.contract.event import from_envelope
from bridge.contract.outcomes import ErrorCode, EventOutcome, ReportedState

from .. import private_sql
from ..deliveries import ACCEPTED
from ..moments import iso_utc
from ..rights import bridge_only
from .manychat_event import ManychatEvent as Event

_logger = logging.getLogger(__name__)

#: Longest message kept: it may quote a long error of a database.
MESSAGE_KEPT_CHARS = 2000
#: What a row says of its person.
PERSONAL = ("manychat_id", "payload", "message", "extra", "warnings", "field_warnings", "request", "attempts")
#: Hexadecimal digits of a trace's id.
TRACE_DIGITS = 32
#: Most events in one answer of ``get_history``, which a person reads on a terminal.
MOST = 50


class ManychatEvent(models.Model):
    _inherit = "manychat.event"  # pylint: disable=consider-merging-classes-inherited

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    def _adopt(self, envelope):
        """Create the row of an event that did not come through the webhook, if it is missing."""
        try:
            event = from_envelope(envelope)
        except ContractError:
            return  # of another version, which this addon cannot read: the log stays without it
        try:
            with self.env.cr.savepoint(flush=False):
                self._insert(event, "queued")
        except psycopg2.DataError:
            _logger.warning(
                "The log stays without the ManyChat event %s (trace %s), which PostgreSQL cannot store.",
                event.id,
                event.trace_id,
            )

    def _history(self):
        lead = self.lead_id.with_context(active_test=False)
        return {
            "event_id": self.event_id,
            "trace_id": self.trace_id,
            "type": self.type,
            "manychat_id": self.manychat_id,
            "source": self.source,
            "state": self.state,
            **{name: iso_utc(self[name]) for name in ("received_at", "occurred_at", "queued_at", "applied_at")},
            "outcome": self.outcome,
            "code": self.code,
            "stage_before": self.stage_before_id.name or False,
            "stage_after": self.stage_after_id.name or False,
            "lead_id": lead.id,
            "lead_stage": lead.stage_id.name or False,
            "lead_active": lead.active,
        }

    # ------------------------------------------------------------
    # RPC
    # ------------------------------------------------------------

    @api.model
    @bridge_only
    def record_outcomes(self, outcomes):
        """Record the results of events. For the group “ManyChat Bridge”, over RPC; a repeated call does no harm.

        *Done* is final. Any other state counts only if the event was not sent again since (``retries``). *Failed* does
        not replace *Discarded*. An event that Odoo does not know is ignored, unless the outcome carries its envelope.

        :param list outcomes: dicts of ``event_id``; ``state`` (``done``, ``failed``, ``discarded``, ``erased``);
            ``outcome`` (``stored``, …); ``code`` and ``message``, why it failed; ``finished_at`` (ISO 8601, UTC);
            ``retries``, how often the event had been sent again by then; ``event``, its envelope, if it did not come
            through Odoo. Only the first two are required.
        :return dict: ``busy``: ids of events that another transaction holds; the bridge reports them again
        :raises AccessError: the caller is not in that group
        """
        by_id = {outcome["event_id"]: outcome for outcome in outcomes if outcome.get("event_id")}
        for outcome in by_id.values():
            if outcome.get("event"):
                self._adopt(outcome["event"])
        statement = "SELECT event_id FROM manychat_event WHERE event_id = ANY(%s) ORDER BY id FOR UPDATE SKIP LOCKED"
        locked = {row["event_id"] for row in private_sql.fetch(self.env.cr, statement, [list(by_id)])}
        known = set(self.search([("event_id", "in", list(by_id))]).mapped("event_id"))
        self.env.cr.execute(
            """
            UPDATE manychat_event event
               SET state = CASE reported.state WHEN 'erased' THEN 'discarded' ELSE reported.state END,
                   outcome = CASE reported.state WHEN 'done' THEN reported.outcome ELSE 'error' END,
                   code = CASE reported.state WHEN 'done' THEN NULL WHEN 'erased' THEN 'erased'
                                              ELSE COALESCE(reported.code, event.code) END,
                   -- For the same code, Odoo's own message is better than the bridge's.
                   message = CASE WHEN reported.state = 'done' THEN NULL
                                  WHEN event.code = reported.code AND event.message <> '' THEN event.message
                                  ELSE COALESCE(reported.message, event.message) END,
                   applied_at = COALESCE(reported.finished_at AT TIME ZONE 'UTC', event.applied_at),
                   alias_id = CASE reported.state WHEN 'failed' THEN event.alias_id END,
                   -- Odoo knows its own attempts; of them the bridge reports that it has given up.
                   attempts = CASE
                       WHEN reported.state = 'erased' THEN NULL
                       WHEN reported.state <> 'failed' OR event.state = 'failed' AND event.code = reported.code
                       THEN event.attempts
                       ELSE COALESCE(event.attempts, '[]') || jsonb_build_array(jsonb_strip_nulls(jsonb_build_object(
                           'at', to_char(COALESCE(reported.finished_at, now()) AT TIME ZONE 'UTC',
                                         'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
                           'code', CASE WHEN event.code = reported.code THEN 'given_up' ELSE reported.code END,
                           'message', CASE WHEN event.code IS DISTINCT FROM reported.code THEN reported.message END)))
                       END,
                   discard_to_report = FALSE
              FROM jsonb_to_recordset(%(reported)s) AS reported (
                   event_id text, state text, outcome text, code text, message text, finished_at timestamptz,
                   retries int)
             WHERE event.event_id = reported.event_id AND event.event_id = ANY(%(locked)s)
               AND event.state <> 'done'
               AND (reported.state = 'done' OR COALESCE(event.retries, 0) <= COALESCE(reported.retries, 0))
               AND NOT (event.state = 'discarded' AND reported.state = 'failed')
            """,
            {"reported": Json([_one_outcome(outcome) for outcome in by_id.values()]), "locked": list(locked)},
        )
        self.invalidate_model()
        return {"busy": sorted(known - locked)}

    @api.model
    @bridge_only
    def erase(self, manychat_id):
        """Erase a person from the log. For the group “ManyChat Bridge”, over RPC (``python -m bridge erase``).

        The rows stay, without personal data: they prevent that the same events are applied again. Waiting events of the
        person are discarded.

        :param str manychat_id: ManyChat id of the person to erase
        :return dict: ``events``, how many rows were emptied; ``rejections``, how many refused requests were deleted;
            ``lead_ids``, the opportunities, which an Odoo user keeps or deletes
        :raises AccessError: the caller is not in that group
        """
        identity = self.env["manychat.identity"].search([("manychat_id", "=", manychat_id)])
        identity.phone = False
        refused = self._refused_about(manychat_id)
        events = self.search([("manychat_id", "=", manychat_id)]) - refused
        unfinished = events.filtered(lambda event: event.state in ("pending", "failed"))
        # Discarded, not failed: without its payload, no user can fix it.
        labels = {(event.payload or {}).get("state", {}).get("stage") for event in events}
        unfinished.write({"state": "discarded", "outcome": "error", "code": ErrorCode.ERASED.value, "alias_id": False})
        self.env["manychat.stage.alias"]._forget(labels - {None})
        events.write({name: False for name in PERSONAL if name in self._fields})
        self.env["manychat.correction"]._forget(manychat_id)
        self.env["manychat.migration.line"].search([("manychat_id", "=", manychat_id)]).unlink()
        result = {"events": len(events), "rejections": len(refused), "lead_ids": identity.lead_id.ids}
        refused.unlink()
        return result

    @api.model
    @bridge_only
    def get_history(self, event_id="", manychat_id=""):
        """History of an event. For the group “ManyChat Bridge”, over RPC (``python -m bridge trace``).

        Without the person's data, and with no more of the opportunity than its id and stage: the bridge's key gives
        access to no more than it needs.

        :param str event_id: an event's id, its first characters (hexadecimal), or the whole id of a trace
        :param str manychat_id: instead, all events of this person
        :return list: of dicts, newest first, at most 50; moments as ISO 8601 in UTC or False
        :raises AccessError: the caller is not in that group
        """
        if event_id:
            # A range and not a pattern, which an index would not serve; “g” comes after all hexadecimal digits.
            domain = ["&", ("event_id", ">=", str(event_id)), ("event_id", "<", f"{event_id}g")]
            if len(event_id) == TRACE_DIGITS:
                domain = ["|", ("trace_id", "=", event_id), *domain]
        elif manychat_id:
            domain = [*ACCEPTED, ("manychat_id", "=", str(manychat_id))]
        else:
            return []
        events = self.search(domain, limit=MOST, order="id desc")
        beginning = event_id or ""
        found = [event for event in events if event.event_id.startswith(beginning) or event.trace_id == beginning]
        return [event._history() for event in found]


def _one_outcome(outcome):
    """One outcome as the statement of :meth:`ManychatEvent.record_outcomes` takes it: valid values of valid length."""
    outcomes = dict(Event.outcome.selection)
    message = str(outcome.get("message") or "").replace("\x00", "")[:MESSAGE_KEPT_CHARS]
    return {
        "event_id": outcome["event_id"],
        "state": outcome["state"] if outcome["state"] in list(ReportedState) else ReportedState.DONE.value,
        "outcome": outcome.get("outcome") if outcome.get("outcome") in outcomes else EventOutcome.STORED.value,
        "code": outcome.get("code") or None,
        "message": message or None,
        "finished_at": _moment(outcome.get("finished_at")),
        "retries": outcome.get("retries") or 0,
    }


def _moment(text):
    """``text`` if it is a moment in ISO 8601. Any other text would make the statement fail for all outcomes."""
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00")).isoformat()
    except ValueError:
        return None

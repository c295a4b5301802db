"""What the bridge calls on the event log, over RPC."""

from psycopg2.extras import Json

from odoo import api, models

from bridge.contract.errors import ContractError
from bridge.contract.event import from_envelope

from ..moments import iso_utc
from ..rights import bridge_only
from .manychat_event import ManychatEvent as Event

#: A reason may quote what a database answered, at length.
MESSAGE_KEPT_CHARS = 2000
#: Events told of in one answer; somebody reads them on a terminal.
MOST = 50


class ManychatEvent(models.Model):
    _inherit = "manychat.event"

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    def _adopt(self, envelope):
        """Make the row of an event that did not come through the webhook, if it is not there yet."""
        try:
            event = from_envelope(envelope)
        except ContractError:
            return  # of another version: the log has to do without it
        self._insert(event, "queued", key_name=None)

    def _told(self):
        lead = self.lead_id.with_context(active_test=False)
        return {
            "event_id": self.event_id,
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
        """Take down what became of events. For the group “ManyChat Bridge”, over RPC; told twice is as good as once.

        *Done* is final. Any other state counts only if the event was not sent on its way again since (``retries``), and
        *Failed* not if somebody has discarded the event meanwhile. Events that Odoo does not know are ignored, unless
        the report brings them along.

        :param list outcomes: dicts of ``event_id``; ``state`` (``done``, ``failed``, ``discarded``, ``erased``);
            ``outcome`` (``stored``, …); ``code`` and ``message``, why it failed; ``finished_at`` (ISO 8601, UTC);
            ``retries``, how often the event had been sent again by then; ``event``, its envelope, if it did not come
            through Odoo. All but the first two may be missing.
        :return dict: ``busy``: ids of events that another transaction is working on, to be told again
        :raises AccessError: the caller is not in that group
        """
        told = {outcome["event_id"]: outcome for outcome in outcomes}
        for outcome in told.values():
            if outcome.get("event"):
                self._adopt(outcome["event"])
        self.env.cr.execute(
            "SELECT event_id FROM manychat_event WHERE event_id = ANY(%s) ORDER BY id FOR UPDATE SKIP LOCKED",
            [list(told)],
        )
        locked = {row[0] for row in self.env.cr.fetchall()}
        known = set(self.search([("event_id", "in", list(told))]).mapped("event_id"))
        self.env.cr.execute(
            """
            UPDATE manychat_event event
               SET state = CASE told.state WHEN 'erased' THEN 'discarded' ELSE told.state END,
                   outcome = CASE told.state WHEN 'done' THEN told.outcome ELSE 'error' END,
                   code = CASE told.state WHEN 'done' THEN NULL WHEN 'erased' THEN 'erased'
                                          ELSE COALESCE(told.code, event.code) END,
                   -- Of two reasons for the same thing, Odoo's own is the better one.
                   message = CASE WHEN told.state = 'done' THEN NULL
                                  WHEN event.code = told.code AND event.message <> '' THEN event.message
                                  ELSE COALESCE(told.message, event.message) END,
                   applied_at = COALESCE(told.finished_at AT TIME ZONE 'UTC', event.applied_at),
                   alias_id = CASE told.state WHEN 'failed' THEN event.alias_id END,
                   discard_to_report = FALSE
              FROM jsonb_to_recordset(%(told)s) AS told (
                   event_id text, state text, outcome text, code text, message text, finished_at timestamptz,
                   retries int)
             WHERE event.event_id = told.event_id AND event.event_id = ANY(%(locked)s)
               AND event.state <> 'done'
               AND (told.state = 'done' OR COALESCE(event.retries, 0) <= COALESCE(told.retries, 0))
               AND NOT (event.state = 'discarded' AND told.state = 'failed')
            """,
            {"told": Json([_one_outcome(outcome) for outcome in told.values()]), "locked": list(locked)},
        )
        self.invalidate_model()
        return {"busy": sorted(known - locked)}

    @api.model
    @bridge_only
    def erase(self, manychat_id):
        """Forget what the log says of a person. For the group “ManyChat Bridge”, over RPC (``python -m bridge erase``).

        The rows stay, without the person: they keep the same events from being applied again. Events of theirs that
        were still waiting are given up.

        :param str manychat_id: whose
        :return dict: ``events`` and ``rejections``, how many were emptied and deleted; ``lead_ids``, the opportunities
            that are left for a person to decide on
        :raises AccessError: the caller is not in that group
        """
        identity = self.env["manychat.identity"].search([("manychat_id", "=", manychat_id)])
        events = self.search([("manychat_id", "=", manychat_id)])
        unfinished = events.filtered(lambda event: event.state in ("pending", "failed"))
        # Discarded, not failed: there is nothing left that anybody could mend.
        unfinished.write({"state": "discarded", "outcome": "error", "code": "erased", "alias_id": False})
        events.write({"manychat_id": False, "payload": False, "message": False})
        rejections = self.env["manychat.rejection"].search([("body", "!=", False)])._about(manychat_id)
        result = {"events": len(events), "rejections": len(rejections), "lead_ids": identity.lead_id.ids}
        rejections.unlink()
        return result

    @api.model
    @bridge_only
    def get_history(self, event_id="", manychat_id=""):
        """What the log knows of an event, over RPC, for ``python -m bridge trace``. For the group “ManyChat Bridge”.

        Nothing that the person said and nothing of the opportunity but its number and stage: the bridge's key must open
        no more than it has to.

        :param str event_id: an event's id, or how it begins (hexadecimal)
        :param str manychat_id: instead, all events of this person
        :return list: of dicts, newest first, at most 50; moments as ISO 8601 in UTC or False
        :raises AccessError: the caller is not in that group
        """
        if event_id:
            # A range and not a pattern, which an index would not serve; “g” comes after all hexadecimal digits.
            domain = [("event_id", ">=", str(event_id)), ("event_id", "<", f"{event_id}g")]
        elif manychat_id:
            domain = [("manychat_id", "=", str(manychat_id))]
        else:
            return []
        events = self.search(domain, limit=MOST, order="id desc")
        return [event._told() for event in events if event.event_id.startswith(event_id or "")]


def _one_outcome(outcome):
    """One outcome as the statement of :meth:`ManychatEvent.record_outcomes` takes it: valid values of valid length."""
    outcomes = dict(Event.outcome.selection)
    message = str(outcome.get("message") or "").replace("\x00", "")[:MESSAGE_KEPT_CHARS]
    return {
        "event_id": outcome["event_id"],
        "state": outcome["state"] if outcome["state"] in ("failed", "discarded", "erased") else "done",
        "outcome": outcome.get("outcome") if outcome.get("outcome") in outcomes else "stored",
        "code": outcome.get("code") or None,
        "message": message or None,
        "finished_at": outcome.get("finished_at") or None,
        "retries": outcome.get("retries") or 0,
    }

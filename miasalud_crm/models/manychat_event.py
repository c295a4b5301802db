import json
import logging
import time
from datetime import timedelta, timezone

import psycopg2
from azure.core.exceptions import AzureError, HttpResponseError
from psycopg2.extras import Json

from odoo import api, fields, models
from odoo.exceptions import AccessError, UserError

from bridge.contract.event import ContractError, EventType, from_envelope

from .. import configuration, cron_threads
from ..queues import Queues
from .ir_cron import OFTEN

_logger = logging.getLogger(__name__)
# The SDK would write two lines about each request.
logging.getLogger("azure").setLevel(logging.WARNING)

#: Rows that one round of the relay takes: small enough to be marked soon after they are sent.
RELAY_BATCH = 64
#: A relay that dies after claiming rows loses them to the next one after this long; twice on the queue does no harm.
CLAIM = timedelta(minutes=2)
#: How long one run of the cron job goes on, in seconds; well within Odoo's limits for a job.
RELAY_SECONDS = 30
#: HTTP answers of the queue that are about one message, and not about the queue: malformed, too large.
#: https://learn.microsoft.com/rest/api/storageservices/queue-service-error-codes
MESSAGE_FAULTS = (400, 413)
#: A reason may quote what a database answered, at length.
MESSAGE_KEPT_CHARS = 2000
RETENTION_PARAMETER = "miasalud_crm.event_retention_days"
DEFAULT_RETENTION_DAYS = 90


class ManychatEvent(models.Model):
    """One row per event: outbox, log, and protection against applying an event twice.

    A row is inserted by the webhook, carried to its queue by the relay, and completed: by
    :meth:`crm.lead.manychat_apply` if it concerns an opportunity, and by :meth:`report`, in which the bridge says what
    became of it. Events that reached the queue some other way get their row there.
    """

    _name = "manychat.event"
    _description = "ManyChat Event"
    _order = "id desc"
    _rec_name = "event_id"

    event_id = fields.Char("Event ID", required=True, readonly=True)
    type = fields.Selection(
        [
            (EventType.CONTACT.value, "Contact"),
            (EventType.CAMPAIGN_ASSIGNMENT.value, "Campaign Assignment"),
            (EventType.CAMPAIGN_CONTACT.value, "Campaign Contact Update"),
            (EventType.OPPORTUNITY.value, "Opportunity"),
        ],
        required=True,
        readonly=True,
    )
    manychat_id = fields.Char("ManyChat ID", readonly=True, index=True)
    state = fields.Selection(
        [
            ("pending", "Waiting for the Queue"),
            ("queued", "On the Queue"),
            ("done", "Done"),
            ("failed", "Failed"),
            ("discarded", "Discarded"),
        ],
        required=True,
        readonly=True,
        default="pending",
        help="Waiting for the Queue: Odoo has it. On the Queue: the bridge will take it, or tries it again. Done: it "
        "is stored, or has had its effect on the opportunity. Failed: the bridge has given up, and it waits for "
        "somebody to mend it. Discarded: somebody gave it up.",
    )
    payload = fields.Json("Payload as JSON", readonly=True, groups="sales_team.group_sale_manager")
    payload_text = fields.Text("Payload", compute="_compute_payload_text", groups="sales_team.group_sale_manager")
    source = fields.Char(readonly=True, help="Who took the event in: odoo, api, queue or cli.")
    received_at = fields.Datetime(readonly=True)
    occurred_at = fields.Datetime(
        "Happened At", readonly=True, help="By the sender's clock; it decides which event is newer."
    )
    queued_at = fields.Datetime(readonly=True)
    applied_at = fields.Datetime(
        "Finished At", readonly=True, help="When it was stored or moved its opportunity, failed or was discarded."
    )
    seconds = fields.Float(
        "Seconds to Finish",
        readonly=True,
        aggregator="avg",
        digits=(16, 1),
        help="From its receipt until it was stored or had moved its opportunity.",
    )
    claimed_until = fields.Datetime(readonly=True)
    # Its name and not a link to it: a foreign key would collide with “last used” being written on the key.
    key_name = fields.Char("Key", readonly=True, groups="base.group_system")

    outcome = fields.Selection(
        [
            ("created", "Created"),
            ("moved", "Moved"),
            ("updated", "Updated"),
            ("unchanged", "Unchanged"),
            ("stale", "Older Than What Is Known"),
            ("stored", "Stored"),
            ("error", "Error"),
        ],
        readonly=True,
        help="Created, Moved, Updated, Unchanged: what it did to its opportunity. Stored: contacts and campaigns are "
        "kept in Azure SQL only.",
    )
    code = fields.Char(readonly=True)
    message = fields.Char("Details", readonly=True)
    reason = fields.Char("Why", compute="_compute_reason", help="What is wrong, and what to do about it.")
    retries = fields.Integer(
        readonly=True,
        default=0,
        aggregator=None,
        help="How often somebody, or a newly mapped stage, sent it on its way again.",
    )
    refusals = fields.Integer(
        "Times Refused",
        readonly=True,
        default=0,
        aggregator=None,
        help="How often Odoo refused it since it was last sent on its way. The bridge gives up after some tries.",
    )
    # The bridge keeps a dead letter of it, which it closes when it hears of this; see manychat.bridge.heartbeat.
    discard_untold = fields.Boolean(readonly=True)
    lead_id = fields.Many2one("crm.lead", "Opportunity", readonly=True, ondelete="set null", index="btree_not_null")
    stage_before_id = fields.Many2one("crm.stage", readonly=True, ondelete="set null")
    stage_after_id = fields.Many2one("crm.stage", readonly=True, ondelete="set null")
    alias_id = fields.Many2one(
        "manychat.stage.alias", "Unknown Stage", readonly=True, ondelete="set null", index="btree_not_null"
    )

    def init(self):
        self.env.cr.execute(
            """
            CREATE UNIQUE INDEX IF NOT EXISTS manychat_event_event_id_unique ON manychat_event (event_id);
            CREATE INDEX IF NOT EXISTS manychat_event_pending ON manychat_event (id) WHERE state = 'pending';
            CREATE INDEX IF NOT EXISTS manychat_event_failed ON manychat_event (id) WHERE state = 'failed';
            CREATE INDEX IF NOT EXISTS manychat_event_untold ON manychat_event (id) WHERE discard_untold
            """
        )
        self._generate_seconds()

    def _generate_seconds(self):
        """Have PostgreSQL keep ``seconds``: rows are completed by several statements, and none can forget it.

        Of the very type that Odoo gives such a field: it would convert any other, which a generated column forbids.
        """
        self.env.cr.execute(
            "SELECT is_generated FROM information_schema.columns WHERE table_schema = current_schema "
            "AND table_name = 'manychat_event' AND column_name = 'seconds'"
        )
        if self.env.cr.fetchone() != ("ALWAYS",):
            self.env.cr.execute(
                """
                ALTER TABLE manychat_event DROP COLUMN IF EXISTS seconds;
                ALTER TABLE manychat_event ADD COLUMN seconds numeric GENERATED ALWAYS AS (
                    CASE WHEN state = 'done' THEN EXTRACT(EPOCH FROM applied_at - received_at)::numeric END) STORED
                """
            )

    @api.depends("type", "manychat_id")
    def _compute_display_name(self):
        types = dict(self._fields["type"]._description_selection(self.env))
        for event in self:
            event.display_name = f"{types.get(event.type)} · {event.manychat_id or self.env._('erased')}"

    @api.depends("state", "code", "message", "refusals")
    def _compute_reason(self):
        reasons = self._reasons()
        for event in self:
            reason = False
            if event.state in ("failed", "discarded"):
                reason = event.code and (reasons.get(event.code) or event.message or event.code)
            elif event.state == "queued" and event.code:
                reason = self.env._(
                    "Odoo did not accept it (tried %s times). The bridge tries it again by itself.", event.refusals
                )
            event.reason = reason

    def _reasons(self):
        """What to say of each code of a failure: what is wrong, and what to do about it."""
        return {
            "unmapped_stage": self.env._(
                "Its ManyChat stage is not mapped to a stage of the pipeline. Say under Stage Aliases which one it "
                "means; the event then goes through by itself."
            ),
            "invalid": self.env._("It breaks a rule of the contract. Correct the External Request in ManyChat."),
            "refused": self.env._("Odoo did not accept it. Mend what the details say, then press Retry."),
            "sql_refused": self.env._(
                "Azure SQL did not accept it. Have your administrator mend what the details say, then press Retry."
            ),
            "wrong_queue": self.env._("It stood on the wrong queue. Press Retry to put it on its own."),
            "crashed": self.env._(
                "The bridge was stopped each time it tried this event. Press Retry; if it fails again, tell your "
                "administrator."
            ),
            "failed": self.env._(
                "The bridge met an error of its own. Tell your administrator what the details say, then press Retry."
            ),
            "undeliverable": self.env._(
                "The queue does not take it. Discard it, and have the conversation send less text."
            ),
            "erased": self.env._("Its person's data was erased, so it can no longer be applied."),
        }

    @api.depends("payload")
    def _compute_payload_text(self):
        for event in self:
            event.payload_text = json.dumps(event.payload, indent=2, ensure_ascii=False)

    # ------------------------------------------------------------
    # Taking events in
    # ------------------------------------------------------------

    @api.model
    def _enqueue(self, event, key):
        """Commit ``event`` to the outbox, as the request's own transaction commits; the relay is woken by that.

        :param bridge.contract.event.Event event: a valid event
        :param key: the ``manychat.api.key`` of the caller
        :return bool: False if the event was there already
        :raises psycopg2.errors.SerializationFailure: the same event is being inserted by another request;
            roll back and try again
        """
        self.check_access("create")
        inserted = self._insert(event, "pending", key.name or None)
        if inserted:
            self._wake_relay()
        return inserted

    @api.model
    def _insert(self, event, state, key_name):
        """Make the row of ``event``, unless there is one.

        One INSERT instead of create(): half the time, and no exception for an event that is already known.

        :return bool: False if it was there already
        """
        self.env.cr.execute(
            """
            INSERT INTO manychat_event (event_id, type, manychat_id, state, payload, source, received_at, occurred_at,
                                        key_name, retries, create_uid, create_date, write_uid, write_date)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
            ON CONFLICT (event_id) DO NOTHING
            """,
            [
                event.id,
                event.type.value,
                event.manychat_id,
                state,
                Json(event.payload.canonical()),
                event.source,
                naive_utc(event.received_at),
                naive_utc(event.occurred_at),
                key_name,
                event.retries,
                self.env.uid,
                self.env.cr.now(),
                self.env.uid,
                self.env.cr.now(),
            ],
        )
        return bool(self.env.cr.rowcount)

    @api.model
    def _wake_relay(self):
        """Have the relay run as soon as this transaction has committed."""
        cron_threads.revive()
        self.env.ref("miasalud_crm.cron_relay").sudo().with_context(**{OFTEN: True})._trigger()

    def action_retry(self):
        """Send failed events, and discarded ones, on their way again: a manager's second try.

        Also those that are said to be on their queue: should a message have got lost there, this is the way to replace
        it, and a second one does no harm.
        """
        self._manager_only()
        events = self.filtered(lambda event: event.state in ("queued", "failed", "discarded") and event.sudo().payload)
        if not events:
            raise UserError(self.env._("None of these can be sent again: they are done, on their way, or erased."))
        events.sudo()._requeue()

    def action_discard(self):
        """Give failed events up: they no longer wait for anything, here or in the bridge. *Retry* takes it back."""
        self._manager_only()
        events = self.filtered(lambda event: event.state == "failed")
        if not events:
            raise UserError(self.env._("Only failed events can be discarded; none of these is one."))
        events.sudo().write({"state": "discarded", "alias_id": False})
        # What never reached the queue, the bridge knows nothing of.
        events.sudo().filtered(lambda event: event.code != "undeliverable").discard_untold = True

    def _manager_only(self):
        if not self.env.su and not self.env.user.has_group("sales_team.group_sale_manager"):
            raise AccessError(self.env._("Only sales managers may do this."))

    def _requeue(self):
        """Send these events on their way again. Events already applied stay as they are, and so do erased ones."""
        events = self.filtered(lambda event: event.state != "done" and event.payload)
        events.write(
            {
                "state": "pending",
                "claimed_until": False,
                "code": False,
                "message": False,
                "outcome": False,
                "applied_at": False,
                "discard_untold": False,
                "refusals": 0,
            }
        )
        for event in events:
            event.retries += 1
        if events:
            events._wake_relay()

    def _envelope(self):
        """The event as it travels: the JSON object of the contract."""
        self.ensure_one()
        return {
            "v": 1,
            "id": self.event_id,
            "type": self.type,
            "received_at": self.received_at.isoformat(),
            "source": self.source,
            "payload": self.payload,
            "retries": self.retries,
        }

    # ------------------------------------------------------------
    # The relay: outbox → queue
    # ------------------------------------------------------------

    @api.model
    def _cron_relay(self):
        """Carry waiting events to their queues.

        Never raises: Odoo deactivates a job that keeps failing, and Azure being down is no fault of the job. The events
        then wait, and each timed run tries one of them first.
        """
        connection_string = configuration.get("queue_connection_string")
        if not connection_string:
            if self.search_count([("state", "=", "pending")], limit=1):
                _logger.warning(
                    "ManyChat events wait, because no queue is configured: set queue_connection_string in section "
                    "[%s] of odoo.conf, or %sQUEUE_CONNECTION_STRING.",
                    configuration.SECTION,
                    configuration.ENVIRONMENT_PREFIX,
                )
            return
        deadline = time.monotonic() + RELAY_SECONDS
        try:
            with Queues(connection_string) as queues:
                # The first event alone is the probe: with Azure down, one put times out and not a batch of them.
                size = 1
                while time.monotonic() < deadline:
                    claimed = self._claim(size)
                    if not claimed or not self._send(queues, claimed):
                        return
                    size = RELAY_BATCH
            self._wake_relay()  # more than fits into one run
        except Exception:
            self.env.cr.rollback()
            _logger.exception("The ManyChat relay failed; it will run again within a minute.")

    def _claim(self, size):
        """Take up to ``size`` waiting events, oldest first, so that no other relay sends them meanwhile.

        Committed at once: the lock must not last as long as the network takes, or the bridge, which may see an event
        before its row says “queued”, could not complete it.
        """
        ids = self._commit_statement(
            """
            UPDATE manychat_event SET claimed_until = (clock_timestamp() AT TIME ZONE 'UTC') + %(claim)s
             WHERE id IN (
                   SELECT id FROM manychat_event
                    WHERE state = 'pending'
                      AND (claimed_until IS NULL OR claimed_until < clock_timestamp() AT TIME ZONE 'UTC')
                    ORDER BY id LIMIT %(size)s FOR UPDATE SKIP LOCKED)
            RETURNING id
            """,
            {"claim": CLAIM, "size": size},
        )
        return self.browse(sorted(ids))

    def _send(self, queues, events):
        """Put ``events`` on their queues and mark those that arrived.

        :return bool: whether all of them arrived; if not, the queue is in trouble and the rest had better wait
        """
        failures, undeliverable = [], {}

        def put(message):
            row_id, envelope = message
            try:
                event = from_envelope(envelope)
                queues.put(event.type.queue, event.encode())
                return row_id
            except ContractError as error:
                undeliverable[row_id] = error.message
            except HttpResponseError as error:
                if error.status_code in MESSAGE_FAULTS:
                    undeliverable[row_id] = f"The queue refuses this event ({error.error_code or error.status_code})."
                else:
                    failures.append(error)
            except AzureError as error:
                failures.append(error)
            return None

        messages = [(event.id, event._envelope()) for event in events]
        sent = [row_id for row_id in queues.pool.map(put, messages) if row_id]
        for row_id, message in undeliverable.items():
            # It would be refused for ever, and everything behind it would wait with it.
            self._commit_statement(
                """
                UPDATE manychat_event
                   SET state = 'failed', outcome = 'error', code = 'undeliverable', message = %(text)s
                 WHERE id = %(id)s AND state = 'pending' RETURNING id
                """,
                {"id": row_id, "text": message},
            )
            _logger.error("A ManyChat event cannot be put on its queue, and has failed: row %s.", row_id)
        self._commit_statement(
            """
            UPDATE manychat_event SET state = 'queued', queued_at = clock_timestamp() AT TIME ZONE 'UTC'
             WHERE id = ANY(%(sent)s) AND state = 'pending' RETURNING id
            """,
            {"sent": sent},
        )
        if failures:
            self._commit_statement(
                """
                UPDATE manychat_event SET claimed_until = NULL
                 WHERE id = ANY(%(unsent)s) AND state = 'pending' RETURNING id
                """,
                {"unsent": list(set(events.ids) - set(sent) - undeliverable.keys())},
            )
            _logger.warning(
                "ManyChat events wait, because the queue does not take them (%s). They are sent as soon as it does.",
                type(failures[0]).__name__,
            )
        return not failures

    def _commit_statement(self, statement, parameters):
        """Run and commit one statement on rows that the bridge may be completing at the same moment.

        :return list: the ids of the rows that it changed
        """
        while True:
            try:
                self.env.cr.execute(statement, parameters, log_exceptions=False)
                ids = [row[0] for row in self.env.cr.fetchall()]
                # The one place where the addon commits: what has been sent cannot be rolled back.
                self.env.cr.commit()  # pylint: disable=invalid-commit
                self.invalidate_model()
                return ids
            except psycopg2.errors.SerializationFailure:
                self.env.cr.rollback()  # a new snapshot sees what the other transaction did

    # ------------------------------------------------------------
    # What became of them
    # ------------------------------------------------------------

    @api.model
    def report(self, outcomes):
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
        if not self.env.user.has_group("miasalud_crm.group_bridge"):
            raise AccessError(self.env._("Only the ManyChat bridge may call this."))
        self = self.sudo()
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
                   discard_untold = FALSE
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

    def _adopt(self, envelope):
        """Make the row of an event that did not come through the webhook, if it is not there yet."""
        try:
            event = from_envelope(envelope)
        except ContractError:
            return  # of another version: the log has to do without it
        self._insert(event, "queued", key_name=None)

    # ------------------------------------------------------------
    # Keeping house
    # ------------------------------------------------------------

    @api.model
    def erase(self, manychat_id):
        """Forget what the log says of a person. For the group “ManyChat Bridge”, over RPC (``python -m bridge erase``).

        The rows stay, without the person: they keep the same events from being applied again. Events of theirs that
        were still waiting are given up.

        :param str manychat_id: whose
        :return dict: ``events`` and ``rejections``, how many were emptied and deleted; ``lead_ids``, the opportunities
            that are left for a person to decide on
        :raises AccessError: the caller is not in that group
        """
        if not self.env.user.has_group("miasalud_crm.group_bridge"):
            raise AccessError(self.env._("Only the ManyChat bridge may call this."))
        self = self.sudo()
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

    @api.autovacuum
    def _gc_events(self):
        """Forget events after the retention time, unless they wait for the queue or for somebody to mend something.

        Those on their queue go too: either their messages are long since worked off by a bridge that says nothing of
        it, being an older one, or nobody has missed them.
        """
        parameter = self.env["ir.config_parameter"].sudo().get_param(RETENTION_PARAMETER)
        days = int(parameter or DEFAULT_RETENTION_DAYS)
        limit = fields.Datetime.subtract(fields.Datetime.now(), days=days)
        self.search(
            [("received_at", "<", limit), ("state", "in", ["queued", "done", "discarded"])], limit=10_000, order="id"
        ).unlink()


def _one_outcome(outcome):
    """What :meth:`ManychatEvent.report` is told, as its statement takes it: the columns' own words and lengths."""
    outcomes = dict(ManychatEvent.outcome.selection)
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


def naive_utc(moment):
    """``moment`` as Odoo stores it: UTC without a time zone (to the microsecond)."""
    return moment.astimezone(timezone.utc).replace(tzinfo=None)

import json

from odoo import api, fields, models
from odoo.exceptions import UserError

from bridge.contract.payloads import EventType

from ..rights import managers_only

RETENTION_PARAMETER = "miasalud_crm.event_retention_days"
DEFAULT_RETENTION_DAYS = 90


class ManychatEvent(models.Model):
    """One row per event: outbox, log, and protection against applying an event twice.

    The webhook inserts the row. The relay puts the event on its queue. :meth:`crm.lead.manychat_apply` completes the
    row of an opportunity event; :meth:`record_outcomes`, which the bridge calls, completes the others. An event that
    reached its queue without the webhook gets its row there.
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
    attempt_count = fields.Integer(
        "Times Refused",
        readonly=True,
        default=0,
        aggregator=None,
        help="How often Odoo refused it since it was last sent on its way. The bridge gives up after some tries.",
    )
    # The bridge keeps a dead letter of it, which it closes when it hears of this; see manychat.bridge.heartbeat.
    discard_to_report = fields.Boolean(readonly=True)
    lead_id = fields.Many2one("crm.lead", "Opportunity", readonly=True, ondelete="set null", index="btree_not_null")
    stage_before_id = fields.Many2one("crm.stage", readonly=True, ondelete="set null")
    stage_after_id = fields.Many2one("crm.stage", readonly=True, ondelete="set null")
    alias_id = fields.Many2one(
        "manychat.stage.alias", "Unknown Stage", readonly=True, ondelete="set null", index="btree_not_null"
    )

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("type", "manychat_id")
    def _compute_display_name(self):
        types = dict(self._fields["type"]._description_selection(self.env))
        for event in self:
            event.display_name = f"{types.get(event.type)} · {event.manychat_id or self.env._('erased')}"

    @api.depends("state", "code", "message", "attempt_count")
    def _compute_reason(self):
        reasons = self._reasons()
        for event in self:
            reason = False
            if event.state in ("failed", "discarded"):
                reason = event.code and (reasons.get(event.code) or event.message or event.code)
            elif event.state == "queued" and event.code:
                reason = self.env._(
                    "Odoo did not accept it (tried %s times). The bridge tries it again by itself.", event.attempt_count
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
    # ORM
    # ------------------------------------------------------------

    def init(self):
        self.env.cr.execute(
            """
            CREATE UNIQUE INDEX IF NOT EXISTS manychat_event_event_id_unique ON manychat_event (event_id);
            CREATE INDEX IF NOT EXISTS manychat_event_pending ON manychat_event (id) WHERE state = 'pending';
            CREATE INDEX IF NOT EXISTS manychat_event_failed ON manychat_event (id) WHERE state = 'failed';
            CREATE INDEX IF NOT EXISTS manychat_event_discard_to_report ON manychat_event (id) WHERE discard_to_report
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

    # ------------------------------------------------------------
    # Actions
    # ------------------------------------------------------------

    @managers_only
    def action_retry(self):
        """Send failed events, and discarded ones, on their way again: a manager's second try.

        Also those that are said to be on their queue: should a message have got lost there, this is the way to replace
        it, and a second one does no harm.
        """
        events = self.filtered(lambda event: event.state in ("queued", "failed", "discarded") and event.sudo().payload)
        if not events:
            raise UserError(self.env._("None of these can be sent again: they are done, on their way, or erased."))
        events.sudo()._requeue()

    @managers_only
    def action_discard(self):
        """Give failed events up: they no longer wait for anything, here or in the bridge. *Retry* takes it back."""
        events = self.filtered(lambda event: event.state == "failed")
        if not events:
            raise UserError(self.env._("Only failed events can be discarded; none of these is one."))
        events.sudo().write({"state": "discarded", "alias_id": False})
        # What never reached the queue, the bridge knows nothing of.
        events.sudo().filtered(lambda event: event.code != "undeliverable").discard_to_report = True

    # ------------------------------------------------------------
    # Cron
    # ------------------------------------------------------------

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

import json

from odoo import api, fields, models
from odoo.tools import ormcache

from bridge.contract.outcomes import ErrorCode, EventOutcome, ReportedState
from bridge.contract.payloads import EventType

from .. import private_sql
from ..sentences import in_language, problems_in_language
from .manychat_setup import TEST_ID_PATTERN

RETENTION_PARAMETER = "miasalud_crm.event_retention_days"
DEFAULT_RETENTION_DAYS = 90


def retention_limit(env):
    """The moment before which what is finished is deleted."""
    parameter = env["ir.config_parameter"].sudo().get_param(RETENTION_PARAMETER)
    return fields.Datetime.subtract(fields.Datetime.now(), days=int(parameter or DEFAULT_RETENTION_DAYS))


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
        [(each.value, each.spec.label) for each in EventType],
        required=True,
        readonly=True,
    )
    manychat_id = fields.Char("ManyChat ID", readonly=True, index=True)
    state = fields.Selection(
        [
            ("pending", "Waiting for the Queue"),
            ("queued", "On the Queue"),
            (ReportedState.DONE.value, "Done"),
            (ReportedState.FAILED.value, "Failed"),
            (ReportedState.DISCARDED.value, "Discarded"),
            ("refused", "Refused"),
            ("corrected", "Corrected"),
        ],
        required=True,
        readonly=True,
        default="pending",
        help="Waiting for the Queue: Odoo has the event. On the Queue: the bridge will take it or try it again. Done: "
        "it is stored or has changed its opportunity. Failed: the bridge has given up, until a user fixes the cause "
        "and retries. Discarded: a user gave it up. Refused: the request broke the contract, and the bot got an error. "
        "Corrected: a user corrected the refused request and sent it as a new event.",
    )
    payload = fields.Json("Payload as JSON", readonly=True, groups="sales_team.group_sale_manager")
    payload_text = fields.Text("Payload", compute="_compute_payload_text", groups="sales_team.group_sale_manager")
    warnings = fields.Json("Warnings as JSON", readonly=True)
    warning_text = fields.Text(
        "Warnings",
        compute="_compute_warning_text",
        help="What was left out, cut or not understood in the request. The answer to the bot says the same.",
    )
    extra = fields.Json("Unknown Fields as JSON", readonly=True, groups="sales_team.group_sale_manager")
    extra_text = fields.Text(
        "Unknown Fields",
        compute="_compute_extra_text",
        groups="sales_team.group_sale_manager",
        help="Fields of the request that are not part of the contract, as they were sent. SQL keeps them too.",
    )
    source = fields.Char(readonly=True, help="Where the event was received: odoo, api, queue or cli.")
    # The index serves the retention, and the lists of a period.
    received_at = fields.Datetime(readonly=True, index=True)
    occurred_at = fields.Datetime(
        "Happened At", readonly=True, help="By the sender's clock; it decides which event is newer."
    )
    queued_at = fields.Datetime(readonly=True)
    applied_at = fields.Datetime(
        "Finished At", readonly=True, help="When the event was stored, moved its opportunity, failed or was discarded."
    )
    seconds = fields.Float(
        "Seconds to Finish",
        readonly=True,
        aggregator="avg",
        digits=(16, 1),
        help="From receipt until the event was stored or moved its opportunity.",
    )
    claimed_until = fields.Datetime(readonly=True)
    claimed_by = fields.Integer(readonly=True, aggregator=None, help="PostgreSQL's process of the relay that sends it.")
    # The name of the key, not a link: a foreign key would conflict with the update of “last used” on the key.
    key_name = fields.Char("Bot", readonly=True, groups="sales_team.group_sale_manager", help="The key that it sent.")
    key_prefix = fields.Char("Beginning of the Key", readonly=True)
    request = fields.Json(
        "Request as JSON",
        readonly=True,
        groups="sales_team.group_sale_manager",
        help="The request as it was sent: method, path, headers without the key, body.",
    )
    attempts = fields.Json("Attempts as JSON", readonly=True, help="Each attempt that failed: at, code, message.")

    outcome = fields.Selection(
        [
            (EventOutcome.CREATED.value, "Created"),
            (EventOutcome.MOVED.value, "Moved"),
            (EventOutcome.UPDATED.value, "Updated"),
            (EventOutcome.UNCHANGED.value, "Unchanged"),
            (EventOutcome.STALE.value, "Out of Date"),
            (EventOutcome.STORED.value, "Stored"),
            ("error", "Error"),
        ],
        readonly=True,
        help="Created, Moved, Updated, Unchanged: what the event did to its opportunity. Stored: contacts and "
        "campaigns are kept in Azure SQL only.",
    )
    code = fields.Char(readonly=True)
    message = fields.Char("Details as Stored", readonly=True)
    details = fields.Char(compute="_compute_details", help="What the bridge, the database or Odoo said.")
    problems = fields.Json("Problems as JSON", readonly=True)
    reason = fields.Char("Why", compute="_compute_reason", help="What is wrong, and how to fix it.")
    retries = fields.Integer(
        readonly=True,
        default=0,
        aggregator=None,
        help="How often a user, or a newly mapped stage, sent the event again.",
    )
    attempt_count = fields.Integer(
        "Times Refused",
        readonly=True,
        default=0,
        aggregator=None,
        help="How often Odoo refused the event since it was last put on the queue. The bridge gives up after some "
        "attempts.",
    )
    resends = fields.Integer(
        "Times Lost",
        readonly=True,
        default=0,
        aggregator=None,
        help="How often Odoo sent the event again because the queue had lost it.",
    )
    # The bridge keeps a dead letter of the event. It closes it when a heartbeat's answer names the event.
    discard_to_report = fields.Boolean("Discard to Report", readonly=True)
    lead_id = fields.Many2one("crm.lead", "Opportunity", readonly=True, ondelete="set null", index="btree_not_null")
    migration_id = fields.Many2one("manychat.migration", readonly=True, ondelete="set null", index="btree_not_null")
    stage_before_id = fields.Many2one("crm.stage", readonly=True, ondelete="set null")
    stage_after_id = fields.Many2one("crm.stage", readonly=True, ondelete="set null")
    alias_id = fields.Many2one(
        "manychat.stage.alias", "Unknown Stage", readonly=True, ondelete="set null", index="btree_not_null"
    )

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("type", "manychat_id", "event_id")
    def _compute_display_name(self):
        types = dict(self._fields["type"]._description_selection(self.env))
        for event in self:
            # Not inside the f-string, where the collector of terms finds it from Python 3.12 on only.
            # A refused request may name no person.
            person = event.manychat_id or ("" if event._is_refusal() else self.env._("erased"))
            event.display_name = " · ".join(filter(None, [types.get(event.type), person]))

    @api.depends("message")
    @api.depends_context("lang")
    def _compute_details(self):
        for event in self:
            event.details = in_language(self.env, event.message)

    @api.depends("state", "code", "details", "attempt_count")
    @api.depends_context("lang")
    def _compute_reason(self):
        reasons = self._reasons()
        for event in self:
            reason = False
            if event.state in ("failed", "discarded"):
                reason = event.code and (reasons.get(event.code) or event.details or event.code)
            elif event.state == "queued" and event.code:
                reason = self.env._(
                    "Odoo did not accept it (attempts: %s). The bridge tries again by itself.", event.attempt_count
                )
            elif event.state in ("refused", "corrected"):
                reason = event.details
            event.reason = reason

    def _reasons(self):
        """For each error code: what is wrong, and how to fix it."""
        return {
            ErrorCode.UNMAPPED_STAGE: self.env._(
                "Its ManyChat stage is not mapped to a pipeline stage. Choose its stage under Stage Aliases; the event "
                "then continues by itself."
            ),
            ErrorCode.INVALID: self.env._(
                "It breaks a rule of the contract. Correct the External Request in ManyChat."
            ),
            ErrorCode.REFUSED: self.env._(
                "Odoo did not accept it. Fix the cause shown in the details, then press Retry."
            ),
            ErrorCode.SQL_REFUSED: self.env._(
                "Azure SQL did not accept it. Ask your administrator to fix the cause shown in the details, then press "
                "Retry."
            ),
            ErrorCode.WRONG_QUEUE: self.env._(
                "The event was on the wrong queue. Press Retry to put it on the right one."
            ),
            ErrorCode.CRASHED: self.env._(
                "The bridge stopped each time it tried this event. Press Retry. If it fails again, tell your "
                "administrator."
            ),
            ErrorCode.FAILED: self.env._(
                "The bridge had an internal error. Send the details to your administrator, then press Retry."
            ),
            ErrorCode.UNDELIVERABLE: self.env._(
                "It cannot go to the queue. If it is too long, make the conversation send less text. Discard it: the "
                "details say what is wrong."
            ),
            ErrorCode.ERASED: self.env._("The person's data was erased, so the event can no longer be applied."),
        }

    @api.depends("payload")
    def _compute_payload_text(self):
        for event in self:
            event.payload_text = json.dumps(event.payload, indent=2, ensure_ascii=False)

    @api.depends("warnings")
    @api.depends_context("lang")
    def _compute_warning_text(self):
        for event in self:
            warnings = problems_in_language(self.env, event.warnings)
            lines = (f"{each['field']}: {each['message']}".removeprefix(": ") for each in warnings)
            event.warning_text = "\n".join(lines) or False

    @api.depends("extra")
    def _compute_extra_text(self):
        for event in self:
            event.extra_text = event.extra and json.dumps(event.extra, indent=2, ensure_ascii=False)

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    def init(self):
        private_sql.make_functions(self.env.cr)
        self.env.cr.execute(
            """
            CREATE UNIQUE INDEX IF NOT EXISTS manychat_event_event_id_unique ON manychat_event (event_id);
            CREATE INDEX IF NOT EXISTS manychat_event_pending ON manychat_event (id) WHERE state = 'pending';
            CREATE INDEX IF NOT EXISTS manychat_event_queued
                ON manychat_event (COALESCE(queued_at, create_date)) WHERE state = 'queued';
            CREATE INDEX IF NOT EXISTS manychat_event_failed ON manychat_event (id) WHERE state = 'failed';
            -- What a bot sent today, and its latest event.
            CREATE INDEX IF NOT EXISTS manychat_event_key ON manychat_event (key_prefix, received_at)
                WHERE key_prefix IS NOT NULL;
            CREATE INDEX IF NOT EXISTS manychat_event_standby ON manychat_event (received_at) WHERE source = 'api';
            CREATE INDEX IF NOT EXISTS manychat_event_discard_to_report ON manychat_event (id) WHERE discard_to_report;
            -- For questions about both: neither of the two indices above serves them.
            CREATE INDEX IF NOT EXISTS manychat_event_on_their_way ON manychat_event (id)
                WHERE state IN ('pending', 'queued');
            -- For filters that find few rows: without these, they read the log of a year.
            CREATE INDEX IF NOT EXISTS manychat_event_needs_attention ON manychat_event (id)
                WHERE state IN ('failed', 'refused');
            CREATE INDEX IF NOT EXISTS manychat_event_refused ON manychat_event (id) WHERE state = 'refused';
            CREATE INDEX IF NOT EXISTS manychat_event_corrected ON manychat_event (id) WHERE state = 'corrected';
            CREATE INDEX IF NOT EXISTS manychat_event_discarded ON manychat_event (id) WHERE state = 'discarded';
            CREATE INDEX IF NOT EXISTS manychat_event_warnings ON manychat_event (id) WHERE warnings IS NOT NULL;
            CREATE INDEX IF NOT EXISTS manychat_event_extra ON manychat_event (id) WHERE extra IS NOT NULL
            """
        )
        # The people of test events.
        self.env.cr.execute(
            "CREATE INDEX IF NOT EXISTS manychat_event_test ON manychat_event (id) WHERE manychat_id LIKE %s",
            [TEST_ID_PATTERN],
        )
        self._generate_seconds()

    def _generate_seconds(self):
        """Make ``seconds`` a generated column: several statements complete rows, and PostgreSQL computes it for all.

        The column has the type that Odoo gives such a field. Odoo would convert any other type, and PostgreSQL refuses
        to convert a generated column.
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
    # Business
    # ------------------------------------------------------------

    @api.model
    @ormcache("label", "of_model", "written_in", "language")
    def _label_in_language(self, label, of_model, written_in, language):
        """The label of a field, or the name of a model, in another language; ``label`` itself if it is none."""
        model, name = ("ir.model", "name") if of_model else ("ir.model.fields", "field_description")
        records = self.env[model].sudo().with_context(lang=written_in).search([(name, "=", label)])
        of_opportunity = records.filtered(lambda record: record.model == "crm.lead")
        return (of_opportunity or records)[:1].with_context(lang=language)[name] or label

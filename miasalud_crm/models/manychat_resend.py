"""Many deliveries sent again: counted first, at a rate, with progress and a result; it can be stopped."""

import logging
from datetime import timedelta

import psycopg2
from markupsafe import Markup

from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError

from bridge.contract.outcomes import ErrorCode
from bridge.contract.webhook import WebhookError

from ..private_sql import failure, private
from ..rights import managers_only
from .manychat_event import retention_limit

_logger = logging.getLogger(__name__)

#: Events a minute by default: the bridge applies them beside the live traffic without a delay that a person sees.
DEFAULT_RATE = 300
HIGHEST_RATE = 6000
_TABLE = Markup('<table class="table table-sm mb-0 o_manychat_summary"><tbody>%s</tbody></table>')
_ROW = Markup('<tr data-part="%s"><td class="text-end fw-bold">%s</td><td>%s</td><td>%s</td><td>%s</td></tr>')


class ManychatResend(models.Model):
    _name = "manychat.resend"
    _description = "ManyChat Bulk Sending"
    _order = "id desc"

    state = fields.Selection(
        [("draft", "To Confirm"), ("running", "Running"), ("stopped", "Stopped"), ("done", "Finished")],
        required=True,
        readonly=True,
        default="draft",
    )
    rate = fields.Integer(
        "Per Minute",
        required=True,
        default=DEFAULT_RATE,
        aggregator=None,
        help="How many deliveries are sent each minute, so that they do not delay what the bots send now.",
    )
    started_at = fields.Datetime(readonly=True)
    ended_at = fields.Datetime(readonly=True)
    sent_until = fields.Datetime(readonly=True, help="The deliveries that were due by then are sent.")
    line_ids = fields.One2many("manychat.resend.line", "resend_id", readonly=True)
    summary = fields.Html("What Is Sent", compute="_compute_counts", sanitize=False)
    to_send_count = fields.Integer("To Send", compute="_compute_counts")
    sent_count = fields.Integer("Sent", compute="_compute_counts")
    left_out_count = fields.Integer("Left Out", compute="_compute_counts")
    succeeded_count = fields.Integer("Succeeded", compute="_compute_counts")
    on_its_way_count = fields.Integer("On Their Way", compute="_compute_counts")
    failed_count = fields.Integer("Failed Again", compute="_compute_counts")
    progress = fields.Integer(compute="_compute_counts")

    # ------------------------------------------------------------
    # Constraints
    # ------------------------------------------------------------

    @api.constrains("rate")
    def _check_rate(self):
        for resend in self:
            if not 1 <= resend.rate <= HIGHEST_RATE:
                raise ValidationError(self.env._("Send between 1 and %s deliveries a minute.", HIGHEST_RATE))

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("create_date", "create_uid")
    def _compute_display_name(self):
        for resend in self:
            begun = fields.Datetime.context_timestamp(resend, resend.create_date or fields.Datetime.now())
            resend.display_name = f"{begun:%Y-%m-%d %H:%M} · {resend.create_uid.name}"

    @api.depends("line_ids.state")
    @api.depends_context("lang")
    def _compute_counts(self):
        """One statement counts the lines of all records, one the state of what they have sent."""
        Line = self.env["manychat.resend.line"].sudo()
        groups = Line._read_group(
            [("resend_id", "in", self.ids)],
            ["resend_id", "state", "reason", "state_before", "code_before"],
            ["__count"],
        )
        ended = Line._states_of_sent(self.ids)
        for resend in self:
            own = [group[1:] for group in groups if group[0] == resend]
            count = {
                state: sum(each[-1] for each in own if each[0] == state) for state in ("waiting", "sent", "left_out")
            }
            resend.to_send_count = count["waiting"] + count["sent"]
            resend.sent_count, resend.left_out_count = count["sent"], count["left_out"]
            resend.progress = round(100 * count["sent"] / resend.to_send_count) if resend.to_send_count else 100
            states = ended.get(resend.id, {})
            resend.succeeded_count = states.get("done", 0)
            resend.on_its_way_count = states.get("pending", 0) + states.get("queued", 0)
            resend.failed_count = states.get("failed", 0) + states.get("discarded", 0)
            resend.summary = resend._summary(own)

    def _summary(self, groups):
        """How many deliveries of which state and code are sent or left out, and why, as a table."""
        Line, Event = self.env["manychat.resend.line"], self.env["manychat.event"]
        states = dict(Event._fields["state"]._description_selection(self.env))
        reasons = dict(Line._fields["reason"]._description_selection(self.env))
        rows = [
            {
                "part": "left_out" if state == "left_out" else "send",
                "what": " · ".join(filter(None, [states.get(before), code])),
                "why": reasons.get(reason, "") if state == "left_out" else "",
                "count": count,
            }
            for state, reason, before, code, count in groups
        ]
        merged = {}
        for row in rows:  # what is sent and what still waits are one row
            known = merged.setdefault((row["part"], row["what"], row["why"]), {**row, "count": 0})
            known["count"] += row["count"]
        in_order = sorted(merged.values(), key=lambda row: (row["part"] == "left_out", -row["count"], row["what"]))
        parts = {"send": self.env._("Sent"), "left_out": self.env._("Left out")}
        return _TABLE % Markup().join(
            _ROW % (row["part"], row["count"], parts[row["part"]], row["what"], row["why"]) for row in in_order
        )

    # ------------------------------------------------------------
    # Actions
    # ------------------------------------------------------------

    @managers_only
    def action_start(self):
        """Begin to send, or go on after a stop."""
        self.ensure_one()
        if self.state not in ("draft", "stopped"):
            raise UserError(self.env._("This sending has begun already."))
        if self.to_send_count <= self.sent_count:
            raise UserError(self.env._("None of these deliveries can be sent. The list says why."))
        now = fields.Datetime.now()
        values = {"state": "running", "started_at": self.started_at or now, "sent_until": now, "ended_at": False}
        self.sudo().write(values)
        # The first portion goes at once.
        self.sudo()._send_portion(now)
        return self._open_form()

    @managers_only
    def action_stop(self):
        """Send no more. What was sent goes on; *Continue* sends the rest."""
        if running := self.filtered(lambda resend: resend.state == "running"):
            running.sudo().write({"state": "stopped", "ended_at": fields.Datetime.now()})

    @managers_only
    def action_view_failed(self):
        """The deliveries that failed again."""
        return self._view_events([("state", "in", ("failed", "discarded"))])

    @managers_only
    def action_view_sent(self):
        """The events that were sent."""
        return self._view_events([])

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @api.model
    def _prepare(self, events):
        """The draft that sends ``events``: each with a line that says whether it goes, and why not."""
        verdicts = events.sudo()._resend_verdicts()
        resend = self.sudo().create({})
        self.env["manychat.resend.line"].sudo().create(
            [
                {
                    "resend_id": resend.id,
                    "event_id": event.id,
                    "state": "left_out" if verdicts[event] else "waiting",
                    "reason": verdicts[event],
                    "state_before": event.state,
                    "code_before": event.code,
                }
                for event in events.sudo().sorted("id")  # oldest first, as they happened
            ]
        )
        return resend.sudo(False)

    def _send_portion(self, until):
        """Send what is due by ``until``; at most what one minute allows, however long no portion was sent."""
        self.ensure_one()
        minutes = min(max((until - self.sent_until).total_seconds() / 60, 0), 1)
        # The first portion is a minute's, so that few deliveries go at once.
        size = self.rate if until == self.sent_until else int(self.rate * minutes)
        if size:
            self.sent_until = until
        lines = self.env["manychat.resend.line"].search(
            [("resend_id", "=", self.id), ("state", "=", "waiting")], order="id", limit=size
        )
        lines._send()
        left = self.env["manychat.resend.line"].search_count(
            [("resend_id", "=", self.id), ("state", "=", "waiting")], limit=1
        )
        if not left:
            self.write({"state": "done", "ended_at": fields.Datetime.now()})
            text = self.env._("All deliveries are sent: %s.", self.sent_count)
            self.create_uid._bus_send("simple_notification", {"type": "success", "message": text})

    def _view_events(self, domain):
        events = self.line_ids.filtered(lambda line: line.state == "sent").sent_event_id.filtered_domain(domain)
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Deliveries"),
            "res_model": "manychat.event",
            "views": [(False, "list"), (False, "kanban"), (False, "form")],
            "domain": [("id", "in", events.ids)],
        }

    def _open_form(self):
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Bulk Sending"),
            "res_model": self._name,
            "res_id": self.id,
            "views": [(False, "form")],
        }

    # ------------------------------------------------------------
    # Cron
    # ------------------------------------------------------------

    @api.model
    def _cron_resend(self):
        """Send the next portion of each running sending. Never raises: Odoo deactivates a job that keeps failing."""
        for resend in self.search([("state", "=", "running")], order="id"):
            try:
                with private(self.env.cr):
                    resend._send_portion(fields.Datetime.now())
                    self.env.flush_all()
                self.env.cr.commit()  # pylint: disable=invalid-commit
            except psycopg2.errors.SerializationFailure:
                self.env.cr.rollback()  # a user has stopped it, or changes one of the deliveries; again in a minute
            except Exception as error:
                self.env.cr.rollback()
                _logger.error("Deliveries could not be sent again; it is tried in a minute: %s", failure(error))

    @api.autovacuum
    def _gc_resends(self):
        """Delete what is over: drafts after a day, the others after the retention time."""
        day_ago = fields.Datetime.now() - timedelta(days=1)
        self.search([("state", "=", "draft"), ("create_date", "<", day_ago)]).unlink()
        self.search([("state", "=", "done"), ("create_date", "<", retention_limit(self.env))]).unlink()


class ManychatResendLine(models.Model):
    _name = "manychat.resend.line"
    _description = "Delivery of a ManyChat Bulk Sending"
    _order = "id"

    resend_id = fields.Many2one("manychat.resend", required=True, readonly=True, index=True, ondelete="cascade")
    event_id = fields.Many2one("manychat.event", readonly=True, index=True, ondelete="cascade")
    sent_event_id = fields.Many2one("manychat.event", readonly=True, index="btree_not_null", ondelete="set null")
    state = fields.Selection(
        [("waiting", "Waiting"), ("sent", "Sent"), ("left_out", "Left Out")], required=True, readonly=True
    )
    reason = fields.Selection(
        [
            ("done", "It is done already"),
            ("on_its_way", "It is on its way already"),
            ("erased", "The person's data was erased"),
            ("unmapped", "Its stage is not mapped yet"),
            ("refused", "It still breaks the contract: correct it"),
            ("corrected", "It was corrected and sent already"),
            ("discarded", "It was discarded: reopen it first"),
            ("error", "Odoo could not send it"),
        ],
        readonly=True,
    )
    state_before = fields.Char(readonly=True)
    code_before = fields.Char(readonly=True)

    @api.model
    def _states_of_sent(self, resend_ids):
        """How many of the sent events have which state: dict of sending → dict of state → count."""
        self.env["manychat.event"].flush_model(["state"])
        self.flush_model()
        self.env.cr.execute(
            """
            SELECT line.resend_id, event.state, count(*)
              FROM manychat_resend_line line JOIN manychat_event event ON event.id = line.sent_event_id
             WHERE line.resend_id = ANY(%s) AND line.state = 'sent'
             GROUP BY 1, 2
            """,
            [list(resend_ids)],
        )
        states = {}
        for resend_id, state, count in self.env.cr.fetchall():
            states.setdefault(resend_id, {})[state] = count
        return states

    def _send(self):
        """Send these lines' deliveries. One that cannot go is left out, and does not hold up the others."""
        # In the name of the user who began it, not of the job's user.
        self = self.with_user(self.resend_id.create_uid or self.env.user).sudo()
        verdicts = self.event_id._resend_verdicts()
        for reason in set(verdicts.values()) - {False}:
            refused = self.filtered(lambda line, reason=reason: verdicts[line.event_id] == reason)
            refused.write({"state": "left_out", "reason": reason})
        ready = self.filtered(lambda line: not verdicts[line.event_id])
        events = ready.filtered(lambda line: not line.event_id._is_refusal())
        events.event_id._requeue()
        for line in events:
            line.write({"state": "sent", "sent_event_id": line.event_id.id})
        for line in ready - events:
            try:
                with self.env.cr.savepoint():
                    sent = line.event_id._send_corrected(line.event_id.request["body"])
                line.write({"state": "sent", "sent_event_id": sent.id})
            except (UserError, WebhookError):
                line.write({"state": "left_out", "reason": "refused"})


class ManychatEvent(models.Model):
    _inherit = "manychat.event"  # pylint: disable=consider-merging-classes-inherited

    def _resend_verdicts(self):
        """For each delivery why it cannot be sent again; ``False`` if it can."""
        resolve = self.env["manychat.stage.map"]._resolver()
        return {event: event._resend_verdict(resolve) for event in self}

    def _resend_verdict(self, resolve):
        if self.state in ("done", "corrected"):
            return self.state
        if self.state in ("pending", "queued"):
            return "on_its_way"
        if self._is_refusal():
            if self.state == "discarded":
                return "discarded"
            return "refused" if self._refusal_today() else False
        if not self.payload:
            return "erased"
        state = self.payload.get("state") if isinstance(self.payload, dict) else None
        if self.code == ErrorCode.UNMAPPED_STAGE and isinstance(state, dict):
            return False if resolve(state.get("stage_id"), state.get("stage")) else "unmapped"
        return False

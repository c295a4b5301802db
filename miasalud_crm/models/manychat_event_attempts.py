"""What happened to an event on its way: each attempt that failed, who sent it again, and the next try."""

from datetime import datetime, timezone

from markupsafe import Markup

from odoo import api, fields, models
from odoo.tools import format_datetime

from bridge.contract.agreements import retry_within
from bridge.contract.outcomes import ErrorCode

from ..moments import from_iso, naive_utc
from ..sentences import in_language

#: Entries kept of one event: the newest.
KEPT = 50
#: Codes of entries that are no failure: what Odoo or a user did.
LOST, RETRIED, MAPPED, DISCARDED, REOPENED, CORRECTED, GIVEN_UP = (
    "lost",
    "retried",
    "mapped",
    "discarded",
    "reopened",
    "corrected",
    "given_up",
)
#: How the timeline shows an entry that is no failure.
_KINDS = {LOST: "warning", RETRIED: "info", MAPPED: "info", DISCARDED: "muted", REOPENED: "info", CORRECTED: "info"}
_ICONS = {
    "danger": "fa-times-circle text-danger",
    "warning": "fa-exclamation-triangle text-warning",
    "info": "fa-circle-o",
    "muted": "fa-ban",
    "success": "fa-check-circle text-success",
    "next": "fa-clock-o",
}


def moment(naive):
    """``naive`` (UTC) as entries have it: ISO 8601 in UTC, to the millisecond, so that they sort as text."""
    return f"{naive.isoformat(timespec='milliseconds')}Z" if naive else False


def now():
    """The present moment as entries have it. Not Odoo's, which is that of the second: several happen in one."""
    return moment(naive_utc(datetime.now(timezone.utc)))


class ManychatEvent(models.Model):
    _inherit = "manychat.event"  # pylint: disable=consider-merging-classes-inherited

    next_try_at = fields.Datetime(
        "Next Try",
        compute="_compute_next_try_at",
        help="The bridge tries the event again by then. If no bridge runs, as soon as one does.",
    )
    timeline = fields.Html(
        "What Happened",
        compute="_compute_timeline",
        sanitize=False,
        help="What happened to the delivery, oldest first: each attempt that failed, and who sent it again.",
    )

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("state", "attempt_count", "attempts")
    def _compute_next_try_at(self):
        for event in self:
            refused = [each for each in event.attempts or () if each.get("code") == ErrorCode.REFUSED]
            is_retried = event.state == "queued" and event.attempt_count and refused
            event.next_try_at = is_retried and from_iso(refused[-1]["at"]) + retry_within(event.attempt_count)

    @api.depends("attempts", "state", "received_at", "queued_at", "applied_at", "outcome", "next_try_at")
    @api.depends_context("lang", "tz")
    def _compute_timeline(self):
        titles = self._attempt_titles()
        for event in self:
            entries = [(moment(event.received_at), "info", *event._received_entry())]
            if event.queued_at:
                entries.append((moment(event.queued_at), "info", self.env._("Put on the queue"), ""))
            entries += [
                (
                    each["at"],
                    _KINDS.get(code, "danger"),
                    event._attempt_title(titles, each),
                    in_language(self.env, each.get("message")) or "",
                )
                for each in event.attempts or ()
                for code in [each.get("code")]
            ]
            if event.state == "done":
                entries.append((moment(event.applied_at), "success", *event._done_entry()))
            in_order = sorted(entries, key=lambda entry: entry[0] or "")
            if event.next_try_at:
                text = self.env._("At the latest, if a bridge runs.")
                in_order.append((moment(event.next_try_at), "next", self.env._("Next try"), text))
            event.timeline = Markup('<ul class="list-unstyled mb-0 o_manychat_timeline">%s</ul>') % Markup().join(
                event._timeline_item(*entry) for entry in in_order
            )

    def _timeline_item(self, at, kind, title, text):
        """One entry as HTML: it is read by people only."""
        moment_text = at and format_datetime(self.env, from_iso(at))
        icon = Markup('<i class="fa fa-fw %s me-2 mt-1" aria-hidden="true"></i>') % _ICONS[kind]
        words = Markup('<div class="text-break">%s</div>') % text if text else ""
        return Markup(
            '<li class="d-flex mb-2" data-kind="%s">%s<div><span class="me-2">%s</span><b>%s</b>%s</div></li>'
        ) % (
            kind,
            icon,
            moment_text or "",
            title,
            words,
        )

    def _received_entry(self):
        if self.state in ("refused", "corrected"):
            return self.env._("Received and refused"), self.details or ""
        if self.source == "odoo":
            return self.env._("Received and accepted"), ""
        return self.env._("Received"), ""

    def _done_entry(self):
        outcome = dict(self._fields["outcome"]._description_selection(self.env)).get(self.outcome, "")
        if self.stage_after_id and self.stage_before_id != self.stage_after_id:
            return outcome, f"{self.stage_before_id.name or '–'} → {self.stage_after_id.name}"
        return outcome, self.stage_after_id.name or ""

    @api.model
    def _attempt_titles(self):
        return {
            ErrorCode.REFUSED: self.env._("Odoo did not accept it"),
            ErrorCode.UNMAPPED_STAGE: self.env._("Its stage was not mapped"),
            ErrorCode.SQL_REFUSED: self.env._("Azure SQL did not accept it"),
            ErrorCode.INVALID: self.env._("It broke a rule of the contract"),
            ErrorCode.WRONG_QUEUE: self.env._("It was on the wrong queue"),
            ErrorCode.CRASHED: self.env._("The bridge stopped while it tried it"),
            ErrorCode.FAILED: self.env._("The bridge had an internal error"),
            ErrorCode.UNDELIVERABLE: self.env._("The queue could not take it"),
            ErrorCode.ERASED: self.env._("The person was erased"),
            GIVEN_UP: self.env._("The bridge gave up"),
            LOST: self.env._("The queue lost it, and Odoo sent it again"),
            RETRIED: self.env._("Sent again"),
            MAPPED: self.env._("Its stage was mapped, and Odoo sent it again"),
            DISCARDED: self.env._("Discarded"),
            REOPENED: self.env._("Taken back from the discarded ones"),
            CORRECTED: self.env._("Corrected and sent as a new event"),
        }

    @api.model
    def _attempt_title(self, titles, entry):
        title = titles.get(entry.get("code")) or entry.get("code") or ""
        return f"{title} ({entry['by']})" if entry.get("by") else title

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    def _with_attempt(self, code, message=False, by_user=False):
        """The value of ``attempts`` with one entry more.

        :param str code: an :class:`ErrorCode`, or one of the codes above
        :param str message: why it failed
        :param bool by_user: whether the present user did it
        """
        self.ensure_one()
        entry = {"at": now(), "code": str(code)}
        if message:
            entry["message"] = message
        if by_user and not self.env.user._is_superuser():
            entry["by"] = self.env.user.name
        return [*(self.attempts or []), entry][-KEPT:]

import logging
from datetime import timedelta

from odoo import api, fields, models

_logger = logging.getLogger(__name__)

RECEIVER_PARAMETER = "miasalud_crm.alert_user_id"
SILENT_PARAMETER = "miasalud_crm.bridge_silent_minutes"
#: A bridge gives a sign of life every half minute; a restart takes less than this.
DEFAULT_SILENT_MINUTES = 10
#: Events are on their queue in less than a second; after this long somebody should look.
STUCK_AFTER = timedelta(minutes=5)
ACTIVITY = "mail.mail_activity_data_warning"


class ManychatAlert(models.Model):
    """A kind of trouble that a person should hear of, and whether it is there now.

    One row per kind, so that there is one activity per kind: it is brought up to date while the trouble lasts, and
    marked done when it is over. The row's chatter keeps when that was.
    """

    _name = "manychat.alert"
    _description = "ManyChat Alert"
    _inherit = ["mail.thread", "mail.activity.mixin"]
    _order = "id"

    kind = fields.Selection(
        [("failed", "Failed Events"), ("silent", "Silent Bridge"), ("stuck", "Events Not Reaching the Queue")],
        required=True,
        readonly=True,
    )
    since = fields.Datetime(readonly=True, help="When the trouble was noticed; empty when there is none.")
    count = fields.Integer("Events", readonly=True, aggregator=None, help="How many events are concerned.")

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("kind")
    @api.depends_context("lang")
    def _compute_display_name(self):
        kinds = dict(self._fields["kind"]._description_selection(self.env))
        for alert in self:
            alert.display_name = f"ManyChat: {kinds.get(alert.kind)}"

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    def init(self):
        self.env.cr.execute("CREATE UNIQUE INDEX IF NOT EXISTS manychat_alert_kind_unique ON manychat_alert (kind)")

    # ------------------------------------------------------------
    # Actions
    # ------------------------------------------------------------

    def action_view_events(self):
        """The events that the alert is about."""
        self.ensure_one()
        action = self.env["ir.actions.act_window"]._for_xml_id("miasalud_crm.manychat_event_action")
        search = {"failed": "search_default_failed", "stuck": "search_default_waiting"}.get(self.kind)
        return {**action, "context": {search or "search_default_on_the_queue": 1}}

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @api.model
    def _note(self, kind, found, count):
        """Open, update or close the alert of ``kind``.

        :param bool found: whether the trouble is there
        :param int count: events concerned
        """
        alert = self.search([("kind", "=", kind)])
        if not found:
            if alert.since:
                alert.write({"since": False, "count": 0})
                alert._activity().action_feedback(feedback=alert._in_receivers_language().env._("It is over."))
            return
        alert = alert or self.create({"kind": kind})
        activity = alert._activity()
        # Marked done by a person while the trouble lasts: they know. They hear of it again when it has grown.
        if not alert.since or (not activity and count > alert.count):
            alert._open_activity(count)
        elif activity and count != alert.count:
            activity.write(alert._in_receivers_language()._activity_values(count))
        alert.write({"since": alert.since or fields.Datetime.now(), "count": count})

    def _activity(self):
        """The alert's open activity, whoever has it by now."""
        return self.activity_ids.filtered(lambda activity: activity.activity_type_id == self.env.ref(ACTIVITY))

    def _open_activity(self, count):
        receiver = self._receiver()
        if not receiver:
            _logger.warning("A ManyChat alert (%s) has no receiver: choose one in the CRM settings.", self.kind)
            return
        values = self._in_receivers_language()._activity_values(count)
        self.activity_schedule(ACTIVITY, user_id=receiver.id, **values)

    def _activity_values(self, count):
        """Summary and note of the activity, in the language of the context."""
        if self.kind == "failed":
            summary = self.env._("ManyChat: %s events failed", count)
            note = self.env._(
                "Open this alert, press See Events, and read why each one failed. Mend that and press Retry, or "
                "Discard what nobody needs."
            )
        elif self.kind == "silent":
            summary = self.env._("ManyChat: the bridge is silent; %s events wait for it", count)
            note = self.env._(
                "No bridge has been heard of for a while, so opportunities do not move. Have your administrator start "
                "it. Nothing is lost: the events go through as soon as it runs."
            )
        else:
            summary = self.env._("ManyChat: %s events do not reach the queue", count)
            note = self.env._(
                "Odoo cannot put them on the Azure queue. Have your administrator check the queue connection. Nothing "
                "is lost: they go as soon as the queue takes them."
            )
        return {"summary": summary, "note": note}

    @api.model
    def _receiver(self):
        """Who hears of trouble: the user whom the settings name, else a sales team's leader, else an administrator."""
        Users = self.env["res.users"].sudo()
        chosen = self.env["ir.config_parameter"].sudo().get_param(RECEIVER_PARAMETER)
        receiver = Users.browse(int(chosen)).exists() if chosen else Users
        if not receiver.active:
            receiver = self.env["crm.team"].search([("user_id.active", "=", True)], limit=1).user_id
        if not receiver:
            administrators = self.env.ref("base.group_system")
            users = administrators.users if "users" in administrators._fields else administrators.all_user_ids
            receiver = (users.filtered("active") - self.env.ref("base.user_root")).sorted("id")[:1]
        return receiver

    def _in_receivers_language(self):
        return self.with_context(lang=self._receiver().lang or self.env.lang)

    # ------------------------------------------------------------
    # Cron
    # ------------------------------------------------------------

    @api.model
    def _cron_check(self):
        """Look for trouble. Never raises: Odoo deactivates a job that keeps failing."""
        for kind, find in (
            ("failed", self._find_failed),
            ("silent", self._find_silent),
            ("stuck", self._find_stuck),
        ):
            try:
                with self.env.cr.savepoint():
                    found, count = find()
                    self._note(kind, found, count)
            except Exception:
                _logger.exception("Looking for ManyChat alerts (%s) failed; it is tried again in a minute.", kind)

    def _find_failed(self):
        count = self.env["manychat.event"].search_count([("state", "=", "failed")])
        return bool(count), count

    def _find_silent(self):
        parameter = self.env["ir.config_parameter"].sudo().get_param(SILENT_PARAMETER)
        minutes = int(parameter or DEFAULT_SILENT_MINUTES)
        if minutes <= 0:
            return False, 0
        limit = fields.Datetime.now() - timedelta(minutes=minutes)
        Event = self.env["manychat.event"]
        waiting = Event.search_count([("state", "=", "queued"), ("received_at", "<", limit)])
        newest = self.env["manychat.bridge"].search([], limit=1)
        # One that has never run is missed only once there is something for it to do.
        return (newest.last_seen < limit if newest else bool(waiting)), waiting

    def _find_stuck(self):
        limit = fields.Datetime.now() - STUCK_AFTER
        count = self.env["manychat.event"].search_count([("state", "=", "pending"), ("received_at", "<", limit)])
        return bool(count), count

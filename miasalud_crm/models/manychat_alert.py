import logging
from datetime import timedelta

import psycopg2

from odoo import api, fields, models

from bridge.contract.agreements import STUCK_AFTER

from ..private_sql import failure, private
from ..rights import access_required

_logger = logging.getLogger(__name__)

RECEIVER_PARAMETER = "miasalud_crm.alert_user_id"
SILENT_PARAMETER = "miasalud_crm.bridge_silent_minutes"
#: Default time until a silent bridge becomes an alert. A restart of the bridge takes less.
DEFAULT_SILENT_MINUTES = 10
ACTIVITY = "mail.mail_activity_data_warning"


class ManychatAlert(models.Model):
    """A kind of problem that needs a user, and whether it exists now.

    One row per kind, and so one activity per kind: it is updated while the problem lasts, and marked done when the
    problem is over. The row's chatter keeps the dates.
    """

    _name = "manychat.alert"
    _description = "ManyChat Alert"
    _inherit = ["mail.thread", "mail.activity.mixin"]
    _order = "id"

    kind = fields.Selection(
        [
            ("failed", "Failed Events"),
            ("silent", "Silent Bridge"),
            ("stuck", "Events Not Reaching the Queue"),
            ("lost", "Events Lost by the Queue"),
            ("jobs", "Scheduled Actions Stopped"),
        ],
        required=True,
        readonly=True,
    )
    since = fields.Datetime(readonly=True, help="When the problem was noticed. Empty if there is none.")
    count = fields.Integer("Affected", readonly=True, aggregator=None, help="How many events or keys are affected.")

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

    @access_required("read")
    def action_view_events(self):
        """The events that the alert is about."""
        self.ensure_one()
        action = self.env["ir.actions.act_window"]._for_xml_id("miasalud_crm.manychat_event_action")
        search = {"failed": "failed", "stuck": "waiting", "lost": "lost"}.get(self.kind, "on_the_queue")
        return {**action, "context": {f"search_default_{search}": 1}}

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @api.model
    def _update_alert(self, kind, found, count):
        """Open, update or close the alert of ``kind``.

        :param bool found: whether the problem exists
        :param int count: affected events
        """
        alert = self.search([("kind", "=", kind)])
        if not found:
            if alert.since:
                alert._close(alert._in_receivers_language().env._("It is over."))
            return alert
        alert = alert or self.create({"kind": kind})
        activity = alert._activity()
        # A user marked the activity as done while the problem lasts: they know it. Remind them only when it grows.
        if not alert.since or (not activity and count > alert.count):
            alert._open_activity(count)
        elif activity and count != alert.count:
            activity.write(alert._in_receivers_language()._activity_values(count))
        alert.write({"since": alert.since or fields.Datetime.now(), "count": count})
        return alert

    def _close(self, feedback):
        """End the problem, and say why in the chatter.

        :param str feedback: in the language of the alerts' receiver
        """
        self.write({"since": False, "count": 0})
        self._activity().action_feedback(feedback=feedback)

    def _activity(self):
        """The alert's open activity, no matter to which user it belongs by now."""
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
                "Open this alert, press See Events, and read why each event failed. Fix the cause and press Retry, or "
                "press Discard if you do not need the event."
            )
        elif self.kind == "silent":
            summary = self.env._("ManyChat: the bridge is silent; %s events wait for it", count)
            note = self.env._(
                "No bridge has sent a heartbeat for a while, so opportunities do not move. Ask your administrator to "
                "start the bridge. No event is lost: they continue as soon as it runs."
            )
        elif self.kind == "lost":
            summary = self.env._("ManyChat: the queue loses %s events", count)
            note = self.env._(
                "Odoo has put these events on the Azure queue more than once, and each time they were gone before the "
                "bridge received them. Ask your administrator whether another program takes messages from the queue, "
                "or empties it. Odoo has the events, and goes on sending them."
            )
        elif self.kind == "jobs":
            summary = self.env._("ManyChat: Odoo does not run %s scheduled actions", count)
            note = self.env["manychat.setup"]._jobs_sentence()
        else:
            summary = self.env._("ManyChat: %s events do not reach the queue", count)
            note = self.env._(
                "Odoo cannot put the events on the Azure queue. Ask your administrator to check the queue connection. "
                "No event is lost: Odoo sends them as soon as the queue accepts them."
            )
        return {"summary": summary, "note": note}

    @api.model
    def _receiver(self):
        """The user who gets alerts: the one in the settings, else a sales team's leader, else an administrator."""
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
        """Look for problems. Never raises: Odoo deactivates a job that keeps failing."""
        for kind in self._fields["kind"].get_values(self.env):
            try:
                with private(self.env.cr), self.env.cr.savepoint():
                    self._check(kind)
            except psycopg2.errors.SerializationFailure:
                _logger.debug("A user is changing the alert (%s); the check runs again in a minute.", kind)
            except Exception as error:
                _logger.error(
                    "The check for ManyChat alerts (%s) failed; it runs again in a minute: %s", kind, failure(error)
                )

    @api.model
    def _check(self, kind):
        """Look for the problem ``kind``: its method ``_find_KIND`` says whether it exists, and how many it affects."""
        self._update_alert(kind, *getattr(self, f"_find_{kind}")())

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
        # A bridge that stands still does nothing, though it sends heartbeats. One that has signed off may be about to
        # start again, so it has the same time to come back as one that fell silent.
        moving = self.env["manychat.bridge"].search([("last_seen", ">=", limit), ("stuck", "=", False)], limit=1)
        # If no bridge has ever run, alert only once events wait for it.
        return not moving and bool(waiting or self.env["manychat.bridge"].search([], limit=1)), waiting

    def _find_stuck(self):
        limit = fields.Datetime.now() - STUCK_AFTER
        count = self.env["manychat.event"].search_count([("state", "=", "pending"), ("received_at", "<", limit)])
        return bool(count), count

    def _find_lost(self):
        count = len(self.env["manychat.event"]._find_lost_too_often())
        return bool(count), count

    def _find_jobs(self):
        count = len(self.env["ir.cron"]._manychat_stopped())
        return bool(count), count

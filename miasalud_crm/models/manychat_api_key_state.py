"""What people see of a key: its state, what it sent today, and whether its bot has gone quiet."""

import itertools
import math
from datetime import timedelta, timezone

import pytz

from odoo import api, fields, models
from odoo.tools import format_date

from ..deliveries import REFUSED_PREFIX

#: Parameter: working hours without an event after which a bot has gone quiet; 0: never.
QUIET_PARAMETER = "miasalud_crm.quiet_hours"
DEFAULT_QUIET_HOURS = 8
#: How far back a bot's habits are looked up.
HABIT_DAYS = 28
#: A bot is quiet once its pause is longer than its usual ones by this factor.
LONGER_THAN_USUAL = 1.5
#: A key that expires so soon, and is still used, is urgent.
URGENT = timedelta(days=2)


class ManychatApiKey(models.Model):
    _inherit = "manychat.api.key"  # pylint: disable=consider-merging-classes-inherited

    state = fields.Selection(
        [("valid", "Valid"), ("expiring", "Expires Soon"), ("expired", "Expired"), ("revoked", "Revoked")],
        compute="_compute_validity",
    )
    state_text = fields.Char("State", compute="_compute_state_text")
    can_edit = fields.Boolean(compute="_compute_can_edit")
    accepted_today = fields.Integer(
        compute="_compute_today", help="Events that came with this key today and were accepted."
    )
    refused_today = fields.Integer(
        compute="_compute_today",
        help="Requests of today that were refused: they break the contract, or the key was not valid any more.",
    )

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    def _compute_validity(self):
        result = super()._compute_validity()
        for key in self:
            if not key.active:
                key.state = "revoked"
            elif not key.is_valid:
                key.state = "expired"
            else:
                key.state = "expiring" if key.expires_soon else "valid"
        return result

    @api.depends("state", "expiration_date", "revoked_at", "revoked_uid")
    @api.depends_context("lang", "tz")
    def _compute_state_text(self):
        for key in self:
            key.state_text = key._describe_state()

    def _describe_state(self):
        if self.state == "revoked":
            if not self.revoked_at:
                return self.env._("Revoked")
            return self.env._(
                "Revoked by %(user)s on %(date)s",
                user=self.revoked_uid.sudo().name or self.env._("Odoo"),
                date=self._local_date(self.revoked_at),
            )
        if self.state == "expired":
            return self.env._("Expired on %s", self._local_date(self.expiration_date))
        if self.state == "expiring":
            left = self.expiration_date - fields.Datetime.now()
            days = math.ceil(left / timedelta(days=1))
            if left < timedelta(hours=1):
                return self.env._("Expires within an hour")
            return self.env._("Expires within a day") if days == 1 else self.env._("Expires in %s days", days)
        return self.env._("Valid")

    def _local_date(self, moment):
        return format_date(self.env, fields.Datetime.context_timestamp(self, moment).date())

    @api.depends_context("uid")
    def _compute_can_edit(self):
        self.can_edit = self.env.user.has_group("base.group_system")

    @api.depends_context("tz")
    def _compute_today(self):
        today = self._today_begins()
        prefixes = [prefix for prefix in self.mapped("prefix") if prefix]
        self.env["manychat.event"].flush_model(["event_id", "key_prefix", "received_at"])
        self.env.cr.execute(
            "SELECT key_prefix, event_id >= %s, count(*) FROM manychat_event "
            "WHERE key_prefix = ANY(%s) AND received_at >= %s GROUP BY 1, 2",
            [REFUSED_PREFIX, prefixes, today],
        )
        accepted, refused = {}, {}
        for prefix, is_refused, count in self.env.cr.fetchall():
            (refused if is_refused else accepted)[prefix] = count
        wrong = (
            self.env["manychat.wrong.key"]
            .sudo()
            ._read_group([("prefix", "in", prefixes), ("last_at", ">=", today)], ["prefix"], ["count:sum"])
        )
        for prefix, count in wrong:
            refused[prefix] = refused.get(prefix, 0) + count
        for key in self:
            key.accepted_today, key.refused_today = accepted.get(key.prefix, 0), refused.get(key.prefix, 0)

    @api.model
    def _today_begins(self):
        """Midnight in the user's zone, naive, in UTC."""
        here = fields.Datetime.context_timestamp(self, fields.Datetime.now())
        midnight = here.replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight.astimezone(timezone.utc).replace(tzinfo=None)

    # ------------------------------------------------------------
    # Business: alerts
    # ------------------------------------------------------------

    @api.model
    def _about_to_stop(self):
        """The keys of bots that expire soon. One that was replaced counts only while its bot still uses it."""
        keys = self._for_bots().filtered("expires_soon")
        yesterday = fields.Datetime.now() - timedelta(days=1)
        return keys.filtered(
            lambda key: not key.replaced_by_id or (key._is_urgent() and (key.last_used or yesterday) > yesterday)
        )

    def _is_urgent(self):
        return bool(self.expiration_date and self.expiration_date - fields.Datetime.now() < URGENT)

    @api.model
    def _quiet(self):
        """The bots that have sent no event for longer than the setting says, and than they usually do.

        :return list: pairs of key and the moment of its latest event
        """
        parameter = self.env["ir.config_parameter"].sudo().get_param(QUIET_PARAMETER)
        hours = float(parameter or DEFAULT_QUIET_HOURS)
        if hours <= 0:
            return []
        now, calendar = fields.Datetime.now(), self.env.company.resource_calendar_id
        quiet = []
        for key, latest in self._latest_events().items():
            # Working hours are never more than hours.
            if (now - latest) / timedelta(hours=1) <= hours:
                continue
            pause = _working_hours(calendar, latest, now)
            if pause > hours and pause > LONGER_THAN_USUAL * key._usual_pause(calendar, latest):
                quiet.append((key, latest))
        # The standby passes events on without their keys.
        return [] if quiet and self._standby_is_used(max(latest for _key, latest in quiet)) else quiet

    @api.model
    def _latest_events(self):
        """The moment of the latest accepted event of each valid key that has one."""
        keys = self._for_senders().filtered(lambda key: key.is_valid and key.prefix)
        self.env.cr.execute(
            """
            SELECT prefix, latest.received_at
              FROM unnest(%s::text[]) AS prefix,
                   LATERAL (SELECT received_at FROM manychat_event
                             WHERE key_prefix = prefix AND received_at IS NOT NULL AND event_id < %s
                             ORDER BY received_at DESC LIMIT 1) AS latest
            """,
            [keys.mapped("prefix"), REFUSED_PREFIX],
        )
        latest = dict(self.env.cr.fetchall())
        # A key that was replaced is quiet because its bot uses the new one.
        return {key: latest[key.prefix] for key in keys if key.prefix in latest and not key.replaced_by_id}

    def _usual_pause(self, calendar, latest):
        """Working hours of the longer ones of this bot's pauses, in the weeks before ``latest``."""
        self.env.cr.execute(
            """
            SELECT hour FROM generate_series(date_trunc('hour', %(latest)s) - %(days)s * interval '1 day',
                                             date_trunc('hour', %(latest)s), interval '1 hour') AS hour
             WHERE EXISTS (SELECT FROM manychat_event WHERE key_prefix = %(prefix)s AND received_at >= hour
                              AND received_at < hour + interval '1 hour')
             ORDER BY hour
            """,
            {"latest": latest, "days": HABIT_DAYS, "prefix": self.prefix},
        )
        hours = [row[0] for row in self.env.cr.fetchall()]
        pauses = sorted(_working_hours(calendar, *pair) for pair in itertools.pairwise(hours))
        # Not the very longest: that may have been an outage.
        return pauses[min(int(0.95 * len(pauses)), len(pauses) - 1)] if pauses else 0.0

    @api.model
    def _standby_is_used(self, since):
        Event = self.env["manychat.event"]
        return bool(Event.search_count([("source", "=", "api"), ("received_at", ">", since)], limit=1))


def _working_hours(calendar, start, end):
    """Working hours between two moments, naive in UTC; all hours for a company without working hours."""
    if not calendar:
        return (end - start) / timedelta(hours=1)
    return calendar.get_work_hours_count(pytz.utc.localize(start), pytz.utc.localize(end))

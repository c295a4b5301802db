"""Alerts about bots: each says which bot, how often and since when."""

from datetime import timedelta

from markupsafe import Markup, escape

from odoo import api, fields, models
from odoo.tools import SQL, format_datetime

from ..rights import access_required, managers_only

#: Requests that are older open no alert.
LOOKED_BACK = timedelta(hours=24)
#: Kinds about single requests, which end when no bot sends more of them or a user has seen them; and how long a bot
#: whose requests were seen must wait until it is an alert again. A warning loses no event.
REST = {"refused": timedelta(hours=1), "wrong_key": timedelta(hours=1), "warned": timedelta(hours=24)}
#: Bots that an activity names.
SHOWN = 10


class ManychatAlert(models.Model):
    _inherit = "manychat.alert"

    kind = fields.Selection(
        selection_add=[
            ("refused", "Refused Requests"),
            ("warned", "Events with Warnings"),
            ("wrong_key", "Requests without a Valid Key"),
            ("expiring", "Keys About to Expire"),
            ("quiet", "Quiet Bots"),
        ],
        ondelete=dict.fromkeys((*REST, "expiring", "quiet"), "cascade"),
    )
    bots = fields.Json("Bots as JSON", readonly=True)
    bot_text = fields.Text("Bots", compute="_compute_bot_text")
    advice = fields.Text(compute="_compute_advice")
    counted_id = fields.Integer(readonly=True, help="The newest delivery that was counted.")
    seen_at = fields.Datetime(
        "Seen Until",
        readonly=True,
        help="A user has seen what came until then. The alert opens again when another bot has the problem, or when "
        "the same bot still has it an hour later; for warnings, a day later.",
    )
    seen_id = fields.Integer(readonly=True, help="The newest delivery that was seen.")
    seen_bots = fields.Json("Bots That Were Seen", readonly=True)
    has_activity = fields.Boolean(readonly=True, help="An activity was made for the present problem.")

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("bots")
    @api.depends_context("lang", "tz")
    def _compute_bot_text(self):
        for alert in self:
            alert.bot_text = "\n".join(alert._bot_lines()) or False

    @api.depends("kind")
    @api.depends_context("lang")
    def _compute_advice(self):
        for alert in self:
            alert.advice = alert._advice()

    # ------------------------------------------------------------
    # Actions
    # ------------------------------------------------------------

    @access_required("read")
    def action_view_events(self):
        """What the alert is about: deliveries, keys, or requests without a valid key."""
        self.ensure_one()
        if self.kind in ("refused", "warned"):
            return self._action_deliveries("refused" if self.kind == "refused" else "with_warnings")
        name = {"wrong_key": "manychat_wrong_key_action", "expiring": "manychat_api_key_action"}.get(self.kind)
        name = name or ("manychat_api_key_action" if self.kind == "quiet" else "")
        if not name:
            return super().action_view_events()
        action = self.env["ir.actions.act_window"]._for_xml_id(f"miasalud_crm.{name}")
        if self.kind == "expiring":
            action["context"] = {"active_test": False, "search_default_expires_soon": 1}
        return action

    def _action_deliveries(self, search):
        action = self.env["ir.actions.act_window"]._for_xml_id("miasalud_crm.manychat_event_action")
        return {**action, "context": {f"search_default_{search}": 1}}

    @managers_only
    def action_seen(self):
        """Close the alert: a user has seen all that it is about."""
        for alert in self.sudo().filtered(lambda alert: alert.since and alert.kind in REST):
            alert._mark_seen()
            alert._close(self.env._("Seen by %s.", self.env.user.name))

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    def _mark_seen(self):
        """All that was counted is seen."""
        seen = [bot["id"] for bot in self.bots or ()]
        self.write({"seen_at": fields.Datetime.now(), "seen_id": self.counted_id, "seen_bots": seen})
        if self.kind == "wrong_key":
            self.env["manychat.wrong.key"]._unseen(fields.Datetime.now() - LOOKED_BACK).action_seen()

    @api.model
    def _check(self, kind):
        if kind not in (*REST, "expiring", "quiet"):
            return super()._check(kind)
        alert = self.search([("kind", "=", kind)])
        if kind in REST and alert.since and alert.has_activity and not alert._activity():
            # The user who marked it as done has seen it.
            alert._mark_seen()
            alert._close("")
        now = fields.Datetime.now()
        bots = getattr(self, f"_find_{kind}")(alert)
        if kind in REST and alert.seen_at and now - alert.seen_at < REST[kind] and not alert.since:
            bots = bots if {bot["id"] for bot in bots} - set(alert.seen_bots or ()) else []
        known = {bot["id"] for bot in alert.bots or ()} if alert.since else set()
        if alert.since and {bot["id"] for bot in bots} - known and not alert._activity():
            alert.count = 0  # another bot: the receiver hears of it, though the number may be the same
        if bots != (alert.bots or []):
            (alert or self.create({"kind": kind})).bots = bots
        alert = self._update_alert(kind, bool(bots), sum(bot["count"] for bot in bots))
        if alert.since:
            counted = max((bot.get("latest", 0) for bot in bots), default=0)
            alert.write({"counted_id": counted, "has_activity": bool(alert._activity())})
        return None

    def _activity_values(self, count):
        summaries = {
            "refused": lambda: self.env._("ManyChat: requests refused: %s", count),
            "warned": lambda: self.env._("ManyChat: events taken with warnings: %s", count),
            "wrong_key": lambda: self.env._("ManyChat: requests without a valid key: %s", count),
            "expiring": lambda: self.env._("ManyChat: keys about to expire: %s", count),
            "quiet": lambda: self.env._("ManyChat: bots gone quiet: %s", count),
        }
        if self.kind not in summaries:
            return super()._activity_values(count)
        lines = [escape(line) for line in self._bot_lines()]
        note = Markup("<p>%s</p><ul>%s</ul>") % (
            self._advice(),
            Markup("").join(Markup("<li>%s</li>") % line for line in lines),
        )
        return {"summary": summaries[self.kind](), "note": note}

    def _advice(self):
        """What to do, in the language of the context."""
        if self.kind == "refused":
            return self.env._(
                "Bots sent requests that break the contract, so no opportunity was created or moved. Press Open the "
                "List in this alert, and read what is wrong with each request. Correct the External Request in "
                "ManyChat."
            )
        if self.kind == "warned":
            return self.env._(
                "These events were stored, but a field of each was left out, cut or not understood. Press Open the "
                "List in this alert, and correct the External Request in ManyChat."
            )
        if self.kind == "wrong_key":
            return self.env._(
                "Odoo refused these requests: their key is missing, mistyped, revoked or expired. If they come from "
                "your bots, people write and no opportunity moves. Put a valid key into the header X-API-KEY of the "
                "External Request in ManyChat; an administrator creates one under Keys."
            )
        if self.kind == "expiring":
            return self.env._(
                "A bot is refused as soon as its key expires. Ask an administrator to press Replace on the key, and "
                "put the new key into the External Requests of the bot."
            )
        return self.env._(
            "These bots have sent no event for longer than usual, in working time. Check in ManyChat whether the "
            "automation is on and its External Request succeeds. If you no longer use the bot, ask an administrator to "
            "revoke its key."
        )

    def _bot_lines(self):
        bots = self.bots or []
        lines = [self._bot_line(bot) for bot in bots[:SHOWN]]
        if len(bots) > SHOWN:
            lines.append(self.env._("And %s more.", len(bots) - SHOWN))
        return lines

    def _bot_line(self, bot):
        """One bot: its name, how often, and since when, in the language and zone of the context."""
        reasons = dict(self.env["manychat.wrong.key"]._fields["reason"]._description_selection(self.env))
        values = {
            "bot": bot["name"] or bot["prefix"] or bot.get("address") or self.env._("Without a valid key"),
            "count": bot["count"],
            "since": format_datetime(self.env, bot["since"], dt_format="short"),
            "reason": reasons.get(bot.get("reason"), ""),
        }
        if bot["name"] and bot["prefix"]:
            values["bot"] = f"{bot['name']} ({bot['prefix']}…)"
        if self.kind == "expiring":
            return self.env._("%(bot)s: expires on %(since)s", **values)
        if self.kind == "quiet":
            return self.env._("%(bot)s: last event on %(since)s", **values)
        if self.kind == "wrong_key":
            return self.env._("%(bot)s: %(count)s, since %(since)s, key: %(reason)s", **values)
        return self.env._("%(bot)s: %(count)s, since %(since)s", **values)

    def _in_receivers_language(self):
        alert = super()._in_receivers_language()
        return alert.with_context(tz=self._receiver().tz or "UTC")

    # ------------------------------------------------------------
    # Cron
    # ------------------------------------------------------------

    def _find_refused(self, alert):
        # A bot builder who tries a request out loses no event.
        return self._by_key(SQL("state = 'refused' AND COALESCE(request::text, '') !~* %s", '"x-dry-run"'), alert)

    def _find_warned(self, alert):
        return self._by_key(SQL("warnings IS NOT NULL AND state <> 'refused'"), alert)

    def _by_key(self, condition, alert):
        """The bots of the deliveries that no user has seen, the one with the most first.

        :param SQL condition: which deliveries
        """
        self.env["manychat.event"].flush_model()
        query = SQL(
            """
            SELECT key_prefix, key_name, count(*), min(received_at), max(id) FROM manychat_event
             WHERE %s AND received_at > %s AND id > %s
             GROUP BY key_prefix, key_name ORDER BY count(*) DESC, key_prefix
            """,
            condition,
            fields.Datetime.now() - LOOKED_BACK,
            alert.seen_id,
        )
        self.env.cr.execute(query)
        return [_bot(*row[:4], latest=row[4]) for row in self.env.cr.fetchall()]

    def _find_wrong_key(self, _alert):
        rows = self.env["manychat.wrong.key"]._unseen(fields.Datetime.now() - LOOKED_BACK)
        bots = {}
        for row in rows.sorted("first_at"):
            bot = _bot(row.prefix, row.key_name, 0, row.first_at, reason=row.reason, address=row.address)
            # Of one key one line, from however many addresses it comes.
            bot["id"] = f"{row.prefix or row.address} {row.reason}"
            bots.setdefault(bot["id"], bot)["count"] += row.count - row.seen_count
        return sorted(bots.values(), key=lambda bot: (not bot["name"], -bot["count"]))

    def _find_expiring(self, _alert):
        return [
            # Once more when little time is left, also for a user who has marked the first activity as done.
            {**_bot(key.prefix, key.name, 1, key.expiration_date), "id": f"{key.prefix} {key._is_urgent()}"}
            for key in self.env["manychat.api.key"]._about_to_stop()
        ]

    def _find_quiet(self, _alert):
        return [_bot(key.prefix, key.name, 1, latest) for key, latest in self.env["manychat.api.key"]._quiet()]


def _bot(prefix, name, count, since, **more):
    since = fields.Datetime.to_string(since)
    return {
        "id": prefix or name or "",
        "name": name or "",
        "prefix": prefix or "",
        "count": count,
        "since": since,
        **more,
    }

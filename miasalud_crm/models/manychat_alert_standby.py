"""What the standby refused, in the alerts beside what Odoo refused."""

from odoo import api, fields, models

from ..rights import access_required
from .manychat_alert_bots import LOOKED_BACK, _bot


class ManychatAlert(models.Model):
    _inherit = "manychat.alert"  # pylint: disable=consider-merging-classes-inherited

    has_standby = fields.Boolean(compute="_compute_has_standby")

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("bots")
    def _compute_has_standby(self):
        for alert in self:
            alert.has_standby = any(bot.get("standby") for bot in alert.bots or ())

    # ------------------------------------------------------------
    # Actions
    # ------------------------------------------------------------

    @access_required("read")
    def action_view_standby(self):
        """The counts of the standby."""
        self.env["manychat.standby.refusal"].check_access("read")  # any internal user may read alerts
        self.ensure_one()
        return self.env["ir.actions.act_window"]._for_xml_id("miasalud_crm.manychat_standby_refusal_action")

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    def _mark_seen(self):
        if self.kind in ("refused", "wrong_key"):
            self._standby_rows(self.kind).action_seen()
        return super()._mark_seen()

    @api.model
    def _standby_rows(self, kind):
        since = fields.Datetime.now() - LOOKED_BACK
        return self.env["manychat.standby.refusal"]._unseen(since, kind == "wrong_key")

    def _bot_line(self, bot):
        if not bot.get("standby"):
            return super()._bot_line(bot)
        name = super()._bot_line({**bot, "standby": False})
        return self.env._("At the standby: %(bot)s (%(code)s)", bot=name, code=bot["standby"])

    # ------------------------------------------------------------
    # Cron
    # ------------------------------------------------------------

    def _find_refused(self, alert):
        return super()._find_refused(alert) + self._at_the_standby("refused")

    def _find_wrong_key(self, alert):
        return super()._find_wrong_key(alert) + self._at_the_standby("wrong_key")

    def _at_the_standby(self, kind):
        bots = {}
        for row in self._standby_rows(kind).sorted("first_at"):
            bot = _bot(row.key_prefix, row.key_name, 0, row.first_at, address=row.address, standby=row.code)
            bot["id"] = f"standby {row.key_prefix or row.address} {row.code}"
            bots.setdefault(bot["id"], bot)["count"] += row.count - row.seen_count
        return sorted(bots.values(), key=lambda bot: (not bot["name"], -bot["count"]))

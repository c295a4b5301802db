"""What bot builders see of deliveries: of their own bots what was sent, of the others only that it came.

A bot builder is no salesperson. So every stored field that says something about a person or an opportunity has the
group of salespeople, and these fields show a bot builder what is theirs: they are computed for each delivery, and a
field that is not stored can neither be searched nor grouped.
"""

import json

from odoo import SUPERUSER_ID, api, fields, models

SALES = "sales_team.group_sale_salesman"
BUILDER = "miasalud_crm.group_bot_builder"
MANAGER_OR_BUILDER = f"sales_team.group_sale_manager,{BUILDER}"


class ManychatEvent(models.Model):
    _inherit = "manychat.event"

    manychat_id = fields.Char(groups=SALES)
    lead_id = fields.Many2one(groups=SALES)
    stage_before_id = fields.Many2one(groups=SALES)
    stage_after_id = fields.Many2one(groups=SALES)
    alias_id = fields.Many2one(groups=SALES)
    migration_id = fields.Many2one(groups=SALES)
    message = fields.Char(groups=SALES)
    problems = fields.Json(groups=SALES)
    warnings = fields.Json(groups=SALES)
    field_warnings = fields.Json(groups=SALES)
    warning_text = fields.Text(groups=SALES)
    problem_text = fields.Text(groups=SALES)
    details = fields.Char(groups=SALES)
    answer = fields.Text(groups=SALES)
    timeline = fields.Html(groups=SALES)
    attempts = fields.Json(groups=SALES)
    occurred_at = fields.Datetime(groups=SALES)
    # They are computed from fields that bot builders do not have, and tell nothing of these.
    status = fields.Selection(compute_sudo=True)
    next_try_at = fields.Datetime(compute_sudo=True)
    advice = fields.Char(compute_sudo=True)
    key_name = fields.Char(groups=f"base.group_system,{MANAGER_OR_BUILDER}")

    is_my_bot = fields.Boolean(
        "My Bot", compute="_compute_is_my_bot", search="_search_is_my_bot", help="You are a bot builder of its key."
    )
    my_person = fields.Char("Person", compute="_compute_mine", groups=BUILDER)
    my_payload = fields.Text("What Was Understood", compute="_compute_mine", groups=BUILDER)
    my_request = fields.Html("What Was Sent", compute="_compute_mine", sanitize=False, groups=BUILDER)
    my_answer = fields.Text("Answer to the Bot", compute="_compute_mine", groups=BUILDER)
    my_message = fields.Text("What Is Wrong", compute="_compute_mine", groups=BUILDER)
    my_warnings = fields.Text("What Was Left Out", compute="_compute_mine", groups=BUILDER)

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends_context("uid")
    def _compute_is_my_bot(self):
        mine = self._my_prefixes()
        for event in self:
            event.is_my_bot = event.key_prefix in mine

    def _search_is_my_bot(self, operator, value):
        # Odoo 19 asks for a boolean by "in".
        wanted = any(value) if operator == "in" else bool(value) == (operator == "=")
        prefixes = list(self._my_prefixes())
        if wanted:
            return [("key_prefix", "in", prefixes)]
        return ["|", ("key_prefix", "=", False), ("key_prefix", "not in", prefixes)]

    @api.depends_context("uid", "lang")
    def _compute_mine(self):
        for event in self:
            sent = event.sudo() if event.is_my_bot else self.sudo().browse()
            event.my_person = sent.manychat_id
            event.my_payload = _pretty(sent.payload)
            event.my_request = sent.sent
            event.my_answer = sent.answer
            event.my_message = sent.problem_text or sent.details or sent.reason
            event.my_warnings = sent.warning_text

    @api.depends_context("uid")
    def _compute_display_name(self):
        """Without the person, for those who may not see who it is: ``name_search`` asks as superuser for them."""
        if self._is_sales():
            return super()._compute_display_name()
        types = dict(self._fields["type"]._description_selection(self.env))
        for event in self:
            name = types.get(event.type) or self.env._("Request")
            event.display_name = f"{name} · {event.my_person}" if event.my_person else name
        return None

    def _compute_reason(self):
        """Of other bots' deliveries without words that may quote what was sent."""
        if self._is_sales():
            return super()._compute_reason()
        reasons = self._reasons()
        for event, known in zip(self, self.sudo(), strict=True):
            event.reason = known.reason if event.is_my_bot else reasons.get(event.code, event.code)
        return None

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @api.model
    def _is_sales(self):
        return self.env.uid == SUPERUSER_ID or self.env.user.has_group(SALES)

    @api.model
    def _my_prefixes(self):
        """The beginnings of the keys whose bots the user builds."""
        keys = self.env["manychat.api.key"].sudo().with_context(active_test=False)
        return set(keys.search([("builder_ids", "=", self.env.uid)]).mapped("prefix"))


def _pretty(payload):
    return json.dumps(payload, indent=2, ensure_ascii=False) if payload else False

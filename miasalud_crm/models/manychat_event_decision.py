from odoo import api, fields, models
from odoo.tools import format_amount

from bridge.contract.opportunity_state import Actor
from bridge.contract.payloads import Decided


class ManychatEvent(models.Model):
    """What a decision in Odoo changed, and who made it, in words. The payload has both."""

    _inherit = "manychat.event"  # pylint: disable=consider-merging-classes-inherited

    decision_text = fields.Text(
        "Decision",
        compute="_compute_decision",
        groups="sales_team.group_sale_manager",
        help="What was changed in Odoo, with the values after the change.",
    )
    decided_by = fields.Char(compute="_compute_decision", groups="sales_team.group_sale_manager")

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("type", "payload")
    @api.depends_context("lang")
    def _compute_decision(self):
        decisions = self.filtered(lambda event: event.type == "decision" and event.payload)
        ids = {event.payload.get("user_id") for event in decisions} - {None}
        # As superuser: a user of another company may have decided it.
        users = {user.id: user.name for user in self.env["res.users"].sudo().browse(ids).exists()}
        names = {(event.payload.get("state") or {}).get("currency") for event in decisions} - {None}
        found = self.env["res.currency"].search([("name", "in", list(names))]) if names else ()
        currencies = {currency.name: currency for currency in found}
        for event in self:
            payload = event.payload if event in decisions else {}
            changes = [self._change_words(each, payload, currencies) for each in payload.get("decided") or ()]
            event.decision_text = " · ".join(filter(None, changes)) or False
            event.decided_by = self._actor_words(payload.get("by"), users.get(payload.get("user_id")))

    @api.depends("type")
    def _compute_answer(self):
        result = super()._compute_answer()
        # No bot sent it, so none got an answer.
        self.filtered(lambda event: event.type == "decision").answer = False
        return result

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @api.model
    def _change_words(self, change, payload, currencies):
        """One change in words; empty if a later release made it.

        :param str change: of :class:`Decided`
        :param dict currencies: ``res.currency`` by name
        """
        state = payload.get("state") or {}
        none = self.env._("none")
        if change == Decided.STAGE:
            before, after = payload.get("stage_before") or none, state.get("stage") or none
            return self.env._("Stage: %(before)s → %(after)s", before=before, after=after)
        if change == Decided.LOST and state.get("lost_reason"):
            return self.env._("Lost: %s", state["lost_reason"])
        if change == Decided.SALESPERSON:
            return self.env._("Salesperson: %s", state.get("salesperson") or none)
        if change == Decided.TEAM:
            return self.env._("Sales team: %s", state.get("team") or none)
        if change == Decided.REVENUE:
            amount, currency = state.get("expected_revenue") or 0, currencies.get(state.get("currency"))
            amount = format_amount(self.env, amount, currency) if currency else str(amount)
            return self.env._("Expected revenue: %s", amount)
        words = {
            Decided.WON: self.env._("Won"),
            Decided.LOST: self.env._("Lost"),
            Decided.RESTORED: self.env._("Restored"),
            Decided.ANSWERED: self.env._("First answer to the customer"),
            Decided.MERGED: self.env._("Merged into another opportunity"),
            Decided.DELETED: self.env._("Deleted, or separated from the conversation"),
            Decided.DETAIL: self.env._("Another detail, as the currency or the closing date"),
        }
        return words.get(change, "")

    @api.model
    def _actor_words(self, actor, name):
        """Who or what made the change.

        :param str actor: of :class:`Actor`
        :param str name: of the user, if one did
        """
        if actor == Actor.PERSON:
            return name or self.env._("A user who was deleted")
        if actor == Actor.IMPORT:
            return self.env._("Import by %s", name) if name else self.env._("Import")
        words = {
            Actor.CHAT: self.env._("Another conversation of the opportunity"),
            Actor.AUTOMATION: self.env._("An automation or a scheduled action"),
            Actor.ASSIGNMENT: self.env._("Odoo's assignment"),
        }
        return words.get(actor, False)

from odoo import api, fields, models
from odoo.exceptions import ValidationError

from bridge.contract import stage_text
from bridge.contract.person import day_format
from bridge.contract.stage_text import LONGEST_MESSAGE, MOST_MESSAGES, Fault, Placeholder

#: What the preview shows for each placeholder, beside the stage.
_EXAMPLES = {
    Placeholder.SALESPERSON.value: "Ana Torres",
    Placeholder.MEDICAL_ADVISOR.value: "Dra. Ruiz",
}


class ManychatStageMap(models.Model):
    """What a bot says to a person in a stage, if the bot asks."""

    _inherit = "manychat.stage.map"  # pylint: disable=consider-merging-classes-inherited

    answer_text = fields.Text(
        "Text for the Bot",
        help="A bot that asks how far a person is can send this text. An empty line begins a new message.",
    )
    answer_preview = fields.Text("Preview", compute="_compute_answer_preview")

    # ------------------------------------------------------------
    # Constraints
    # ------------------------------------------------------------

    @api.constrains("answer_text")
    def _check_answer_text(self):
        for row in self:
            if finding := stage_text.check(row.answer_text or ""):
                raise ValidationError(row._describe(finding))

    def _describe(self, finding):
        """What is wrong with the text, and what to write instead."""
        known = ", ".join(f"{{{each}}}" for each in Placeholder)
        shown = {"stage": self.name, "shown": finding.shown, "known": known}
        return {
            Fault.UNKNOWN_PLACEHOLDER: self.env._(
                "Stage “%(stage)s”: %(shown)s is no placeholder of this text. There are: %(known)s.", **shown
            ),
            Fault.OF_MANYCHAT: self.env._(
                "Stage “%(stage)s”: %(shown)s is a field of ManyChat, and this text has none. There are: %(known)s.",
                **shown,
            ),
            Fault.LONE_BRACE: self.env._(
                "Stage “%(stage)s”: there is a single %(shown)s. Write a placeholder with both braces, such as "
                "{salesperson}, or remove it.",
                **shown,
            ),
            Fault.TOO_MANY: self.env._(
                "Stage “%(stage)s”: these are %(shown)s messages, and ManyChat takes %(most)s at most. An empty line "
                "begins a new message.",
                **shown,
                most=MOST_MESSAGES,
            ),
            Fault.TOO_LONG: self.env._(
                "Stage “%(stage)s”: the message that begins with “%(shown)s” is too long. A message may have "
                "%(most)s bytes, its placeholders filled in: a letter with an accent has two, an emoji four or more. "
                "An empty line begins a new message.",
                **shown,
                most=LONGEST_MESSAGE,
            ),
        }[finding.fault]

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("answer_text", "name")
    @api.depends_context("lang")
    def _compute_answer_preview(self):
        today = fields.Date.context_today(self).strftime(day_format(self._answer_date_format()))
        for row in self:
            text = row.answer_text or ""
            if finding := stage_text.check(text):
                row.answer_preview = row._describe(finding)
                continue
            values = {**_EXAMPLES, Placeholder.STAGE.value: row.name, Placeholder.DECIDED_ON.value: today}
            row.answer_preview = "\n\n".join(stage_text.messages(text, values)) or False

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @api.model
    def _answer_date_format(self):
        """How the company's language writes days; ``False`` if it is not installed."""
        return self.env["res.lang"]._get_data(code=self.env.company.partner_id.lang or "").date_format

    @api.model
    def _texts_for_bots(self):
        """The rows by the id of their stage, as JSON has it: for the bridge, which needs them while Odoo is away."""
        written = self._answer_date_format()
        return {
            str(row.stage_id.id): {
                "label": row.name,
                "id": row.manychat_stage_id or None,
                "aliases": [alias.manychat_stage_id or alias.name for alias in row.alias_ids],
                "text": row.answer_text or None,
                "date_format": written or None,
            }
            for row in self.search([("active", "=", True)])
        }

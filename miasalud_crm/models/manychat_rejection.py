from odoo import api, fields, models

from bridge.contract import attribution
from bridge.contract.outcomes import ErrorCode

from ..sentences import in_language
from .manychat_event import retention_limit

#: How many refused requests are kept: a bot in a loop must not fill the database.
KEPT = 500
#: The oldest are deleted after this many new ones: a bot in a loop would fill the database before the daily cleaning.
TRIMMED_EVERY = 100
BODY_KEPT_CHARS = 4000


class ManychatRejection(models.Model):
    """A refused request with a valid key: it shows the bot builder what to change."""

    _name = "manychat.rejection"
    _description = "Refused ManyChat Request"
    _order = "id desc"
    _rec_name = "path"

    path = fields.Char("Address", readonly=True)
    code = fields.Char(readonly=True)
    message = fields.Char("What Is Wrong, as Stored", readonly=True)
    problems = fields.Text("Fields, as Stored", readonly=True)
    message_shown = fields.Char("What Is Wrong", compute="_compute_shown")
    problems_shown = fields.Text(
        "Fields", compute="_compute_shown", help="Each field that breaks a rule, and the rule."
    )
    advice = fields.Char("What to Do", compute="_compute_advice")
    body = fields.Text(
        "What Was Sent",
        readonly=True,
        groups="sales_team.group_sale_manager",
        help="What the bot sent, shortened. If the ManyChat ID in it cannot be read, letters are shown as x and digits "
        "as 0: the text could not be found again when the person is erased.",
    )
    manychat_id = fields.Char(
        "ManyChat ID", readonly=True, index=True, help="The person of the request, to find it when they are erased."
    )
    key_name = fields.Char("Key", readonly=True)

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("message", "problems")
    @api.depends_context("lang")
    def _compute_shown(self):
        for rejection in self:
            rejection.message_shown = in_language(self.env, rejection.message)
            rejection.problems_shown = in_language(self.env, rejection.problems)

    @api.depends("code")
    @api.depends_context("lang")
    def _compute_advice(self):
        advice = {
            ErrorCode.NOT_JSON: self.env._(
                "The body is not a JSON object. Compare it with the one under Requests for ManyChat: check quotes and "
                "commas."
            ),
            ErrorCode.INVALID: self.env._("In ManyChat, open the External Request and correct the fields named here."),
            "too_large": self.env._("Make the External Request send fewer or shorter fields."),
            "unsupported_media_type": self.env._(
                "In ManyChat, add the header Content-Type with the value application/json to the External Request."
            ),
        }
        for rejection in self:
            rejection.advice = advice.get(rejection.code) or self.env._(
                "Compare the External Request in ManyChat with the one under Requests for ManyChat."
            )

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @api.model
    def _record(self, path, code, message, body, key, errors=()):
        """Keep one refused request.

        :param bytes body: as received
        :param errors: dicts of ``field`` and ``message``
        :param key: the ``manychat.api.key`` that the caller used
        """
        problems = "\n".join(f"{error['field']}: {error['message']}" for error in errors)
        row = self.sudo().create(
            {
                "path": path,
                "code": code,
                "message": message,
                "problems": problems,
                "key_name": key.name,
                **self._attributed(body.decode("utf-8", "replace").replace("\x00", "")),
            }
        )
        if row.id % TRIMMED_EVERY == 0:
            row._trim()

    def _attributed(self, text):
        """Values of a request: its person, and what may be kept of its text.

        :param str text: the whole body, not shortened: the id may be at its end
        """
        person = attribution.person_of(text)
        kept = text[:BODY_KEPT_CHARS]
        return {"manychat_id": person, "body": kept if person else attribution.masked(kept)}

    def _about(self, manychat_id):
        """The requests of the person, and those whose body names the person."""
        person = attribution.comparable(manychat_id)
        return self.filtered(
            lambda rejection: rejection.manychat_id == person or attribution.mentions(rejection.body or "", manychat_id)
        )

    # ------------------------------------------------------------
    # Cron
    # ------------------------------------------------------------

    @api.autovacuum
    def _trim(self):
        """Delete all but the newest, and those that are older than the retention time."""
        newest = self.search([], order="id desc", limit=1, offset=KEPT)
        if newest:
            self.search([("id", "<=", newest.id)]).unlink()
        self.search([("create_date", "<", retention_limit(self.env))]).unlink()

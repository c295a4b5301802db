"""How a delivery stands, in one word: the badge of lists and cards; and what people may search and group by."""

from odoo import api, fields, models

#: Fields that mean nothing to people, or are as good as unique.
INTERNAL = {
    "alias_id",
    "attempts",
    "claimed_until",
    "corrected_ids",
    "create_date",
    "create_uid",
    "discard_to_report",
    "extra",
    "field_warnings",
    "is_refusal",
    "key_prefix",
    "migration_id",
    "payload",
    "problems",
    "request",
    "traceparent",
    "warnings",
    "write_date",
    "write_uid",
}


class ManychatEvent(models.Model):
    _inherit = "manychat.event"  # pylint: disable=consider-merging-classes-inherited

    status = fields.Selection(
        [
            ("accepted", "Accepted"),
            ("warned", "With Warnings"),
            ("waiting", "Waiting"),
            ("failed", "Failed"),
            ("refused", "Refused"),
            ("corrected", "Corrected"),
            ("discarded", "Discarded"),
        ],
        compute="_compute_status",
        help="Accepted: it is stored or has changed its opportunity. With Warnings: so it is, but something was left "
        "out of it. Waiting: for the queue or the bridge. Failed: the bridge has given up. Refused: the bot got an "
        "error. Corrected: a user sent the refused request corrected. Discarded: a user gave it up.",
    )

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("state", "warnings", "field_warnings")
    def _compute_status(self):
        by_state = {"pending": "waiting", "queued": "waiting"}
        for event in self:
            done = "warned" if event.warnings or event.field_warnings else "accepted"
            event.status = done if event.state == "done" else by_state.get(event.state, event.state)

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    @api.model
    def fields_get(self, allfields=None, attributes=None):
        """Offer no field for filters and groups of one's own that only the program reads."""
        found = super().fields_get(allfields, attributes)
        for name in INTERNAL & found.keys():
            found[name] |= dict.fromkeys({"searchable", "groupable", "sortable"} & found[name].keys(), False)
        return found

from odoo import api, fields, models


class ManychatEvent(models.Model):
    """What an event could not write to the fields that a manager has chosen for unknown fields."""

    _inherit = "manychat.event"  # pylint: disable=consider-merging-classes-inherited

    field_warnings = fields.Json(
        "Values Not Converted as JSON",
        readonly=True,
        help="Of the fields of Configuration ▸ ManyChat ▸ Fields: name, field of the opportunity, reason. No values.",
    )

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("field_warnings")
    @api.depends_context("lang")
    def _compute_warning_text(self):
        result = super()._compute_warning_text()
        reasons = self._field_reasons()
        labels = self.env["crm.lead"].fields_get(attributes=["string"]) if any(self.mapped("field_warnings")) else {}
        for event in self:
            lines = [
                self.env._(
                    "%(name)s: left out of “%(field)s”: %(reason)s",
                    name=each["name"],
                    field=labels.get(each["field"], {}).get("string", each["field"]),
                    reason=reasons.get(each["reason"], each["reason"]),
                )
                for each in event.field_warnings or ()
            ]
            if lines:
                event.warning_text = "\n".join([*filter(None, [event.warning_text]), *lines])
        return result

    @api.model
    def _field_reasons(self):
        """Why a value does not fit its field: dict of reason → text."""
        return {
            "not_text": self.env._("it is no text"),
            "not_number": self.env._("it is no number"),
            "not_whole": self.env._("it is no whole number"),
            "too_large": self.env._("the number is too large"),
            "not_boolean": self.env._("it is neither yes nor no"),
            "not_date": self.env._("it is no date"),
            "ambiguous_date": self.env._("the date can be a day in two months"),
            "no_option": self.env._("it is none of the choices"),
            "not_found": self.env._("there is no record of that name"),
            "not_created": self.env._("Odoo cannot create a record with no more than that name"),
            "gone": self.env._("the field of the opportunity is gone"),
            "empty": self.env._("it is empty"),
        }

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    def init(self):
        result = super().init()
        self.env.cr.execute(
            """
            CREATE INDEX IF NOT EXISTS manychat_event_field_warnings ON manychat_event (id)
             WHERE field_warnings IS NOT NULL;
            -- What arrived since the last look, and what a newly used field is filled from.
            CREATE INDEX IF NOT EXISTS manychat_event_opportunity_extra ON manychat_event (id)
             WHERE extra IS NOT NULL AND type = 'opportunity'
            """
        )
        return result

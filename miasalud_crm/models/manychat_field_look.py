from odoo import api, fields, models


class ManychatFieldLook(models.Model):
    """One row: up to which event the unknown fields have been counted."""

    _name = "manychat.field.look"
    _description = "Count of Unknown Fields"

    looked_to = fields.Integer("Counted Up To", readonly=True, aggregator=None)

    @api.model
    def _look_to(self, event_id):
        """Record that the events up to the row ``event_id`` have been counted."""
        row = self.search([], limit=1)
        if row:
            row.looked_to = event_id
        else:
            self.create({"looked_to": event_id})

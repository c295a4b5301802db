from odoo import api, fields, models
from odoo.tools import SQL

from .manychat_setup import TEST_ID_PATTERN


class ManychatDeliveryReport(models.Model):
    """The success rate of deliveries, for the graph and the pivot: one row for each delivery that has ended."""

    _name = "manychat.delivery.report"
    _description = "ManyChat Success Rate"
    _auto = False
    _order = "received_at desc"

    received_at = fields.Datetime("Received", readonly=True)
    key_name = fields.Char("Bot", readonly=True)
    type = fields.Selection(selection="_types", string="Webhook", readonly=True)
    state = fields.Selection(selection="_states", readonly=True)
    success_rate = fields.Float(
        "Success Rate (%)",
        readonly=True,
        aggregator="avg",
        digits=(16, 1),
        help="Share of the deliveries that were stored or changed their opportunity. The others were refused, failed "
        "or were discarded. What still waits does not count.",
    )
    refused = fields.Integer("Refused or Failed", readonly=True, aggregator="sum")

    @api.model
    def _types(self):
        return self.env["manychat.event"]._fields["type"]._description_selection(self.env)

    @api.model
    def _states(self):
        return self.env["manychat.event"]._fields["state"]._description_selection(self.env)

    @property
    def _table_query(self):
        return SQL(
            """
            SELECT id, received_at, COALESCE(key_name, source) AS key_name, type, state,
                   CASE WHEN state = 'done' THEN 100.0 ELSE 0.0 END AS success_rate,
                   CASE WHEN state = 'done' THEN 0 ELSE 1 END AS refused
              FROM manychat_event
             WHERE state IN ('done', 'failed', 'discarded', 'refused', 'corrected')
               AND type <> 'decision' AND (manychat_id LIKE %s) IS NOT TRUE
            """,
            TEST_ID_PATTERN,
        )

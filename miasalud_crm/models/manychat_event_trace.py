from odoo import api, fields, models
from odoo.tools import SQL

from bridge.contract import traceparent

#: The events whose trace does not follow from their id: the sender named one.
_NAMED = SQL("traceparent IS NOT NULL AND substr(traceparent, 4, 32) <> substr(event_id, 1, 32)")


def trace_id_of(event_id, named):
    """The trace of an event.

    :param named: its traceparent; empty for a row that is older than the field
    """
    return traceparent.trace_id(named or traceparent.of_event(event_id))


class ManychatEvent(models.Model):
    """Which trace an event belongs to: what the bridge's log and Application Insights call it."""

    _inherit = "manychat.event"  # pylint: disable=consider-merging-classes-inherited

    traceparent = fields.Char(readonly=True, groups="sales_team.group_sale_salesman", help="As W3C's header says it.")
    trace_id = fields.Char(
        "Trace ID",
        compute="_compute_trace_id",
        search="_search_trace_id",
        groups="sales_team.group_sale_salesman",
        help="Names the event in the log of the bridge, and in Application Insights.",
    )

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("event_id", "traceparent")
    def _compute_trace_id(self):
        for event in self:
            event.trace_id = event.event_id and trace_id_of(event.event_id, event.traceparent)

    @api.model
    def _search_trace_id(self, operator, value):
        """By whole ids only, as indexes can find them."""
        values = [value] if isinstance(value, str) else value
        if operator not in ("=", "in") or not isinstance(values, list | tuple | set | frozenset):
            raise NotImplementedError(f"A trace is searched by its id, not by {operator}.")
        wanted = [str(each).strip().lower() for each in values if each]
        found = [event_id for each in wanted for event_id in self._ids_of_trace(each)]
        return [("id", "in", found)]

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    def init(self):
        result = super().init()
        # Few senders name a trace: this index stays small, and costs the others nothing.
        self.env.cr.execute(
            SQL("CREATE INDEX IF NOT EXISTS manychat_event_trace ON manychat_event (traceparent) WHERE %s", _NAMED)
        )
        return result

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @api.model
    def _ids_of_trace(self, trace_id):
        # Ranges and no patterns, which an index would not serve; “g” comes after all hexadecimal digits.
        self.env.cr.execute(
            SQL(
                """
                SELECT id FROM manychat_event
                 WHERE event_id >= %(trace)s AND event_id < %(trace)s || 'g' AND NOT COALESCE(%(named)s, FALSE)
                 UNION ALL
                SELECT id FROM manychat_event
                 WHERE traceparent >= '00-' || %(trace)s || '-' AND traceparent < '00-' || %(trace)s || '-g'
                   AND %(named)s
                """,
                trace=trace_id,
                named=_NAMED,
            )
        )
        return [row[0] for row in self.env.cr.fetchall()]

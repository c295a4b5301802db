from collections import defaultdict
from datetime import timedelta

from odoo import fields, models

from ..rights import access_required

#: How far back the events of a row are counted before it is archived or deleted (days).
DAYS = 7


class ManychatStageMap(models.Model):
    """What a user should know before a row is archived or deleted: which events will wait."""

    _inherit = "manychat.stage.map"  # pylint: disable=consider-merging-classes-inherited

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    def _recent_event_counts(self):
        """How many events of each row were received in the last days: dict of ``manychat.stage.map`` → int."""
        self.env["manychat.event"].flush_model()
        # The stage is inside the payload, where a domain cannot search. The index of the receipt limits the rows.
        self.env.cr.execute(
            """
            SELECT (payload->'state'->>'stage_id')::bigint, payload->'state'->>'stage', count(*)
              FROM manychat_event
             WHERE type = 'opportunity' AND payload IS NOT NULL AND received_at >= %s
             GROUP BY 1, 2
            """,
            [fields.Datetime.now() - timedelta(days=DAYS)],
        )
        found = self.env.cr.fetchall()
        resolve = self._resolver()
        counts = defaultdict(int)
        for number, label, count in found:
            counts[resolve(number, label).sudo(False)] += count
        return counts

    def _uses(self, on_their_way, recent):
        """The ways in which events still use this row, in sentences: list of str."""
        self.ensure_one()
        uses = []
        if on_their_way:
            uses.append(self.env._("Events on their way to it: %s.", on_their_way))
        if recent:
            uses.append(self.env._("Events of the last %(days)s days: %(count)s.", days=DAYS, count=recent))
        if self.alias_ids:
            names = ", ".join(f"“{name}”" for name in self.alias_ids.mapped("display_name"))
            uses.append(self.env._("Aliases that stand for it: %s.", names))
        return uses

    # ------------------------------------------------------------
    # RPC
    # ------------------------------------------------------------

    @access_required("write")
    def get_consequences(self, is_deletion):
        """What happens if these rows are archived or deleted, in the user's language.

        :param bool is_deletion: deleted, not archived
        :return: text that ends with a question; ``False`` if no event uses the rows
        """
        waiting, recent = self._events_on_their_way(), self._recent_event_counts()
        rows = self.filtered("active")
        uses = {row: row._uses(len(waiting.get(row, ())), recent[row]) for row in rows}
        lines = [f"{row.name}: {' '.join(sentences)}" for row, sentences in uses.items() if sentences]
        if not lines:
            return False
        lines.append(
            self.env._(
                "From now on, events of these stages wait under Stage Aliases until you map them again. Opportunities "
                "stay in their pipeline stage."
            )
        )
        if is_deletion:
            if any(row.alias_ids for row in rows):
                lines.append(self.env._("The aliases are deleted, too. Archive instead to keep them."))
            lines.append(self.env._("Delete all the same?"))
        else:
            lines.append(self.env._("Archive all the same?"))
        return "\n".join(lines)

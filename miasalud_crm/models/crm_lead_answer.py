from odoo import api, fields, models
from odoo.tools import SQL

from .manychat_identity import is_applying
from .manychat_migration import migrating

#: The activity type of the team leader.
LEADER = "activity_leader"
#: A wrong value would hide a waiting customer.
KEPT_BY_THE_JOB = ("manychat_answer_due", "manychat_back_at", "manychat_noticed_at")
#: In the context while our activities are written: neither mails nor followers come of them.
SILENT = {"mail_activity_quick_update": True, "manychat_silent": True}


class CrmLead(models.Model):
    """Until when the customer gets an answer, and which of their words were reported to the salesperson."""

    _inherit = "crm.lead"  # pylint: disable=consider-merging-classes-inherited

    manychat_answer_due = fields.Datetime(
        "Answer Due",
        readonly=True,
        copy=False,
        index="btree_not_null",
        help="When the time limit of the stage map is over. Empty if the customer does not wait, or the stage has no "
        "limit.",
    )
    manychat_back_at = fields.Datetime(
        "Back from Lost",
        readonly=True,
        copy=False,
        index="btree_not_null",
        help="When the chat last restored the lost opportunity.",
    )
    manychat_noticed_at = fields.Datetime(
        "Words Reported Until",
        readonly=True,
        copy=False,
        help="The customer's words until then were reported to the salesperson.",
    )
    manychat_answer_overdue = fields.Boolean(
        "Answer Overdue", compute="_compute_manychat_answer_overdue", search="_search_manychat_answer_overdue"
    )

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("manychat_waits_since", "manychat_answer_due")
    def _compute_manychat_answer_overdue(self):
        now = fields.Datetime.now()
        for lead in self:
            due = lead.manychat_waits_since and lead.manychat_answer_due
            lead.manychat_answer_overdue = bool(due) and due <= now

    def _search_manychat_answer_overdue(self, operator, value):
        wanted = True in value if isinstance(value, list | tuple | set | frozenset) else bool(value)
        if operator in ("!=", "not in"):
            wanted = not wanted
        overdue = ["&", ("manychat_waits_since", "!=", False), ("manychat_answer_due", "<=", fields.Datetime.now())]
        return overdue if wanted else ["!", *overdue]

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    def init(self):
        # Each serves one question of the scheduled action, and has only the rows that answer it.
        self.env.cr.execute(
            """
            CREATE INDEX IF NOT EXISTS crm_lead_manychat_unreported ON crm_lead (stage_id, manychat_words_at)
                WHERE manychat_waits_since IS NOT NULL AND user_id IS NOT NULL
                AND (manychat_noticed_at IS NULL OR manychat_noticed_at < manychat_words_at);
            CREATE INDEX IF NOT EXISTS crm_lead_manychat_back ON crm_lead (id)
                WHERE manychat_back_at IS NOT NULL
                AND (manychat_noticed_at IS NULL OR manychat_noticed_at < manychat_back_at)
            """
        )
        return super().init()

    def write(self, vals):
        if "manychat_waits_since" in vals and not vals["manychat_waits_since"]:
            self._manychat_end_waiting(vals.get("manychat_answered_at"))
            vals = {**vals, "manychat_answer_due": False}
        return super().write(vals)

    def action_unarchive(self):
        lost = self.filtered(lambda lead: not lead.active) if is_applying(self.env) else self.browse()
        result = super().action_unarchive()
        if lost and not migrating(self.env):
            lost.sudo().manychat_back_at = fields.Datetime.now()
        return result

    def _message_subscribe(self, *args, **kwargs):
        # A team leader who hears of a late answer does not want each message of the opportunity from then on.
        if self.env.context.get("manychat_silent"):
            return True
        return super()._message_subscribe(*args, **kwargs)

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    def _manychat_protected_fields(self):
        protected = super()._manychat_protected_fields()
        return (*protected, *KEPT_BY_THE_JOB) if not self.env.su else protected

    def _manychat_end_waiting(self, answered_at):
        """Keep for the funnel that customers were answered who waited in a stage with a time limit.

        Only rows are added, which the scheduled action evaluates: it and the user are not in each other's way.

        :param datetime answered_at: by a user; ``None`` or ``False``: the waiting ended without an answer
        """
        # As superuser: every user may read the stage map's limits, whatever they may read of it.
        limited = self.env["manychat.stage.map"].sudo()._limited_stage_ids() if answered_at else ()
        if not limited:
            return
        waiting = self.filtered("manychat_waits_since")
        if waiting:
            # The stage is that of the open period: where a user moves the opportunity, it is the one before.
            self.env.cr.execute(
                SQL(
                    """
                    INSERT INTO manychat_waiting (lead_id, since, answered_at, period_id, hours, start)
                    SELECT period.lead_id, waited.since, %(answered_at)s, period.id, map.answer_hours,
                           CASE WHEN GREATEST(waited.since, period.entered_at) >= map.limited_since
                                THEN GREATEST(waited.since, period.entered_at) ELSE waited.words_at END
                      FROM (VALUES %(waiting)s) AS waited (lead_id, since, words_at)
                      JOIN manychat_stage_history period
                        ON period.lead_id = waited.lead_id AND period.left_at IS NULL
                      JOIN manychat_stage_map map ON map.stage_id = period.stage_id AND map.active
                     WHERE map.answer_hours > 0
                       AND GREATEST(waited.since, waited.words_at, period.entered_at) >= map.limited_since
                    """,
                    answered_at=answered_at,
                    waiting=SQL(", ").join(
                        SQL(
                            "(%s, %s, %s::timestamp)",
                            lead.id,
                            lead.manychat_waits_since,
                            lead.manychat_words_at or None,
                        )
                        for lead in waiting
                    ),
                )
            )

    def _manychat_merge(self, opportunities):
        result = super()._manychat_merge(opportunities)
        # Odoo gives the survivor the activities of all.
        waitings = self.env["manychat.waiting"].sudo()
        activities, newest = waitings._activities(self), waitings._open_notices(self).values()
        (activities - activities.browse().union(*newest)).unlink()
        return result

    def _manychat_has_written(self, message):
        done = message.mail_activity_type_id
        if done and done in self.env["manychat.waiting"]._activity_types(LEADER):
            return False  # the leader has spoken with the salesperson; the customer still waits
        return super()._manychat_has_written(message)

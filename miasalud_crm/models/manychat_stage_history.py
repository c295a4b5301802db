from collections import defaultdict

from odoo import api, fields, models
from odoo.tools import SQL, split_every

CHAT = "chat"
PERSON = "person"
#: Opportunities per read of their past: some ten thousand tracking values, which fit into memory.
BATCH = 1000


class ManychatStageHistory(models.Model):
    """One stage period: an opportunity was in a stage from one moment to another, moved there by the chat or a user.

    Every opportunity that follows a conversation has its periods, from its creation on, and they stay for ever; the
    event log is deleted after the retention time. A lost (archived) opportunity is in no stage; restoring it begins a
    new period. Only the last period of an opportunity may be open, and their dates never go backwards.
    """

    _name = "manychat.stage.history"
    _description = "ManyChat Stage History"
    _order = "id desc"
    _rec_name = "stage_id"

    lead_id = fields.Many2one("crm.lead", "Opportunity", required=True, readonly=True, ondelete="cascade")
    # The periods of a deleted stage stay: the opportunity was somewhere.
    stage_id = fields.Many2one("crm.stage", readonly=True, ondelete="set null")
    previous_stage_id = fields.Many2one("crm.stage", "Came From", readonly=True, ondelete="set null")
    next_stage_id = fields.Many2one("crm.stage", "Went To", readonly=True, ondelete="set null")
    entered_at = fields.Datetime(
        "Entered On",
        required=True,
        readonly=True,
        index=True,
        help="When it happened. For the chat: the date of the event itself.",
    )
    left_at = fields.Datetime("Left On", readonly=True)
    lost = fields.Boolean(readonly=True, help="The period ended because the opportunity was lost or archived.")
    moved_by = fields.Selection([(CHAT, "Chat"), (PERSON, "Person")], required=True, readonly=True)
    user_id = fields.Many2one("res.users", readonly=True, ondelete="set null", help="The person who moved it.")
    # The scheduled action adds them when a waiting ends.
    answers = fields.Integer(readonly=True, help="How often a customer who had waited here for an answer got one.")
    answers_late = fields.Integer(readonly=True, help="How many of these answers came after the time limit.")
    overdue_hours = fields.Float(readonly=True, help="Working hours that customers waited after the time limit.")
    event_id = fields.Char(
        "Event ID", readonly=True, help="The event that moved it. It may no longer be in the event log."
    )

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    def init(self):
        # The first index has what the funnel reads of every period: it need not visit the table, nor sort.
        self.env.cr.execute(
            """
            DROP INDEX IF EXISTS manychat_stage_history_lead;
            CREATE INDEX IF NOT EXISTS manychat_stage_history_periods ON manychat_stage_history (lead_id, id DESC)
               INCLUDE (stage_id, previous_stage_id, next_stage_id, entered_at, left_at, lost, moved_by);
            CREATE UNIQUE INDEX IF NOT EXISTS manychat_stage_history_one_open
                ON manychat_stage_history (lead_id) WHERE left_at IS NULL
            """
        )

    # ------------------------------------------------------------
    # Business: recording
    # ------------------------------------------------------------

    @api.model
    def _record(self, changes, *, begin=True):
        """Record the stages to which opportunities have moved.

        A change to the same stage is ignored. The caller has locked the opportunities' rows.

        :param list changes: dicts, oldest first, with ``lead_id``, ``stage_id`` (``False``: lost or archived),
            ``moment`` (naive UTC), ``moved_by``, and ``user_id`` or ``event_id``
        :param bool begin: whether to begin the history of opportunities that have none; else they are left out
        """
        last = self._last_periods({change["lead_id"] for change in changes})
        begun, ended = [], []
        for change in changes:
            lead_id, stage_id, moment = change["lead_id"], change["stage_id"], change["moment"]
            period = last.get(lead_id)
            if not (period or begin):
                continue
            place = period["stage_id"] if period and not period["left_at"] else False
            if place == stage_id:
                continue
            if period:
                # An event may carry a date up to a day in the future, and a user's move may follow it.
                moment = max(moment, period["left_at"] or period["entered_at"])
            if place:
                period |= {"left_at": moment, "next_stage_id": stage_id, "lost": not stage_id}
                if "id" in period:
                    ended.append(period)
            if stage_id:
                last[lead_id] = {
                    "lead_id": lead_id,
                    "stage_id": stage_id,
                    "previous_stage_id": period["stage_id"] if period else False,
                    "entered_at": moment,
                    "left_at": False,
                    **{name: change.get(name, False) for name in ("moved_by", "user_id", "event_id")},
                }
                begun.append(last[lead_id])
        self._end(ended)  # before the next ones begin: only one period of an opportunity may be open
        self.sudo().create(begun)

    def _end(self, periods):
        if not periods:
            return
        self.env.cr.execute_values(
            """
            UPDATE manychat_stage_history stage_period
               SET left_at = ended.left_at, next_stage_id = ended.next_stage_id, lost = ended.lost
              FROM (VALUES %s) AS ended (id, left_at, next_stage_id, lost)
             WHERE stage_period.id = ended.id
            """,
            [(period["id"], period["left_at"], period["next_stage_id"] or None, period["lost"]) for period in periods],
            template="(%s, %s::timestamp, %s::integer, %s)",
            page_size=BATCH,
        )
        self.browse(period["id"] for period in periods).invalidate_recordset()

    def _last_periods(self, lead_ids):
        """The last period of each opportunity that has one.

        :return dict: lead id → dict of values
        """
        self.flush_model()
        self.env.cr.execute(
            """
            SELECT DISTINCT ON (lead_id) id, lead_id, stage_id, entered_at, left_at, moved_by
              FROM manychat_stage_history
             WHERE lead_id = ANY(%s)
             ORDER BY lead_id, id DESC
            """,
            [list(lead_ids)],
        )
        return {period["lead_id"]: period for period in self.env.cr.dictfetchall()}

    # ------------------------------------------------------------
    # Business: the past of opportunities that were there before
    # ------------------------------------------------------------

    @api.model
    def _begin_all(self):
        """Begin the history of every opportunity that follows a conversation and has none.

        Each installation and upgrade of the addon runs this. Only the first one that has this model finds much to do.
        """
        self._begin(self.env["manychat.identity"].search([("lead_id", "!=", False)]).lead_id)

    @api.model
    def _begin(self, leads):
        """Begin the history of ``leads`` that have none, from the past in Odoo's own tracking values."""
        self.env.flush_all()
        leads = leads.sudo()
        for ids in split_every(BATCH, leads.ids):
            known = self._last_periods(ids)
            self._record(self._tracked_changes([lead_id for lead_id in ids if lead_id not in known]))

    def _tracked_changes(self, lead_ids):
        """The changes of these opportunities since their creation, oldest first, as :meth:`_record` takes them."""
        tracked = defaultdict(list)
        for lead_id, *change in self.env.execute_query(
            SQL(
                """
                SELECT message.res_id, message.date, message.create_uid, field.name,
                       value.old_value_integer, value.new_value_integer
                  FROM mail_message message
                  JOIN mail_tracking_value value ON value.mail_message_id = message.id
                  JOIN ir_model_fields field ON field.id = value.field_id
                 WHERE message.model = 'crm.lead' AND message.res_id = ANY(%s)
                   AND field.model = 'crm.lead' AND field.name IN ('stage_id', 'active')
                 ORDER BY message.date DESC, value.id DESC
                """,
                lead_ids,
            )
        ):
            tracked[lead_id].append(change)
        stages = set(self.env["crm.stage"].search([("id", "!=", False)]).ids)
        bridge = self.env.ref("miasalud_crm.user_bridge", raise_if_not_found=False)
        changes = []
        for lead in self.env["crm.lead"].sudo().browse(lead_ids):
            for moment, user_id, stage_id in _states(lead, tracked[lead.id]):
                if stage_id and stage_id not in stages:
                    continue  # a stage that was deleted since
                by_chat = bool(bridge) and user_id == bridge.id
                changes.append(
                    {
                        "lead_id": lead.id,
                        "stage_id": stage_id,
                        "moment": moment,
                        "moved_by": CHAT if by_chat else PERSON,
                        "user_id": False if by_chat else user_id,
                    }
                )
        return changes


def _states(lead, tracked):
    """The states of ``lead`` since its creation: list of moment, user id, and stage id or ``False`` while lost.

    Read backwards from the present state, which leaves out changes that do not lead to it: a merged opportunity also
    has the messages of the opportunities that it absorbed.

    :param list tracked: tuples of moment, user id, field, old and new value, newest first
    """
    state = {"stage_id": lead.stage_id.id, "active": int(lead.active)}
    states = []
    for moment, user_id, field, old, new in tracked:
        if (new or 0) == (state[field] or 0) and (old or 0) != (new or 0):
            if not states or states[-1][0] != moment:  # restored and moved at once is one change
                states.append((moment, user_id, state["active"] and state["stage_id"]))
            state[field] = old or 0
    entered = lead.create_date
    if state["stage_id"] == lead.stage_id.id:
        entered = max(entered, lead.date_last_stage_update or entered)
    states.append((entered, lead.create_uid.id, state["active"] and state["stage_id"]))
    return [(moment, user_id, stage_id or False) for moment, user_id, stage_id in reversed(states)]

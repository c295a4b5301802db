from odoo import api, fields, models

from bridge.contract.opportunity_state import Actor

from ..actor import acting
from ..apply.state import read_page
from ..decisions import WATCHED, by, decisions_of, in_write, is_deciding, remember_flushed, writing
from ..rights import bridge_only

#: States in one answer, at most.
MOST_STATES = 1000


class CrmLead(models.Model):
    """What people, automations and imports decide about opportunities that follow a conversation, for SQL and the bot.

    An event of the conversation is no decision: the bridge gets the state with the answer to the event.
    """

    _inherit = "crm.lead"  # pylint: disable=consider-merging-classes-inherited

    manychat_first_answered_at = fields.Datetime(
        "Our First Action",
        readonly=True,
        copy=False,
        help="When a user first wrote in the chatter, did an activity, moved the opportunity, or pressed Answered.",
    )

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    @api.model_create_multi
    def create(self, vals_list):
        leads = super().create(vals_list)
        followed = leads.sudo().filtered("x_manychat_id") if is_deciding(self.env) else self.browse()
        if followed and (decisions := decisions_of(self.env)):
            new = {"is_new": True, **by(self.env)}
            decisions.leads.update(dict.fromkeys(followed.ids, new))
            decisions.touched |= {*followed.ids}
        return leads

    def write(self, vals):
        if vals.keys().isdisjoint(WATCHED) or not (decisions := self._manychat_remember()):
            return super().write(vals)
        mine = {*self.ids} & decisions.leads.keys() - in_write()
        with writing(mine):
            result = super().write(vals)
        decisions_of(self.env).go_on(decisions, mine, by(self.env))
        return result

    def _write_multi(self, vals_list):
        remember_flushed(self, vals_list)
        return super()._write_multi(vals_list)

    def unlink(self):
        identities = self.sudo().filtered("x_manychat_id").manychat_identity_ids
        with identities._ending():
            return super().unlink()

    @api.model
    def load(self, fields, data):
        with acting(Actor.IMPORT):
            return super().load(fields, data)

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    def _manychat_remember(self):
        """Remember what is there before a change, unless an event makes it.

        :return: the :class:`..decisions.Decisions` of the transaction; ``None`` if there is nothing to remember
        """
        followed = self.sudo().filtered("x_manychat_id") if is_deciding(self.env) else self.browse()
        if not followed or not (decisions := decisions_of(self.env)):
            return None
        # What begins counts: an automation that follows a person's move belongs to that move.
        decisions.touched |= {*followed.ids}
        if unknown := followed.filtered(lambda lead: lead.id not in decisions.leads):
            made_by = by(self.env)
            decisions.leads |= {lead.id: {**lead._manychat_watched(), **made_by} for lead in unknown}
        return decisions

    def _manychat_watched(self):
        return {
            "is_new": False,
            "stage_id": self.stage_id.id or None,
            "is_won": self.stage_id.is_won,
            "active": self.active,
            "lost_reason_id": self.lost_reason_id.id or None,
            "user_id": self.user_id.id or None,
            "team_id": self.team_id.id or None,
            "company_id": (self.company_id or self.team_id.company_id).id or None,
            "advisor_id": self.manychat_medical_advisor_id.id or None,
            "expected_revenue": self.expected_revenue,
            "date_closed": self.date_closed.isoformat() if self.date_closed else None,
            "first_answered_at": first.isoformat() if (first := self.manychat_first_answered_at) else None,
        }

    def _manychat_protected_fields(self):
        protected = super()._manychat_protected_fields()
        return (*protected, "manychat_first_answered_at") if not self.env.su else protected

    def _manychat_answer(self, moment):
        # An opportunity that was answered before this field was there has no first answer that is known.
        first = self.sudo().filtered(lambda lead: lead.x_manychat_id and not lead.manychat_answered_at)
        result = super()._manychat_answer(moment)
        for lead in first:
            lead.manychat_first_answered_at = lead.manychat_answered_at
        return result

    def _manychat_merged_waiting(self):
        first = [lead.manychat_first_answered_at for lead in self if lead.manychat_first_answered_at]
        return {**super()._manychat_merged_waiting(), "manychat_first_answered_at": min(first, default=False)}

    # ------------------------------------------------------------
    # RPC
    # ------------------------------------------------------------

    @api.model
    @bridge_only
    def manychat_get_states(self, after=0, limit=500, manychat_ids=None):
        """The states of opportunities, for the back-fill. For the group “ManyChat Bridge”, over RPC.

        An opportunity that another transaction is changing is left out: a decision of that transaction may come.

        :param int after: the ``after`` of the answer before; 0 at first
        :param int limit: people in one answer
        :param list manychat_ids: only these people, for those that were busy; ``after`` does not count then
        :return dict: ``states``: dicts of ``manychat_id`` and the fields of
            ``bridge.contract.opportunity_state.OpportunityState``; ``busy``: ManyChat ids to ask for again;
            ``after``: for the next call, ``False`` after the last people; ``unknown``: those of ``manychat_ids`` that
            have no opportunity
        :raises AccessError: the caller is not in that group
        """
        limit = max(1, min(int(limit), MOST_STATES))
        asked = None if manychat_ids is None else [str(each) for each in manychat_ids][:MOST_STATES]
        rows = read_page(self.env, int(after or 0), MOST_STATES if asked is not None else limit, asked)
        is_last = asked is not None or len(rows) < limit
        return {
            "states": [{"manychat_id": row["manychat_id"], **row["state"]} for row in rows if row["state"]],
            "busy": [row["manychat_id"] for row in rows if not row["state"]],
            "after": False if is_last else rows[-1]["id"],
            "unknown": sorted({*(asked or ())} - {row["manychat_id"] for row in rows}),
        }

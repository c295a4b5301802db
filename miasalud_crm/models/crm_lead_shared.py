"""Opportunities that follow several conversations: merged ones. SQL and ManyChat have a state for each of these."""

import hashlib
from collections import defaultdict

from odoo import models

from bridge.contract.event import Event
from bridge.contract.opportunity_state import Actor, OpportunityState, Status
from bridge.contract.payloads import Decided, Decision, EventType

from .. import relay_thread
from ..decisions import decisions_of

#: Outcomes after which an opportunity is not what it was.
_CHANGES = ("created", "moved", "updated")


class CrmLead(models.Model):
    _inherit = "crm.lead"  # pylint: disable=consider-merging-classes-inherited

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    def _manychat_record_for_others(self, events, results, states):
        """Record what an event changed for the other conversations of its opportunity. Its answer is about its own.

        :param list events: of the batch, oldest first
        :param dict results: of the batch, by event id, with the names of the stages
        :param dict states: ManyChat id → state after the batch as JSON
        """
        shared = defaultdict(dict)
        for manychat_id, state in states.items():
            shared[state["lead_id"]][manychat_id] = state
        changes = [
            (event, results[event.id])
            for event in events
            if results[event.id]["status"] in _CHANGES and results[event.id]["code"] != "duplicate"
        ]
        for lead_id, of_lead in shared.items():
            if len(of_lead) == 1 or not decisions_of(self.env):
                continue
            mine = [change for change in changes if change[1]["lead_id"] == lead_id]
            for manychat_id, state in sorted(of_lead.items()):
                self._manychat_record_for_other(manychat_id, OpportunityState.model_validate(state), mine)

    def _manychat_record_for_other(self, manychat_id, state, changes):
        """Record one decision of what other conversations changed since this one changed the opportunity last.

        :param list changes: pairs of event and result
        """
        own = [place for place, (event, _result) in enumerate(changes) if event.manychat_id == manychat_id]
        moves = [place for place in own if changes[place][1]["status"] != "updated"]
        news = [each for each in changes[moves[-1] + 1 if moves else 0 :] if each[0].manychat_id != manychat_id]
        moved = [result for _event, result in news if result["status"] == "moved"]
        if not news or (own and not moved):
            return  # its own answer says it all
        event = news[0][0]
        decided = (Decided.STAGE,) if moved else (Decided.DETAIL,)
        if moved and state.status == Status.WON:
            decided += (Decided.WON,)
        stage_before = (moved[0]["stage_before"] if moved else state.stage) or None
        payload = Decision(
            manychat_id=manychat_id, decided=decided, by=Actor.CHAT, stage_before=stage_before, state=state
        )
        decision = Event(
            hashlib.sha256(f"{event.id} {manychat_id}".encode()).hexdigest(),
            EventType.DECISION,
            state.as_of,
            "odoo",
            payload,
            traceparent=event.traceparent,
        )
        log = self.env["manychat.event"].sudo()
        if log._insert(decision, "pending"):
            log.search([("event_id", "=", decision.id)]).lead_id = state.lead_id
            relay_thread.wake_after_commit(self.env.cr)

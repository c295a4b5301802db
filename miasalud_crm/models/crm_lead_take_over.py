from datetime import timedelta, timezone

from odoo import fields, models

from .. import private_sql
from ..apply import known_people
from ..decisions import meet
from ..moments import naive_utc


class CrmLead(models.Model):
    """Taking over: the conversation of a person whom Odoo knows as a contact follows the opportunity they have."""

    _inherit = "crm.lead"  # pylint: disable=consider-merging-classes-inherited

    def _manychat_take_over(self, new_contacts, batch):
        """Link the conversations of known people to their present opportunities, before any of these events is applied.

        :param list new_contacts: pairs of event and ``manychat.stage.map``, one for each ID without opportunity
        :param EventBatch batch: its ``leads`` and ``customers`` are extended
        :raises psycopg2.errors.SerializationFailure: another transaction works on one of the opportunities
        """
        batch.customers |= known_people.find(self.env, [event.manychat_id for event, _stage_map in new_contacts])
        partners = [
            batch.customers[event.manychat_id] for event, _ in new_contacts if event.manychat_id in batch.customers
        ]
        leads_of = self._manychat_without_identity(
            self.env["res.partner"].browse(pid for each in partners for pid in each.ids)
        )
        chosen = []
        for event, stage_map in new_contacts:
            leads = self.browse(
                lead.id for partner in batch.customers.get(event.manychat_id, ()) for lead in leads_of.get(partner, ())
            )
            lead, others = leads._manychat_choose(naive_utc(event.occurred_at), stage_map.stage_id)
            if lead:
                chosen.append((event.manychat_id, lead, others))
        if chosen:
            self._manychat_link(chosen)
            batch.leads |= {manychat_id: lead for manychat_id, lead, _others in chosen}
            batch.taken_over |= {manychat_id for manychat_id, _lead, _others in chosen}

    def _manychat_without_identity(self, partners):
        """The opportunities and leads of ``partners`` that follow no conversation: dict of ``res.partner`` → leads."""
        domain = [("partner_id", "in", partners.ids), ("manychat_identity_ids", "=", False)]
        return self.with_context(active_test=False).search(domain).with_env(self.env).grouped("partner_id")

    def _manychat_choose(self, moment, stage):
        """The one of a person's opportunities that a new conversation goes on with, and others that it might have.

        An open one: an opportunity before a lead, and a newer one before an older one. Else a closed one that a user
        closed after the event: it stays closed, because the decision is newer. Else, if the event wins, one that is won
        already. In all other cases a new opportunity follows: a closed one was about something else.

        :param datetime moment: when the event happened, in naive UTC
        :param stage: ``crm.stage`` of the event
        :return tuple: ``crm.lead``, maybe empty, and ``crm.lead``
        """
        is_open = self.filtered(lambda lead: lead.active and not lead.stage_id.is_won)
        closed = (self - is_open).filtered(lambda lead: lead.type == "opportunity")
        groups = (
            is_open.filtered(lambda lead: lead.type == "opportunity"),
            is_open.filtered(lambda lead: lead.type == "lead"),
            closed.filtered(lambda lead: lead.date_closed and lead.date_closed > moment),
            closed.filtered(lambda lead: lead.active and stage.is_won),
        )
        for group in groups:
            if group:
                newest = group.sorted(lambda lead: (lead.create_date, lead.id))[-1]
                return newest, group - newest
        return self.browse(), self.browse()

    def _manychat_link(self, chosen):
        """Make opportunities follow conversations. Each begins its history, and keeps its user's decisions.

        :param list chosen: tuples of ManyChat id, lead, and the leads that might have been chosen as well
        """
        leads = self.browse(lead.id for _manychat_id, lead, _others in chosen)
        # Also against a bridge that sees the person for the first time at this moment.
        statement = "SELECT id FROM crm_lead WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE NOWAIT"
        private_sql.fetch(self.env.cr, statement, [leads.ids])
        meet(leads)
        self.env["manychat.identity"].create(
            [
                {
                    "manychat_id": manychat_id,
                    "lead_id": lead.id,
                    "duplicate_lead_ids": [fields.Command.set(others.ids)],
                }
                for manychat_id, lead, others in chosen
            ]
        )
        history = self.env["manychat.stage.history"]
        history._begin(leads)
        periods = history._last_periods(leads.ids)
        for lead in leads:
            if moment := lead._manychat_decided_at(periods.get(lead.id)):
                lead._manychat_mark_manual_move(moment.replace(tzinfo=timezone.utc))

    def _manychat_decided_at(self, period):
        """When a user last decided where the opportunity is, in naive UTC; ``None`` if it is where it began.

        :param dict period: the last one of its stage history, or ``None``
        """
        self.ensure_one()
        if period and period["left_at"]:
            return max(period["left_at"], self.date_closed or period["left_at"])
        moved_at = period["entered_at"] if period else self.date_last_stage_update
        if not moved_at:
            return None
        is_moved = moved_at > self.create_date + timedelta(seconds=1)
        # A user chose the stage of an opportunity that did not begin in the first one.
        is_chosen = is_moved or self.stage_id != self._stage_find(domain=[("fold", "=", False)])
        return moved_at if is_chosen else None

    def _manychat_customer_values(self, event, team, batch):
        """The known contact as the customer of a new opportunity; empty if there is none, or of another company.

        Odoo refuses a customer of another company. Nothing is written to the contact: see ``_inverse_phone``.
        """
        partner = batch.customers.get(event.manychat_id, self.env["res.partner"])[:1]
        is_fitting = partner and (not partner.company_id or partner.company_id == team.company_id)
        return {"partner_id": partner.id} if is_fitting else {}

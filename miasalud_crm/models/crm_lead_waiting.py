from datetime import datetime, timezone
from textwrap import shorten

from odoo import SUPERUSER_ID, api, fields, models

from ..moments import naive_utc
from ..rights import access_required
from .crm_lead_team import MERGING
from .manychat_identity import is_applying
from .manychat_migration import migrating

#: Types of messages that a user writes. *Notification* is Odoo's own, and counts only for a completed activity.
WRITTEN = ("comment", "email", "sms", "whatsapp_message", "snailmail")

#: Characters of the last words on a card. More do not fit into two lines.
WORDS_SHOWN = 240


class CrmLead(models.Model):
    """When the customer wrote, when we answered, and since when the customer waits for us.

    The customer waits from the first words after our last action on. Words are the summary of an event. Our actions are
    those of an Odoo user that reach the customer or decide about the opportunity: a message or note in the chatter, a
    completed activity, a move, *Lost*, *Restore*, and the button *Answered*. A closed opportunity waits for no answer.
    """

    _inherit = "crm.lead"  # pylint: disable=consider-merging-classes-inherited

    manychat_words_at = fields.Datetime(
        "Customer Wrote",
        readonly=True,
        copy=False,
        index="btree_not_null",
        help="When the newest event that brought words of the customer happened. The words are the last summary.",
    )
    manychat_answered_at = fields.Datetime(
        "Our Last Action",
        readonly=True,
        copy=False,
        help="When a user last wrote in the chatter, did an activity, moved the opportunity, or pressed Answered.",
    )
    manychat_waits_since = fields.Datetime(
        "Waits for Us Since",
        readonly=True,
        copy=False,
        index="btree_not_null",
        help="When the customer wrote first after our last action. Empty if we acted last.",
    )

    manychat_words = fields.Char("Last Words", compute="_compute_manychat_words", exportable=False)

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("manychat_summary", "manychat_words_at")
    def _compute_manychat_words(self):
        for lead in self:
            words = lead.manychat_words_at and " ".join((lead.manychat_summary or "").split())
            lead.manychat_words = words and shorten(words, WORDS_SHOWN, placeholder="…")

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    def _message_post_after_hook(self, message, msg_values):
        result = super()._message_post_after_hook(message, msg_values)
        if self._manychat_has_written(message):
            self._manychat_answer(datetime.now(timezone.utc))
        return result

    def _message_mail_after_hook(self, mails):
        # A user has written to several customers from the list. A campaign of Odoo's Email Marketing answers none.
        result = super()._message_mail_after_hook(mails)
        is_campaign = "mailing_id" in mails._fields and mails.sudo().mailing_id
        if not is_campaign and self._manychat_is_person(self.env.user):
            self._manychat_answer(datetime.now(timezone.utc))
        return result

    # ------------------------------------------------------------
    # Actions
    # ------------------------------------------------------------

    @access_required("write")
    def action_manychat_answered(self):
        """Record that the customers were answered elsewhere: on the telephone, in ManyChat, on WhatsApp."""
        waiting = self.filtered("manychat_waits_since")
        waiting._manychat_answer(datetime.now(timezone.utc))
        note = self.env._("Marked as answered.")
        waiting._message_log_batch(bodies=dict.fromkeys(waiting.ids, note))

    @access_required("write")
    def action_manychat_waits_again(self):
        """Undo *Answered*: the customer waits since their last words."""
        answered = self.filtered(lambda lead: lead.manychat_words_at and lead._manychat_is_open())
        for lead in answered:
            lead.sudo().manychat_waits_since = lead.manychat_words_at
        note = self.env._("Marked as not answered yet.")
        answered._message_log_batch(bodies=dict.fromkeys(answered.ids, note))

    # ------------------------------------------------------------
    # Business: our actions
    # ------------------------------------------------------------

    def _manychat_answer(self, moment):
        """Record an action of a user. Only on opportunities that follow a conversation: others never wait.

        :param datetime moment: when, with time zone
        """
        leads = self.filtered(lambda lead: lead.x_manychat_id or lead.manychat_waits_since)
        # As superuser: the fields are readonly, and a follower who may only read may write in the chatter.
        leads.sudo().write({"manychat_answered_at": naive_utc(moment), "manychat_waits_since": False})

    def _manychat_answer_by_move(self, moment):
        """Record that the opportunities were moved, lost or restored. A scheduled action that closes one answers too.

        :param datetime moment: when, with time zone
        """
        if self.env.context.get(MERGING):  # it puts the survivor into a stage of its team
            return
        if self._manychat_is_person(self.env.user):
            self._manychat_answer(moment)
        else:
            closed = self.filtered(lambda lead: not lead._manychat_is_open())
            closed.filtered("manychat_waits_since").sudo().write({"manychat_waits_since": False})

    def _manychat_is_open(self):
        return self.active and not self.stage_id.is_won

    def _manychat_has_written(self, message):
        """Whether a user wrote ``message``, or completed an activity by it."""
        if message.message_type not in WRITTEN and not message.mail_activity_type_id:
            return False
        author = message.author_id
        users = self.env.user if author == self.env.user.partner_id else author.sudo().user_ids
        return any(self._manychat_is_person(user) for user in users)

    def _manychat_is_person(self, user):
        """Whether ``user`` is one of us: no customer with a login, no machine, and the chat is not at work."""
        if is_applying(self.env) or user.id == SUPERUSER_ID or not user._is_internal():
            return False
        return user._manychat_machine_calls(user.id) is None

    # ------------------------------------------------------------
    # Business: the customer's words
    # ------------------------------------------------------------

    def _manychat_create_values(self, event, stage_map, *args):
        values = super()._manychat_create_values(event, stage_map, *args)
        waiting = self.browse()._manychat_waiting_values(event, stage_map, stage_map.stage_id, is_newest=True)
        return values | waiting

    def _manychat_waiting_values(self, event, entered, stage, *, is_newest):
        """What an event changes of the waiting; without what stays the same.

        The order in which events arrive does not matter: the wait begins with the earliest unanswered words.

        :param bridge.contract.event.Event event:
        :param entered: ``manychat.stage.map`` of the stage that the event moves the opportunity into, or an empty one
        :param stage: ``crm.stage`` after the event
        :param bool is_newest: whether no newer event has brought words
        """
        # A clock may run ahead, but the customer wrote before the receipt.
        moment = naive_utc(min(event.occurred_at, event.received_at))
        has_words = bool(event.payload.state.summary)
        values = {"manychat_words_at": moment} if has_words and is_newest else {}
        is_unanswered = not self.manychat_answered_at or moment > self.manychat_answered_at
        if (self and not self.active) or stage.is_won:
            values["manychat_waits_since"] = False
        elif migrating(self.env):
            pass  # the people of the old system have answered
        elif is_unanswered and (has_words or entered.answer_hours > 0):
            values["manychat_waits_since"] = min(moment, self.manychat_waits_since or moment)
        return {name: value for name, value in values.items() if value != self[name]}

    def _manychat_merged_waiting(self):
        """What the survivor of a merge of ``self`` says about the waiting: the newest words, the longest wait."""
        waiting = [lead.manychat_waits_since for lead in self if lead.manychat_waits_since]
        answered = [lead.manychat_answered_at for lead in self if lead.manychat_answered_at]
        values = {
            "manychat_waits_since": min(waiting, default=False),
            "manychat_answered_at": max(answered, default=False),
        }
        if said := self.filtered("manychat_words_at"):
            latest = max(said, key=lambda lead: lead.manychat_words_at)
            values |= {"manychat_words_at": latest.manychat_words_at, "manychat_summary": latest.manychat_summary}
        return values

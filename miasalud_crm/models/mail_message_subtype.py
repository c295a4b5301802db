from odoo import api, models

#: Odoo's own subtypes of changes to an opportunity, and those that say that the chat did it.
BY_CHAT = {
    "crm.mt_lead_create": "miasalud_crm.mt_chat_create",
    "crm.mt_lead_stage": "miasalud_crm.mt_chat_stage",
    "crm.mt_lead_won": "miasalud_crm.mt_chat_won",
    "crm.mt_lead_restored": "miasalud_crm.mt_chat_restored",
}


class MailMessageSubtype(models.Model):
    _inherit = "mail.message.subtype"

    @api.model
    def _manychat_by_chat(self):
        """Dict of Odoo's own subtype → the chat's. A subtype's description is what each reader sees in their language."""
        pairs = {
            self.env.ref(own, raise_if_not_found=False): self.env.ref(chats, raise_if_not_found=False)
            for own, chats in BY_CHAT.items()
        }
        return {own: chats for own, chats in pairs.items() if own and chats}


class MailFollowers(models.Model):
    _inherit = "mail.followers"

    def _get_recipient_data(self, records, message_type, subtype_id, pids=None):
        # Who follows a kind of change, follows it whether the chat has made it or a person.
        if records is not None and records._name == "crm.lead":
            own = {chats.id: own.id for own, chats in self.env["mail.message.subtype"]._manychat_by_chat().items()}
            subtype_id = own.get(subtype_id, subtype_id)
        return super()._get_recipient_data(records, message_type, subtype_id, pids=pids)

from odoo import api, models

#: Odoo's own subtypes of changes to an opportunity, and those that say that the chat did it: a subtype's description is
#: what each reader sees in the chatter, in their own language.
BY_CHAT = (
    ("crm.mt_lead_create", "miasalud_crm.mt_chat_create"),
    ("crm.mt_lead_stage", "miasalud_crm.mt_chat_stage"),
    ("crm.mt_lead_won", "miasalud_crm.mt_chat_won"),
    ("crm.mt_lead_restored", "miasalud_crm.mt_chat_restored"),
)


class MailMessageSubtype(models.Model):
    _inherit = "mail.message.subtype"

    def _manychat_by_chat(self):
        """The subtype that says the same as this one (maybe an empty one), and that the chat did it."""
        return self.browse(self._manychat_pairs().get(self.id, self.id))

    @api.model
    def _manychat_pairs(self):
        """Dict of the id of each of Odoo's own subtypes → the id of the chat's."""
        find = self.env["ir.model.data"]._xmlid_to_res_id  # cached, unlike env.ref()
        pairs = {find(own, raise_if_not_found=False): find(chats, raise_if_not_found=False) for own, chats in BY_CHAT}
        return {own: chats for own, chats in pairs.items() if own and chats}


class MailFollowers(models.Model):
    _inherit = "mail.followers"

    def _get_recipient_data(self, records, message_type, subtype_id, pids=None):
        # Who follows a kind of change, follows it whether the chat has made it or a person.
        if records is not None and records._name == "crm.lead":
            own = {chats: own for own, chats in self.env["mail.message.subtype"]._manychat_pairs().items()}
            subtype_id = own.get(subtype_id, subtype_id)
        return super()._get_recipient_data(records, message_type, subtype_id, pids=pids)

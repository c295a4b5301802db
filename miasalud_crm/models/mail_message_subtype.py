from odoo import api, models

from ..apply.history import Gathering, Recipients

#: Odoo's own subtypes of changes to an opportunity, and the subtypes for changes by the chat. The chatter shows the
#: description of a subtype to each reader in their own language.
BY_CHAT = (
    ("crm.mt_lead_create", "miasalud_crm.mt_chat_create"),
    ("crm.mt_lead_stage", "miasalud_crm.mt_chat_stage"),
    ("crm.mt_lead_won", "miasalud_crm.mt_chat_won"),
    ("crm.mt_lead_restored", "miasalud_crm.mt_chat_restored"),
)


class MailMessageSubtype(models.Model):
    _inherit = "mail.message.subtype"

    def exists(self):
        # Odoo asks for each opportunity of a batch again, while nothing deletes a subtype.
        gathered = Gathering.of(self.env)
        if not gathered:
            return super().exists()
        if not gathered.subtype_ids.issuperset(self._ids):
            gathered.subtype_ids.update(super().exists()._ids)
        return self.browse(each for each in self._ids if each in gathered.subtype_ids)

    def _manychat_by_chat(self):
        """The subtype for the same change by the chat; this one (maybe empty) if there is none."""
        return self.browse(self._manychat_pairs().get(self.id, self.id))

    @api.model
    def _manychat_pairs(self):
        """Ids of Odoo's own subtypes → ids of the chat's: dict."""
        find = self.env["ir.model.data"]._xmlid_to_res_id  # cached, unlike env.ref()
        pairs = {find(own, raise_if_not_found=False): find(chats, raise_if_not_found=False) for own, chats in BY_CHAT}
        return {own: chats for own, chats in pairs.items() if own and chats}


class MailFollowers(models.Model):
    _inherit = "mail.followers"

    def _get_recipient_data(self, records, message_type, subtype_id, pids=None):
        known = None if pids else Recipients.take(records, message_type, subtype_id)
        if known is not None:
            return {records.id: known}
        # A follower of a kind of change gets it from the chat and from users.
        if records is not None and records._name == "crm.lead":
            own = {chats: own for own, chats in self.env["mail.message.subtype"]._manychat_pairs().items()}
            subtype_id = own.get(subtype_id, subtype_id)
        return super()._get_recipient_data(records, message_type, subtype_id, pids=pids)

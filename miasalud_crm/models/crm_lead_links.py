import re
from urllib.parse import quote

from odoo import api, fields, models

from ..moments import iso_utc

#: The address of a conversation in ManyChat, with a placeholder for the person's id.
CHAT_URL_PARAMETER = "miasalud_crm.chat_url"
CHAT_URL_ID = "{manychat_id}"


class CrmLead(models.Model):
    """Links to the conversations of an opportunity, in ManyChat and in WhatsApp. A merged one has several."""

    _inherit = "crm.lead"  # pylint: disable=consider-merging-classes-inherited

    manychat_chat_url = fields.Char("Chat in ManyChat", compute="_compute_manychat_links")
    manychat_whatsapp_url = fields.Char("Chat in WhatsApp", compute="_compute_manychat_links")
    manychat_chats = fields.Json("Chats in ManyChat", compute="_compute_manychat_links", exportable=False)
    manychat_whatsapps = fields.Json("Chats in WhatsApp by Number", compute="_compute_manychat_links", exportable=False)

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("x_manychat_id", "phone", "phone_sanitized")
    def _compute_manychat_links(self):
        template = self.env["ir.config_parameter"].sudo().get_param(CHAT_URL_PARAMETER) or ""
        # As superuser: a user who may read the opportunity may open its chats.
        following = {lead: lead.sudo().manychat_identity_ids for lead in self if lead.x_manychat_id}
        merged = [identity.id for identities in following.values() if len(identities) > 1 for identity in identities]
        dates = self.env["manychat.identity"].sudo().browse(merged)._conversation_dates()
        for lead in self:
            identities = following.get(lead, self.env["manychat.identity"])
            # The newest conversation first; those without a date in the order of their IDs.
            identities = identities.sorted(lambda each: str(dates.get(each.manychat_id, "")), reverse=True)
            chats = [_chat(template, each, dates.get(each.manychat_id)) for each in identities] if template else []
            numbers = dict.fromkeys(filter(None, map(_digits, lead._manychat_numbers(identities))))
            whatsapps = [{"url": f"https://wa.me/{digits}", "name": f"+{digits}"} for digits in numbers]
            lead.manychat_chats, lead.manychat_whatsapps = chats or False, whatsapps or False
            lead.manychat_chat_url = chats[0]["url"] if chats else False
            lead.manychat_whatsapp_url = whatsapps[0]["url"] if whatsapps else False

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    def _manychat_numbers(self, identities):
        """The telephone numbers of the person: the opportunity's own, and those of the chats that were merged."""
        return [self._manychat_number(), *identities.mapped("phone")] if identities else []

    def _manychat_number(self):
        """The opportunity's telephone number with its country code, which Odoo finds if it can; else as it is."""
        is_international = (self.phone or "").strip().startswith("+")
        return self.phone if is_international else self.phone_sanitized or self.phone


def _chat(template, identity, moment):
    """The link to one conversation.

    :param datetime moment: when its newest event happened, in naive UTC; ``None`` if that is not known
    """
    url = template.replace(CHAT_URL_ID, quote(identity.manychat_id, safe=""))
    return {"url": url, "name": identity.manychat_id, "at": iso_utc(moment)}


def _digits(number):
    """The digits of an international number, as WhatsApp's links take it; empty for any other.

    https://faq.whatsapp.com/5913398998672934
    """
    number = (number or "").strip()
    return re.sub(r"\D", "", number) if number.startswith("+") else ""

from odoo import fields, models


class CrmLead(models.Model):
    """When the customer wrote, when we answered, and since when the customer waits for us."""

    _inherit = "crm.lead"  # pylint: disable=consider-merging-classes-inherited

    manychat_words_at = fields.Datetime(
        "Customer Wrote",
        readonly=True,
        copy=False,
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

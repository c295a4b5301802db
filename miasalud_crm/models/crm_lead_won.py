from odoo import models

from ..rights import access_required

#: In the context while opportunities of the chat are won.
BY_MAP = "manychat_won_by_map"


class CrmLead(models.Model):
    """*Won* leads an opportunity of the chat to the won stage of the chat.

    Odoo chooses the next won stage in the pipeline's order. In a pipeline with another won stage, that may be one that
    ManyChat does not know.
    """

    _inherit = "crm.lead"  # pylint: disable=consider-merging-classes-inherited

    # ------------------------------------------------------------
    # Actions
    # ------------------------------------------------------------

    @access_required("write")
    def action_set_won(self):
        mapped = self.filtered("x_manychat_id")
        if mapped:
            stages = self.env["manychat.stage.map"]._mapped_stages()
            mapped = mapped.filtered(lambda lead: lead.stage_id in stages)
        if not mapped:
            return super().action_set_won()
        if others := self - mapped:
            super(CrmLead, others).action_set_won()
        return super(CrmLead, mapped.with_context(**{BY_MAP: True})).action_set_won()

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    def _stage_find(self, *args, **kwargs):
        stages = super()._stage_find(*args, **kwargs)
        if self.env.context.get(BY_MAP):
            stages = stages & self.env["manychat.stage.map"]._mapped_stages() or stages
        return stages

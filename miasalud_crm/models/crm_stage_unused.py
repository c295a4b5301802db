import re

from odoo import api, models
from odoo.tools import SQL

from .manychat_stage_decision import KEEP

#: Texts in which another app, an automation or a server action may name a stage: models and their fields.
TEXTS = {
    "ir.actions.server": ("code",),
    "base.automation": ("filter_domain", "filter_pre_domain"),
    "crm.team": ("assignment_domain",),
    "crm.team.member": ("assignment_domain", "assignment_domain_preferred"),
    "ir.rule": ("domain_force",),
}
#: The numbers that a domain or Python code compares a stage with: ('stage_id', 'in', [1, 2]), stage_id.id == 3
NUMBERS = re.compile(r"stage_id(?:\.id)?['\"\])]*[\s,:=!<>'\"]*(?:not in|in)?[\s,'\"\[(]*(\d[\d\s,]*)")


class CrmStage(models.Model):
    """Which stages of the pipeline are not used, as far as Odoo's records say."""

    _inherit = "crm.stage"  # pylint: disable=consider-merging-classes-inherited

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @api.model
    def _manychat_pipeline(self):
        """All stages, in order. There are few."""
        return self.search([])  # pylint: disable=no-search-all

    @api.model
    def _manychat_in_the_way(self):
        """Unused stages that stand open before a mapped one, and that no sales manager has decided to keep.

        Cheap enough for a call every few seconds: other records are searched only if a stage is in question.
        """
        stages = self._manychat_pipeline()
        mapped = self.env["manychat.stage.map"]._mapped_stages()
        before = stages[: max((index for index, stage in enumerate(stages) if stage in mapped), default=0)]
        kept = self.env["manychat.stage.decision"].search([("choice", "=", KEEP)]).stage_id
        unused = before.filtered(lambda stage: not stage.fold) - mapped - kept
        unused = unused and unused._manychat_unused()
        return unused and unused - unused._manychat_entries()

    @api.model
    def _manychat_all_unused(self):
        """All stages that are not used, in order."""
        return self._manychat_pipeline()._manychat_unused()

    def _manychat_unused(self):
        """Those of these stages that no map row names, that no opportunity is in (archived ones and leads included),
        and that no other record names."""
        empty = self._manychat_empty()
        return empty and empty - empty._manychat_named_elsewhere()

    def _manychat_empty(self):
        self.env["crm.lead"].flush_model(["stage_id"])
        self.env["manychat.stage.map"].flush_model(["stage_id"])
        # As superuser: what the user may not see is there all the same. By SQL: it stops at the first opportunity.
        self.env.cr.execute(
            SQL(
                """
                SELECT id FROM crm_stage stage
                 WHERE id = ANY(%s)
                   AND NOT EXISTS (SELECT 1 FROM manychat_stage_map WHERE stage_id = stage.id)
                   AND NOT EXISTS (SELECT 1 FROM crm_lead WHERE stage_id = stage.id)
                """,
                self.ids,
            )
        )
        found = {stage_id for (stage_id,) in self.env.cr.fetchall()}
        return self.filtered(lambda stage: stage.id in found)

    def _manychat_entries(self):
        """Those of these unused stages in which new opportunities of users begin, and should go on to begin.

        That is so if users have opportunities in stages that ManyChat does not know, or if no other stage stands open.
        """
        stages = self._manychat_pipeline()
        mapped = self.env["manychat.stage.map"]._mapped_stages()
        in_use = stages - mapped - stages._manychat_empty()
        entries = self.browse()
        for team in [self.browse()._teams(), *stages._teams()]:
            seen = stages.filtered(lambda stage, team=team: not stage._teams() or team & stage._teams())
            unfolded = seen.filtered(lambda stage: not stage.fold and not stage.is_won)
            own = (seen & in_use).filtered(lambda stage: not stage.is_won)
            if own or not unfolded - self:
                entries |= unfolded[:1]
        return entries & self

    def _manychat_named_elsewhere(self):
        """Those of these stages that another app, an automation, a server action or a default value names."""
        numbers = self._manychat_linked_ids() | self._manychat_default_ids()
        texts = self._manychat_texts()
        for text in texts:
            numbers |= {int(number) for found in NUMBERS.findall(text) for number in re.findall(r"\d+", found)}
        xml_ids = self.get_external_id()

        def is_named(stage):
            names = {stage.name, stage.with_context(lang="en_US").name}
            words = [quote + name + quote for name in names for quote in "'\""] + [xml_ids[stage.id] or "\0"]
            return stage.id in numbers or any(word in text for text in texts for word in words)

        return self.filtered(is_named)

    def _manychat_linked_ids(self):
        """Ids of these stages that records of any model link to, apart from opportunities and our own records."""
        linked = set()
        for name, model in self.env.items():
            if model._abstract or model._transient or not model._auto or name.startswith("manychat."):
                continue
            for field in model._fields.values():
                is_link = field.store and field.type in ("many2one", "many2many") and field.comodel_name == self._name
                if is_link and (name, field.name) != ("crm.lead", "stage_id"):
                    records = model.sudo().with_context(active_test=False).search([(field.name, "in", self.ids)])
                    linked |= set(records[field.name].ids)
        return linked

    def _manychat_default_ids(self):
        """Ids of the stages that defaults, server actions and automations set or wait for."""
        env = self.env(su=True, context={**self.env.context, "active_test": False})
        stage_field = env["ir.model.fields"]._get("crm.lead", "stage_id")
        found = env["ir.default"].search([("field_id", "=", stage_field.id)]).mapped("json_value")
        writes = [("state", "=", "object_write"), ("update_path", "=like", "%stage_id")]
        found += env["ir.actions.server"].search(writes).mapped("value")
        if "base.automation" in env:
            automations = env["base.automation"].search([("trigger", "=", "on_stage_set")])
            found += automations.mapped("trg_field_ref")
        return {int(value) for value in found if str(value).isdigit()}

    def _manychat_texts(self):
        """Domains and code that mention a stage: list of str."""
        texts = []
        for name, fields in TEXTS.items():
            model = self.env.get(name)
            for field in fields:
                if model is not None and field in model._fields and model._fields[field].store:
                    records = model.sudo().with_context(active_test=False).search([(field, "like", "stage_")])
                    texts += records.mapped(field)
        return texts

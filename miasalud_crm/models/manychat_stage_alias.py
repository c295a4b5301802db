from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError

from bridge.contract.fields import normalize_label
from bridge.contract.outcomes import ErrorCode

from ..chat_number import ChatNumber
from ..rights import access_required
from .manychat_event import retention_limit
from .manychat_event_attempts import MAPPED


class ManychatStageAlias(models.Model):
    """Another number or label under which a ManyChat stage has been seen: renamed, misspelt, or from an older bot.

    An alias without a stage is *open*: the stage has arrived, is not mapped yet, and its events wait.
    """

    _name = "manychat.stage.alias"
    _description = "ManyChat Stage Alias"
    _inherit = "manychat.unique"
    _order = "is_open desc, id desc"
    _unique = (
        (["manychat_stage_id"], "manychat_stage_id > 0"),
        (["label_key"], "COALESCE(manychat_stage_id, 0) = 0"),
    )

    name = fields.Char("Label")
    label_key = fields.Char(compute="_compute_label_key", store=True, precompute=True)
    manychat_stage_id = ChatNumber(
        "ManyChat Stage ID",
        aggregator=None,
        help="If set, only this number counts; the label is a comment.",
    )
    former_map_id = fields.Many2one(
        "manychat.stage.map",
        "Former Row",
        readonly=True,
        ondelete="set null",
        index="btree_not_null",
        help="The row for which it stood until the row was archived. Restoring the row restores the alias.",
    )
    map_id = fields.Many2one("manychat.stage.map", "Stands For", ondelete="cascade", index=True)
    is_open = fields.Boolean("Open", compute="_compute_is_open", store=True, precompute=True)
    waiting_count = fields.Integer("Events Waiting", compute="_compute_waiting_count")

    # ------------------------------------------------------------
    # Constraints
    # ------------------------------------------------------------

    @api.constrains("name", "manychat_stage_id")
    def _check_unambiguous(self):
        for alias in self:
            if not alias.manychat_stage_id and not alias.label_key:
                raise ValidationError(self.env._("An alias needs a label or a ManyChat stage ID."))
            domain = (
                [("manychat_stage_id", "=", alias.manychat_stage_id)]
                if alias.manychat_stage_id
                else [("label_key", "=", alias.label_key), ("manychat_stage_id", "=", 0)]
            )
            if self.sudo().search_count([*domain, ("id", "!=", alias.id)], limit=1):
                raise ValidationError(self.env._("The alias “%s” is already in the list.", alias.display_name))
            domain[1:] = []
            if self.env["manychat.stage.map"].sudo().search_count(domain, limit=1):
                raise ValidationError(
                    self.env._(
                        "“%s” is the name of a ManyChat stage itself, so it cannot be an alias.", alias.display_name
                    )
                )

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("name")
    def _compute_label_key(self):
        for alias in self:
            alias.label_key = normalize_label(alias.name or "")

    @api.depends("name", "manychat_stage_id")
    def _compute_display_name(self):
        for alias in self:
            parts = [str(alias.manychat_stage_id)] if alias.manychat_stage_id else []
            alias.display_name = " · ".join(parts + ([alias.name] if alias.name else []))

    @api.depends("map_id")
    def _compute_is_open(self):
        for alias in self:
            alias.is_open = not alias.map_id

    @api.depends("map_id")
    def _compute_waiting_count(self):
        waiting = dict(
            self.env["manychat.event"]._read_group(
                [("alias_id", "in", self.ids), ("state", "=", "failed")], ["alias_id"], ["__count"]
            )
        )
        for alias in self:
            alias.waiting_count = waiting.get(alias, 0)

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    @api.model_create_multi
    def create(self, vals_list):
        aliases = super().create(vals_list)
        aliases.filtered("map_id")._release_events()
        return aliases

    def write(self, vals):
        result = super().write(vals)
        if vals.get("map_id"):
            self._release_events()
        return result

    @api.ondelete(at_uninstall=False)
    def _unlink_except_waited_for(self):
        for alias in self:
            if alias.waiting_count:
                raise UserError(
                    self.env._(
                        "%(count)s events wait for “%(alias)s”. Choose the stage it means, or discard them first.",
                        count=alias.waiting_count,
                        alias=alias.display_name,
                    )
                )

    # ------------------------------------------------------------
    # Actions
    # ------------------------------------------------------------

    @access_required("read")
    def action_view_waiting_events(self):
        """Open the events that wait until a user maps these stages."""
        action = self.env["ir.actions.act_window"]._for_xml_id("miasalud_crm.manychat_event_action")
        return {**action, "domain": [("alias_id", "in", self.ids), ("state", "=", "failed")], "context": {}}

    @access_required("read")
    def action_map_to_new_row(self):
        """Open a new row of the stage map, with the known values. Saving it releases the events."""
        self.ensure_one()
        taken = self.env["manychat.stage.map"].sudo().search([("active", "=", True)]).stage_id
        same_name = (
            self.env["crm.stage"]
            .search([("id", "not in", taken.ids)])
            .filtered(lambda stage: self.label_key and normalize_label(stage.name) == self.label_key)
        )
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("New ManyChat Stage"),
            "res_model": "manychat.stage.map",
            "views": [(False, "form")],
            "target": "new",
            "context": {
                "default_name": self.name or False,
                "default_manychat_stage_id": self.manychat_stage_id,
                "default_stage_id": same_name[:1].id,
            },
        }

    def action_discard(self):
        """Discard the events that wait for these stages. The stages leave the list until they arrive again."""
        self.check_access("unlink")
        events = self.env["manychat.event"].search([("alias_id", "in", self.ids), ("state", "=", "failed")])
        if events:
            events.action_discard()
            self.invalidate_recordset(["waiting_count"])
        self.filtered("is_open").unlink()
        return True

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @api.model
    def _open(self, number, label):
        """Find the alias of an unknown stage, or create an open one.

        :param number: ManyChat stage number or ``None``
        :param label: label or ``None``
        """
        if number:
            domain = [("manychat_stage_id", "=", number)]
        else:
            domain = [("label_key", "=", normalize_label(label)), ("manychat_stage_id", "=", 0)]
        alias = self.search(domain, limit=1)
        if alias.map_id and not alias.map_id.active:
            # Its row is archived: a user says anew what it means, or restores the row.
            alias.write({"map_id": False, "former_map_id": alias.map_id.id})
        return alias or self.create({"name": label, "manychat_stage_id": number or 0})

    @api.model
    def _forget(self, labels):
        """Delete open aliases with these labels, which may quote a person who is erased.

        An alias for which other events wait stays: then the label is not one person's.

        :param labels: of unknown stages, as events gave them
        """
        keys = [normalize_label(label) for label in labels]
        self.search([("label_key", "in", keys), ("is_open", "=", True)])._unlink_if_unused()

    def _unlink_if_unused(self):
        self.invalidate_recordset(["waiting_count"])
        self.filtered(lambda alias: not alias.waiting_count).unlink()

    @api.autovacuum
    def _gc_open(self):
        """Delete open aliases after the retention time, when the last event that could be erased with them is gone."""
        domain = [("is_open", "=", True), ("create_date", "<", retention_limit(self.env))]
        self.search(domain)._unlink_if_unused()

    def _release_events(self):
        """Send the events again that waited for these aliases."""
        events = self.env["manychat.event"].sudo().search([("alias_id", "in", self.ids), ("state", "=", "failed")])
        events._requeue(MAPPED)
        if events:
            # A list that is edited in place has no other way to show a message.
            self.env.user._bus_send(
                "simple_notification",
                {
                    "type": "success",
                    "title": ", ".join(self.mapped("display_name")),
                    "message": self.env._("Events released, now on their way to the pipeline: %s.", len(events)),
                },
            )

    # ------------------------------------------------------------
    # Cron
    # ------------------------------------------------------------

    @api.model
    def _cron_release(self):
        """Release events whose stage is mapped by now.

        A user may map a stage at the very moment at which an event of that stage fails. No other code releases it.
        """
        events = self.env["manychat.event"].search(
            [("state", "=", "failed"), ("code", "=", ErrorCode.UNMAPPED_STAGE.value), ("payload", "!=", False)],
            limit=1000,
        )
        resolve = self.env["manychat.stage.map"]._resolver()

        def is_mapped(event):
            state = event.payload.get("state") if isinstance(event.payload, dict) else None
            # A damaged row must not stop the job, nor the release of the others.
            return isinstance(state, dict) and resolve(state.get("stage_id"), state.get("stage"))

        events.filtered(is_mapped)._requeue(MAPPED)

import json
from collections import defaultdict, namedtuple

from odoo import api, fields, models, tools
from odoo.exceptions import UserError, ValidationError

from ..apply.unknown_fields import flat, key_of
from ..rights import access_required

#: What the apply needs of a row, kept in the process: applying events without a used row costs no statement.
UsedField = namedtuple("UsedField", "id name key field_name keep_first create_missing")

#: Types of fields that can take a value from the chat.
TYPES = (
    *("char", "text", "html", "integer", "float", "monetary", "boolean", "date", "datetime", "selection"),
    *("many2one", "many2many"),
)
#: Fields that an event changes in its own way, or not at all: the stage and the outcome, who works on the opportunity,
#: the customer, and what Odoo counts.
NEVER = frozenset(
    (
        *(
            "id",
            "create_uid",
            "create_date",
            "write_uid",
            "write_date",
            "name",
            "contact_name",
            "phone",
            "stage_id",
            "active",
            "type",
            "user_id",
            "team_id",
            "company_id",
        ),
        *("partner_id", "lost_reason_id", "probability", "color", "message_partner_ids", "date_closed", "date_open"),
        *("date_conversion", "date_last_stage_update", "date_automation_last", "reveal_id", "iap_enrich_done"),
        *("lead_mining_request_id", "is_automated_probability", "recurring_plan", "email_cc", "lang_id", "title"),
    )
)
#: Fields with an inverse, which nevertheless change nothing else while events are applied (``_inverse_email_from``).
SAFE_INVERSE = frozenset(("email_from",))
#: Newest events with a warning that are counted.
WARNINGS_FROM = 10_000


class ManychatFieldMap(models.Model):
    """A field that bots send and the contract does not know, and the field of the opportunity that takes it."""

    _name = "manychat.field.map"
    _description = "ManyChat Field"
    _inherit = "manychat.unique"
    _order = "sequence, id"
    _unique = ((["key"], None),)

    name = fields.Char("Field in the Request", required=True, help="Its name as bots send it; nested ones with a dot.")
    key = fields.Char(compute="_compute_key", store=True, precompute=True)
    sequence = fields.Integer(
        default=1000, help="If an event carries two of them for one field of the opportunity, the first one counts."
    )
    state = fields.Selection(
        [("new", "New"), ("used", "Used"), ("ignored", "Ignored")],
        required=True,
        default="new",
        readonly=True,
        index=True,
    )
    field_name = fields.Selection(
        "_select_field", "Goes To", help="The field of the opportunity that takes the value. Types are converted."
    )
    field_type = fields.Char("Type", compute="_compute_field")
    is_reference = fields.Boolean(compute="_compute_field")
    is_gone = fields.Boolean("Field Is Gone", compute="_compute_field")
    create_missing = fields.Boolean(
        "Create What Is Missing", help="If no record has that name, create one. Otherwise the value is left out."
    )
    keep_first = fields.Boolean(
        "Keep the First Value", help="Later events do not replace the value: it says how the person came to us."
    )
    seen_count = fields.Integer("Arrived", readonly=True, default=0, aggregator=None)
    seen_at = fields.Datetime("Last Arrived", readonly=True)
    # No link: it must hold up neither the retention of events nor the erasure of a person. Whose value it is, goes.
    example_event = fields.Integer(readonly=True, default=0, aggregator=None)
    example = fields.Char("Last Value", compute="_compute_example")
    warning_count = fields.Integer("Not Converted", compute="_compute_warnings")
    warning_text = fields.Text("Why Not Converted", compute="_compute_warnings")
    preview = fields.Text(compute="_compute_preview", help="What the last values that arrived would become.")

    # ------------------------------------------------------------
    # Constraints
    # ------------------------------------------------------------

    @api.constrains("name", "key")
    def _check_key(self):
        for row in self:
            if not row.key:
                raise ValidationError(self.env._("Enter the name of the field as the bot sends it."))
            if self.sudo().search_count([("key", "=", row.key), ("id", "!=", row.id)], limit=1):
                raise ValidationError(self.env._("The field “%s” is already in the list.", row.name))

    @api.constrains("state", "field_name")
    def _check_target(self):
        for row in self:
            if row.state == "used" and not row.field_name:
                raise ValidationError(self.env._("Choose the field of the opportunity that takes “%s”.", row.name))
            if row.field_name and not self._is_target(row.field_name):
                raise ValidationError(
                    self.env._(
                        "Events cannot fill the field “%s” of an opportunity. Choose another one.", row.field_name
                    )
                )

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("name")
    def _compute_key(self):
        for row in self:
            row.key = key_of(row.name or "")

    @api.depends("field_name")
    def _compute_field(self):
        for row in self:
            field = self.env["crm.lead"]._fields.get(row.field_name or "")
            row.is_gone = bool(row.field_name) and not self._is_target(row.field_name)
            row.is_reference = field is not None and field.type in ("many2one", "many2many")
            row.field_type = field.type if field is not None else False

    @api.depends("example_event")
    def _compute_example(self):
        events = self.env["manychat.event"].sudo().browse({row.example_event for row in self} - {0}).exists()
        found = {event.id: flat(event.extra) for event in events}
        for row in self:
            _name, value = found.get(row.example_event, {}).get(row.key, (None, None))
            row.example = shown(value) if value is not None else False

    @api.depends("state")
    def _compute_warnings(self):
        found = self._warnings_of_events()
        for row in self:
            reasons = found.get(row.name, {})
            row.warning_count = sum(reasons.values())
            texts = self.env["manychat.event"]._field_reasons()
            lines = [f"{texts.get(reason, reason)} ({count})" for reason, count in sorted(reasons.items())]
            row.warning_text = "\n".join(lines) or False

    def _warnings_of_events(self):
        """How many of the newest warnings of events each field and reason has: dict of name → dict of reason → int."""
        self.env["manychat.event"].flush_model(["field_warnings"])
        self.env.cr.execute(
            """
            SELECT warning ->> 'name', warning ->> 'reason', count(*)
              FROM (SELECT field_warnings FROM manychat_event
                     WHERE field_warnings IS NOT NULL ORDER BY id DESC LIMIT %s) AS event,
                   jsonb_array_elements(event.field_warnings) AS warning
             GROUP BY 1, 2
            """,
            [WARNINGS_FROM],
        )
        found = defaultdict(dict)
        for name, reason, count in self.env.cr.fetchall():
            found[name][reason] = count
        return found

    @api.depends("field_name", "create_missing", "name")
    def _compute_preview(self):
        for row in self:
            row.preview = row._preview() if row.field_name and not row.is_gone else False

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    @api.model_create_multi
    def create(self, vals_list):
        rows = super().create(vals_list)
        self.env.registry.clear_cache()
        return rows

    def write(self, vals):
        result = super().write(vals)
        if vals.keys() & {"name", "key", "state", "field_name", "keep_first", "create_missing", "sequence"}:
            self.env.registry.clear_cache()
        return result

    def unlink(self):
        self.env.registry.clear_cache()
        return super().unlink()

    # ------------------------------------------------------------
    # Actions
    # ------------------------------------------------------------

    @access_required("read")
    def action_choose(self):
        """Open the row, to choose its field of the opportunity."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.name,
            "res_model": self._name,
            "res_id": self.id,
            "views": [(self.env.ref("miasalud_crm.manychat_field_map_view_choose").id, "form")],
            "target": "new",
        }

    @access_required("write")
    def action_use(self):
        """Write the field to opportunities from now on."""
        for row in self:
            if not row.field_name:
                raise UserError(self.env._("Choose the field of the opportunity that takes “%s”.", row.name))
            if row.is_gone:
                raise UserError(self.env._("The field of the opportunity is gone. Choose another one."))
        self.write({"state": "used"})
        self.filtered("fill_kept")._start_filling()
        return {"type": "ir.actions.act_window_close"}

    @access_required("write")
    def action_ignore(self):
        """Take the field out of the suggestions; a used one is not written to opportunities any more."""
        self.write({"state": "ignored"})

    @access_required("write")
    def action_stop(self):
        """Stop writing the field to opportunities. What they hold stays."""
        self.write({"state": "new"})

    @access_required("read")
    def action_view_warnings(self):
        """Open the events whose values could not be converted."""
        self.env.cr.execute(
            """
            SELECT id FROM (SELECT id, field_warnings FROM manychat_event
                             WHERE field_warnings IS NOT NULL ORDER BY id DESC LIMIT %s) AS event
             WHERE EXISTS (SELECT FROM jsonb_array_elements(field_warnings) AS warning
                            WHERE warning ->> 'name' = ANY(%s))
            """,
            [WARNINGS_FROM, self.mapped("name")],
        )
        events = [event_id for (event_id,) in self.env.cr.fetchall()]
        action = self.env["ir.actions.act_window"]._for_xml_id("miasalud_crm.manychat_event_action")
        return {**action, "domain": [("id", "in", events)], "context": {}}

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @api.model
    @tools.ormcache()
    def _used(self):
        """The used rows, in order, whose field is there: tuple of :data:`UsedField`."""
        rows = self.sudo().search([("state", "=", "used")])
        return tuple(
            UsedField(row.id, row.name, row.key, row.field_name, row.keep_first, row.create_missing)
            for row in rows
            if self._is_target(row.field_name)
        )

    @api.model
    def _is_target(self, name):
        """Whether an event may fill the field ``name`` of an opportunity."""
        field = self.env["crm.lead"]._fields.get(name or "")
        if field is None or field.type not in TYPES or name in NEVER or not field.store:
            return False
        if field.related or name.startswith(("manychat_", "x_manychat_", "message_", "activity_")):
            return False
        if field.readonly:
            return False
        if field.inverse and name not in SAFE_INVERSE:
            return False  # it would change another record, a contact for one
        comodel = self.env.get(field.comodel_name) if field.relational else None
        return comodel is None or field.comodel_name not in ("res.partner", "res.users", "res.company")

    @api.model
    def _select_field(self):
        """The fields that may be chosen, and those that were chosen and are gone: pairs of name and label."""
        labels = self.env["crm.lead"].fields_get(attributes=["string"])
        found = [(name, each["string"]) for name, each in labels.items() if self._is_target(name)]
        counts = defaultdict(int)
        for _name, label in found:
            counts[label] += 1
        options = [(name, f"{label} ({name})" if counts[label] > 1 else label) for name, label in found]
        self.env.cr.execute("SELECT DISTINCT field_name FROM manychat_field_map WHERE field_name IS NOT NULL")
        gone = {name for (name,) in self.env.cr.fetchall()} - {name for name, _label in options}
        options += [(name, self.env._("%s (gone)", labels.get(name, {}).get("string", name))) for name in gone]
        return sorted(options, key=lambda option: option[1].casefold())

    @api.model
    def _action_open(self):
        """The action of the menu: look at what has arrived since, then show the list."""
        self.check_access("read")
        self.sudo()._collect()
        return self.env["ir.actions.act_window"]._for_xml_id("miasalud_crm.manychat_field_map_action")


def shown(value):
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:79]}…"

from datetime import datetime, timezone

from odoo import api, fields, models
from odoo.exceptions import AccessError
from odoo.tools import SQL

from ..apply.merge import MEMORY, manual_order_key
from ..moments import naive_utc
from ..private_sql import private
from ..rights import access_required
from .manychat_advisor import COMMERCIAL, MEDICAL
from .manychat_identity import is_applying
from .manychat_stage_history import PERSON

#: What the addon keeps to apply events in order. A wrong value would freeze the opportunity.
BOOKKEEPING = (
    "manychat_order",
    "manychat_phone_key",
    "manychat_last_date",
    "manychat_last_event_date",
    "manychat_values",
    "manychat_versions",
    "manychat_words_at",
    "manychat_answered_at",
    "manychat_waits_since",
)
#: What the conversation said. Sales managers may correct it.
SAID_BY_THE_CHAT = (
    "manychat_channel",
    "manychat_commercial_advisor_id",
    "manychat_entry_date",
    "manychat_summary",
)


class CrmLead(models.Model):
    _inherit = "crm.lead"

    # For users who may read IDs. All others who may read the opportunity have the field below, which is its first ID.
    manychat_identity_ids = fields.One2many(
        "manychat.identity", "lead_id", "ManyChat IDs", copy=False, groups="sales_team.group_sale_salesman"
    )
    # Stored, because people group, sort and export by it. Its one source are the identities.
    x_manychat_id = fields.Char(
        "ManyChat ID",
        compute="_compute_x_manychat_id",
        inverse="_inverse_x_manychat_id",
        search="_search_x_manychat_id",
        store=True,
        copy=False,
        help="The person's ID in ManyChat. A merged opportunity has several, and you can search by each of them.",
    )
    manychat_last_date = fields.Datetime(
        "Last ManyChat Event or Move",
        readonly=True,
        copy=False,
        help="When the newest applied event happened, or when a user last moved, lost or restored the opportunity.",
    )
    manychat_last_event_date = fields.Datetime(
        "Last Chat Event", readonly=True, copy=False, help="When the newest event of the conversation happened."
    )
    manychat_order = fields.Char(
        "Place in the Order of Events",
        readonly=True,
        copy=False,
        help="Place of the newest applied event, or of a user's move, in the order of events: happened at, received "
        "at, event ID. An event before it no longer moves the opportunity.",
    )
    manychat_channel = fields.Char("Channel", readonly=True, copy=False, help="Where the conversation began.")
    manychat_entry_date = fields.Datetime("Entry Date", readonly=True, copy=False)
    manychat_commercial_advisor_id = fields.Many2one(
        "manychat.advisor",
        "Commercial Adviser",
        domain=[("role", "=", COMMERCIAL)],
        ondelete="set null",
        readonly=True,
        copy=False,
        help="The adviser that the chat named. Their Odoo user, if any, becomes the salesperson.",
    )
    manychat_medical_advisor_id = fields.Many2one(
        "manychat.advisor", "Medical Adviser", domain=[("role", "=", MEDICAL)], ondelete="set null", copy=False
    )
    manychat_event_count = fields.Integer("Chat Events", compute="_compute_manychat_event_count")
    manychat_stage_count = fields.Integer("Stages Entered", compute="_compute_manychat_stage_count")
    manychat_summary = fields.Text("Last Summary", readonly=True, copy=False)
    manychat_values = fields.Json(
        "Values from the Chat",
        readonly=True,
        copy=False,
        groups="base.group_system",
        help="The last value that the chat sent for each field. If a field now holds another value, a user changed it, "
        "and the chat does not overwrite it.",
    )
    manychat_versions = fields.Json(
        "Versions of the Values",
        readonly=True,
        copy=False,
        groups="base.group_system",
        help="Place in the order of events of the event that said each value. An older event does not replace it.",
    )

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("manychat_identity_ids.manychat_id", "manychat_identity_ids.sequence")
    def _compute_x_manychat_id(self):
        for lead in self:
            lead.x_manychat_id = lead.manychat_identity_ids.sorted("sequence")[:1].manychat_id

    def _inverse_x_manychat_id(self):
        # As superuser: a user who may write the opportunity may choose the conversation that it follows.
        for lead in self.sudo():
            manychat_id = (lead.x_manychat_id or "").strip()
            primary = lead.manychat_identity_ids.sorted("sequence")[:1]
            if not manychat_id:
                primary.unlink()
            elif primary:
                primary.manychat_id = manychat_id
            else:
                primary.create({"lead_id": lead.id, "manychat_id": manychat_id})
        # Not what was typed in, but what the identities now say: without blanks, or the next ID after the first one.
        self.env.add_to_compute(self._fields["x_manychat_id"], self)

    @api.model
    def _search_x_manychat_id(self, operator, value):
        if not value and (operator == "=?" or "like" in operator):
            return [(0 if operator.startswith("not") else 1, "=", 1)]  # an empty search finds all; its negation, none
        negative = operator.startswith(("not ", "!"))
        positive = {"!=": "="}.get(operator, operator.removeprefix("not "))
        values = list(value) if positive == "in" else [value]
        if not values:
            return [(1 if negative else 0, "=", 1)]
        domain = []
        if given := [item for item in values if item]:
            condition = ("manychat_id", positive, given if positive == "in" else given[0])
            identities = self.env["manychat.identity"].sudo()._search([condition])
            domain.append(("manychat_identity_ids", "not in" if negative else "in", identities))
        if len(given) < len(values):
            domain.append(("manychat_identity_ids", "!=" if negative else "=", False))
        domain = ["&" if negative else "|"] * (len(domain) - 1) + domain
        # sudo() only looks up ids. The caller's own rules still decide which opportunities are found.
        return [("id", "in", self.sudo().with_context(active_test=False)._search(domain))]

    def _condition_to_sql(self, alias, fname, operator, value, query):
        # Odoo 18 asks a stored field's column only, and the column has only the first ID. Odoo 19 asks the field.
        if fname != "x_manychat_id":
            return super()._condition_to_sql(alias, fname, operator, value, query)
        domain = self._search_x_manychat_id(operator, value)
        found = self.sudo().with_context(active_test=False)._search(domain)
        return SQL("%s IN %s", SQL.identifier(alias, "id"), found.subselect())

    def _compute_manychat_event_count(self):
        domain = [("lead_id", "in", self.ids), ("type", "!=", "decision")]
        events = self.env["manychat.event"].sudo()._read_group(domain, ["lead_id"], ["__count"])
        counts = {lead.id: count for lead, count in events}
        for lead in self:
            lead.manychat_event_count = counts.get(lead.id, 0)

    def _compute_manychat_stage_count(self):
        periods = (
            self.env["manychat.stage.history"]
            .sudo()
            ._read_group([("lead_id", "in", self.ids)], ["lead_id"], ["__count"])
        )
        counts = {lead.id: count for lead, count in periods}
        for lead in self:
            lead.manychat_stage_count = counts.get(lead.id, 0)

    def _inverse_phone(self):
        # Odoo copies a new phone number to the linked customer, but the chat must not change customers.
        if is_applying(self.env):
            return None
        return super()._inverse_phone()

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    @api.model
    def default_get(self, fields_list):
        # A default in the context, or of the user, would pass the check below.
        values = super().default_get(fields_list)
        return {name: value for name, value in values.items() if name not in self._manychat_protected_fields()}

    @api.model_create_multi
    def create(self, vals_list):
        self._manychat_check_protected(name for vals in vals_list for name in vals)
        leads = super().create(vals_list)
        if not is_applying(self.env):
            # Only if the user chose a stage other than the first one.
            chosen = leads.filtered(
                lambda lead: lead.x_manychat_id and lead.stage_id != lead._stage_find(domain=[("fold", "=", False)])
            )
            chosen._manychat_mark_manual_move(datetime.now(timezone.utc))
        return leads

    def write(self, vals):
        self._manychat_check_protected(vals)
        if is_applying(self.env) or not ({"stage_id", "active"} & vals.keys()):
            return super().write(vals)
        moved = self.filtered(
            lambda lead: (
                ("stage_id" in vals and lead.stage_id.id != vals["stage_id"])
                or ("active" in vals and lead.active != vals["active"])
            )
        )
        result = super().write(vals)
        now = datetime.now(timezone.utc)
        moved._manychat_mark_manual_move(now)
        moved._manychat_answer_by_move(now)
        moved._manychat_record_manual_move(now)
        return result

    def _write_multi(self, vals_list):
        # A person and an event may change one opportunity at the same moment. Odoo then repeats the person's request;
        # that is no error for any log, and what both wrote stands in none.
        with private(self.env.cr, keep_message=True):
            return super()._write_multi(vals_list)

    def unlink(self):
        with private(self.env.cr, keep_message=True):  # likewise
            return super().unlink()

    def _merge_dependences(self, opportunities):
        result = super()._merge_dependences(opportunities)
        self._manychat_merge(opportunities)
        return result

    # ------------------------------------------------------------
    # Actions
    # ------------------------------------------------------------

    @api.model
    def _manychat_list_action(self, title, domain):
        """The action that shows the opportunities of ``domain``, with the list first: they may all be in one stage."""
        action = self.env["ir.actions.act_window"]._for_xml_id("crm.crm_lead_opportunities")
        views = sorted(action["views"], key=lambda view: view[1] != "list")
        names = {"name": title, "display_name": title}
        return {**action, **names, "views": views, "domain": domain, "context": {"default_type": "opportunity"}}

    @access_required("read")
    def action_view_manychat_events(self):
        """Open the events of the conversation, with what the customer said."""
        self.ensure_one()
        action = self.env["ir.actions.act_window"]._for_xml_id("miasalud_crm.manychat_event_action")
        names = ("manychat_event_conversation_view_list", "manychat_event_conversation_view_kanban")
        views = [(self.env.ref(f"miasalud_crm.{name}").id, name.rpartition("_")[2]) for name in names]
        title = {"name": self.env._("Chat Events"), "display_name": self.env._("Chat Events")}
        domain = [("lead_id", "=", self.id), ("type", "!=", "decision")]
        return {**action, **title, "views": [*views, (False, "form")], "domain": domain, "context": {}}

    @access_required("read")
    def action_view_manychat_stages(self):
        """Open the stage periods of the opportunity: when, how long, and moved by whom."""
        self.ensure_one()
        action = self.env["ir.actions.act_window"]._for_xml_id("miasalud_crm.manychat_funnel_action")
        views = [(False, "list"), (False, "pivot")]
        return {**action, "views": views, "domain": [("lead_id", "=", self.id)], "context": {}}

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    def _manychat_protected_fields(self):
        """The fields that the user may not write: readonly on screens, and so over RPC and in imports."""
        if self.env.su:
            return ()
        is_manager = self.env.user.has_group("sales_team.group_sale_manager")
        return BOOKKEEPING if is_manager else (*BOOKKEEPING, *SAID_BY_THE_CHAT)

    def _manychat_check_protected(self, names):
        """:raises AccessError: the user may not write one of the fields ``names``"""
        if refused := set(names).intersection(self._manychat_protected_fields()):
            labels = ", ".join(sorted(self._fields[name]._description_string(self.env) for name in refused))
            raise AccessError(self.env._("You cannot change %s: the ManyChat conversation sets it.", labels))

    def _manychat_mark_manual_move(self, moment):
        """Record that a user moved the opportunities: older events no longer move them.

        :param datetime moment: when, with time zone
        """
        order_key = manual_order_key(moment)
        leads = self.filtered(lambda lead: (lead.manychat_order or "") < order_key)
        # As superuser: the fields are readonly for the user who moves the opportunity.
        leads.sudo().write({"manychat_order": order_key, "manychat_last_date": naive_utc(moment)})

    def _manychat_record_manual_move(self, moment):
        """Write a user's moves into the stage history of opportunities that follow a conversation."""
        if not self:
            return
        # Flush now, to lock the opportunity before its history, in the same order as bridges do.
        self.flush_recordset(["stage_id", "active"])
        self.env["manychat.stage.history"]._record(
            [
                {
                    "lead_id": lead.id,
                    "stage_id": lead.active and lead.stage_id.id,
                    "moment": naive_utc(moment),
                    "moved_by": PERSON,
                    "user_id": self.env.uid,
                }
                for lead in self
            ],
            begin=False,
        )

    def _manychat_merge(self, opportunities):
        """Make ``self`` follow the conversations of ``opportunities`` too."""
        self.ensure_one()
        survivor, others = self.sudo(), opportunities.sudo()
        for identity in (survivor | others).manychat_identity_ids.filtered(lambda identity: not identity.phone):
            identity.phone = identity.lead_id._manychat_number()  # Odoo's merge keeps one number only
        last = max(survivor.manychat_identity_ids.mapped("sequence"), default=0)
        for offset, identity in enumerate(others.manychat_identity_ids.sorted("sequence"), start=1):
            identity.write({"lead_id": survivor.id, "sequence": last + offset})
        # Events of either conversation that are older than the newest known one must not move the survivor.
        newest = max(survivor | others, key=lambda lead: lead.manychat_order or "")
        vals = {
            "manychat_order": newest.manychat_order,
            "manychat_last_date": newest.manychat_last_date,
            "manychat_last_event_date": max(
                (date for date in (survivor | others).mapped("manychat_last_event_date") if date), default=False
            ),
            "manychat_summary": newest.manychat_summary or survivor.manychat_summary,
            **(survivor | others)._manychat_merged_waiting(),
            # The chat may still change the values that the survivor takes over.
            **{
                memory: {name: value for lead in (*others, survivor) for name, value in (lead[memory] or {}).items()}
                for memory in MEMORY
            },
        }
        for name in (
            "manychat_channel",
            "manychat_entry_date",
            "manychat_commercial_advisor_id",
            "manychat_medical_advisor_id",
        ):
            if not survivor[name]:
                value = next((other[name] for other in others if other[name]), False)
                vals[name] = value.id if isinstance(value, models.BaseModel) else value
        survivor.write(vals)
        # These duplicates are now merged.
        identities = survivor.manychat_identity_ids.with_context(active_test=False)
        identities.duplicate_lead_ids -= survivor | others
        self.env["manychat.event"].sudo().search([("lead_id", "in", others.ids)]).lead_id = survivor

    @api.model
    def _manychat_date_last_events(self):
        """Fill *Last Chat Event* where it is empty although events have been applied.

        Each installation and upgrade of the addon runs this. Only the first one that has the field finds anything to
        do. The newest event may be gone from the event log, and a user's move hides it in the opportunity's order: the
        newest date of the two and of the stage history is the best one known. Without any event the field stays empty.
        """
        self.env.flush_all()
        self.env.cr.execute(
            """
            WITH undated AS (
                SELECT lead.id,
                       -- an order that ends with an event's id is an event's, else a user's
                       CASE WHEN lead.manychat_order NOT LIKE '%|' THEN lead.manychat_last_date END AS by_order
                  FROM crm_lead lead
                 WHERE lead.manychat_last_event_date IS NULL AND lead.manychat_last_date IS NOT NULL
            ), known AS (
                SELECT undated.id,
                       GREATEST(by_order,
                           (SELECT max(occurred_at) FROM manychat_event
                             WHERE lead_id = undated.id AND state = 'done' AND type <> 'decision'),
                           (SELECT max(entered_at) FROM manychat_stage_history
                             WHERE lead_id = undated.id AND event_id IS NOT NULL)) AS newest
                  FROM undated
            )
            UPDATE crm_lead SET manychat_last_event_date = known.newest
              FROM known WHERE known.id = crm_lead.id AND known.newest IS NOT NULL
            """
        )
        self.invalidate_model(["manychat_last_event_date"])

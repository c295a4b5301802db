from collections import defaultdict

from odoo import api, fields, models
from odoo.exceptions import ValidationError

from bridge.contract.fields import normalize_label

from ..chat_number import ChatNumber
from ..rights import access_required
from .crm_stage import AT_THE_END


class ManychatStageMap(models.Model):
    """One ManyChat stage and its pipeline stage. Each belongs to one row only."""

    _name = "manychat.stage.map"
    _description = "ManyChat Stage"
    _inherit = "manychat.unique"
    _order = "sequence, id"
    # An archived row does not block its successor.
    _unique = (
        (["label_key"], "active"),
        (["manychat_stage_id"], "active AND manychat_stage_id > 0"),
        (["stage_id"], "active"),
    )

    name = fields.Char("ManyChat Stage", required=True, help="The stage's label in ManyChat.")
    label_key = fields.Char(compute="_compute_label_key", store=True, precompute=True)
    manychat_stage_id = ChatNumber(
        "ManyChat Stage ID", aggregator=None, help="The stage's number in ManyChat. It is not an Odoo ID."
    )
    stage_id = fields.Many2one("crm.stage", "Pipeline Stage", required=True, ondelete="restrict", index=True)
    team_id = fields.Many2one(
        "crm.team", "Sales Team", ondelete="set null", help="The team of the opportunities that begin in this stage."
    )
    sequence = fields.Integer(default=lambda self: self._next_sequence())
    active = fields.Boolean(default=True)
    alias_ids = fields.One2many("manychat.stage.alias", "map_id", "Aliases")
    lead_count = fields.Integer(
        "Opportunities", compute="_compute_lead_count", help="Open opportunities in this pipeline stage now."
    )
    waiting_count = fields.Integer(
        "Events on Their Way",
        compute="_compute_waiting_count",
        help="Events of this stage that have arrived and are not applied yet.",
    )
    warning = fields.Text("Attention", compute="_compute_warning")
    needs_attention = fields.Boolean(compute="_compute_warning", search="_search_needs_attention")

    # ------------------------------------------------------------
    # Constraints
    # ------------------------------------------------------------

    @api.constrains("name", "manychat_stage_id", "stage_id", "active")
    def _check_one_to_one(self):
        for row in self.filtered("active"):
            if row.manychat_stage_id < 0:
                raise ValidationError(self.env._("The ManyChat stage ID must be a positive number."))
            # As superuser: a row of another company counts too.
            others = self.sudo().search([("id", "!=", row.id)])
            if others.filtered(lambda other, row=row: other.stage_id == row.stage_id):
                raise ValidationError(
                    self.env._(
                        "The pipeline stage “%s” already belongs to another ManyChat stage. "
                        "Each pipeline stage belongs to one ManyChat stage only; "
                        "use an alias for a second name of the same stage.",
                        row.stage_id.name,
                    )
                )
            if others.filtered(lambda other, row=row: other.label_key == row.label_key):
                raise ValidationError(
                    self.env._(
                        "The ManyChat stage “%s” is already in the list (letter case and spaces do not count).",
                        row.name,
                    )
                )
            if row.manychat_stage_id and others.filtered(
                lambda other, row=row: other.manychat_stage_id == row.manychat_stage_id
            ):
                raise ValidationError(
                    self.env._("The ManyChat stage ID %s already belongs to another stage.", row.manychat_stage_id)
                )

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("name")
    def _compute_label_key(self):
        for row in self:
            row.label_key = normalize_label(row.name or "")

    @api.depends("stage_id")
    def _compute_lead_count(self):
        domain = [("type", "=", "opportunity"), ("stage_id", "in", self.stage_id.ids)]
        counts = dict(self.env["crm.lead"]._read_group(domain, ["stage_id"], ["__count"]))
        for row in self:
            row.lead_count = counts.get(row.stage_id, 0)

    @api.depends("name", "manychat_stage_id", "active")
    def _compute_waiting_count(self):
        waiting = self._events_on_their_way()
        for row in self:
            row.waiting_count = len(waiting.get(row._origin, ()))

    @api.depends("active", "stage_id", "team_id.active")
    def _compute_warning(self):
        strangers = self._opportunities_of_other_teams()
        for row in self:
            row.warning = "\n".join(row._warnings(strangers[row.stage_id])) or False
            row.needs_attention = bool(row.warning)

    def _opportunities_of_other_teams(self):
        """How many open opportunities are in a stage that their team does not see: dict of ``crm.stage`` → int."""
        reserved = self.stage_id.sudo().filtered(lambda stage: stage._teams())
        domain = [("type", "=", "opportunity"), ("stage_id", "in", reserved.ids), ("team_id", "!=", False)]
        counts = defaultdict(int)
        for stage, team, count in self.env["crm.lead"].sudo()._read_group(domain, ["stage_id", "team_id"], ["__count"]):
            if team not in stage._teams():
                counts[stage.sudo(False)] += count
        return counts

    def _warnings(self, strangers):
        """What is wrong with the row's stage or team, in sentences: list of str.

        :param int strangers: how many opportunities in the stage are of teams that do not see it
        """
        self.ensure_one()
        # As superuser: the team may belong to another company.
        stage, team = self.stage_id.sudo(), self.team_id.sudo()
        if not self.active or not stage:
            return []
        warnings = []
        # Odoo's own stages cannot be archived. With a field that Studio or another app adds, they can.
        if stage._active_name and not stage[stage._active_name]:
            warnings.append(
                self.env._(
                    "The pipeline stage “%s” is archived, so no column of the pipeline shows the opportunities that "
                    "arrive there. Restore it, or choose another stage.",
                    stage.display_name,
                )
            )
        teams = stage._teams()
        names = ", ".join(f"“{other.display_name}”" for other in teams)
        if teams and not teams.filtered("active"):
            warnings.append(
                self.env._(
                    "Only the team %(teams)s sees the pipeline stage “%(stage)s”, and it is archived. Restore it, or "
                    "open the stage to all teams.",
                    stage=stage.display_name,
                    teams=names,
                )
            )
        elif team and teams and team not in teams:
            warnings.append(
                self.env._(
                    "The pipeline stage “%(stage)s” is for the team %(teams)s only, so the team “%(team)s” does not "
                    "see it. Choose another stage or team, or open the stage to all teams.",
                    stage=stage.display_name,
                    teams=names,
                    team=team.display_name,
                )
            )
        elif strangers:
            warnings.append(
                self.env._(
                    "Only the team %(teams)s sees the pipeline stage “%(stage)s”. Opportunities of other teams there "
                    "now: %(count)s.",
                    stage=stage.display_name,
                    teams=names,
                    count=strangers,
                )
            )
        if team and not team.active:
            warnings.append(
                self.env._(
                    "The sales team “%s” is archived, and new opportunities still go to it. Choose another team, "
                    "or none.",
                    team.display_name,
                )
            )
        return warnings

    def _search_needs_attention(self, operator, value):
        wanted = True in value if isinstance(value, list | tuple | set | frozenset) else bool(value)
        if operator in ("!=", "not in"):
            wanted = not wanted
        concerned = self.search([("active", "=", True)]).filtered("needs_attention")  # a dozen rows, not thousands
        return [("id", "in" if wanted else "not in", concerned.ids)]

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    @api.model
    def _next_sequence(self):
        """The last place: the order of the rows is the order of the funnel."""
        # As superuser: the rows of other companies, and archived ones, have places too.
        last = self.sudo().with_context(active_test=False).search([], order="sequence desc", limit=1)
        return last.sequence + 10

    @api.model
    @access_required("write")
    def load(self, fields, data):
        # Pipeline stages that an import creates by their name come last, too.
        return super(ManychatStageMap, self.with_context(**{AT_THE_END: True})).load(fields, data)

    @api.model_create_multi
    def create(self, vals_list):
        # An import gives an empty cell as False.
        vals_list = [
            {name: value for name, value in vals.items() if name != "sequence" or value is not False}
            for vals in vals_list
        ]
        rows = super().create(vals_list)
        rows._release_open_aliases()
        return rows

    def write(self, vals):
        result = super().write(vals)
        if {"name", "manychat_stage_id", "active"} & vals.keys():
            self._release_open_aliases()
        return result

    # ------------------------------------------------------------
    # Actions
    # ------------------------------------------------------------

    @access_required("read")
    def action_view_leads(self):
        """Open the opportunities in this row's pipeline stage."""
        self.ensure_one()
        domain = [("type", "=", "opportunity"), ("stage_id", "=", self.stage_id.id)]
        return self.env["crm.lead"]._manychat_list_action(self.stage_id.display_name, domain)

    @access_required("read")
    def action_view_waiting_events(self):
        """Open the events of this stage that are not applied yet."""
        self.ensure_one()
        action = self.env["ir.actions.act_window"]._for_xml_id("miasalud_crm.manychat_event_action")
        return {**action, "domain": [("id", "in", self._events_on_their_way().get(self, []))], "context": {}}

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @api.model
    def _resolver(self):
        """A function from a ManyChat stage, ``(number or None, label or None)``, to its row or an empty one.

        If both are given, the number counts. Rows come before aliases.
        """
        names = ["manychat_stage_id", "label_key"]
        rows = self.sudo().search_fetch([("active", "=", True)], [*names, "stage_id", "team_id", "answer_hours"])
        aliases = self.env["manychat.stage.alias"].sudo()
        aliases = aliases.search_fetch([("map_id.active", "=", True)], [*names, "map_id"])
        by_id = {alias.manychat_stage_id: alias.map_id for alias in aliases if alias.manychat_stage_id}
        by_id.update({row.manychat_stage_id: row for row in rows if row.manychat_stage_id})
        by_label = {alias.label_key: alias.map_id for alias in aliases if not alias.manychat_stage_id}
        by_label.update({row.label_key: row for row in rows})
        nothing = self.browse()

        def resolve(number, label):
            if number:
                return by_id.get(number, nothing)
            return by_label.get(normalize_label(label or ""), nothing)

        return resolve

    @api.model
    def _mapped_stages(self):
        """The pipeline stages of the map, those of rows of other companies included."""
        return self.sudo().search([("active", "=", True)]).stage_id

    @api.model
    def _events_on_their_way(self):
        """Ids of the events that are not applied yet: dict of their row of the map → list."""
        self.env["manychat.event"].flush_model()
        # The stage is inside the payload, where a domain cannot search.
        self.env.cr.execute(
            """
            SELECT (payload->'state'->>'stage_id')::bigint, payload->'state'->>'stage', array_agg(id)
              FROM manychat_event
             WHERE type = 'opportunity' AND state IN ('pending', 'queued') AND payload IS NOT NULL
             GROUP BY 1, 2
            """
        )
        found = self.env.cr.fetchall()
        resolve = self._resolver()
        events = defaultdict(list)
        for number, label, ids in found:
            events[resolve(number, label).sudo(False)] += ids
        return events

    def _release_open_aliases(self):
        """Release the events of open aliases whose stage now has a row, and delete these aliases."""
        rows = self.filtered("active")
        aliases = self.env["manychat.stage.alias"].sudo().search([("map_id", "=", False)])
        for alias in aliases.filtered(lambda alias: alias.former_map_id in rows):
            alias.map_id = alias.former_map_id
        aliases = aliases.filtered("is_open")
        answered = aliases.filtered(
            lambda alias: (
                alias.manychat_stage_id in rows.filtered("manychat_stage_id").mapped("manychat_stage_id")
                if alias.manychat_stage_id
                else alias.label_key in rows.mapped("label_key")
            )
        )
        (answered | rows.alias_ids)._release_events()
        answered.unlink()

    # ------------------------------------------------------------
    # RPC
    # ------------------------------------------------------------

    @api.model
    @access_required("read")
    def open_aliases(self):
        """Numbers for the banner above the stage map.

        :return dict: ``aliases``, how many unmapped stages have arrived; ``events``, how many events wait for them
        """
        self.check_access("write")
        aliases = self.env["manychat.stage.alias"].search([("map_id", "=", False)])
        return {"aliases": len(aliases), "events": sum(aliases.mapped("waiting_count"))}

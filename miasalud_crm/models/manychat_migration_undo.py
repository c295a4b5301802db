from psycopg2.extras import Json

from odoo import models
from odoo.tools import SQL

from .manychat_migration import ACTIVITIES, CHANGED, CREATED, EVENTS, FOLLOWERS, GONE, MESSAGES, REFERRED, TAKEN_OVER

#: Models whose records say nothing of a use by people: ours, the chatter, which is looked at by itself, and what an
#: export leaves.
OWN = ("manychat.", "mail.", "crm.lead", "ir.model.data")
#: What of a snapshot changes with any use.
SIGNS = ("write_date", "messages")


class ManychatMigrationLine(models.Model):
    """Undoing: exactly what the migration did, where it has not been used since."""

    _inherit = "manychat.migration.line"  # pylint: disable=consider-merging-classes-inherited

    def _undo(self, dry_run):
        """Undo these lines, newest first.

        :return dict: ``undone``, ``kept`` and ``events``, as :meth:`manychat.migration.roll_back` says
        """
        leads = self.lead_id.with_context(active_test=False)
        self.env.cr.execute("SELECT id FROM crm_lead WHERE id = ANY(%s) ORDER BY id FOR UPDATE", [leads.ids])
        reasons = self._reasons_to_keep()
        kept = self.filtered(lambda line: line.id in reasons)
        undone = {made: 0 for made, _label in self._fields["made"].selection}
        for line in self - kept:
            undone[line.made] += 1
        result = {
            "undone": undone,
            "kept": [
                {
                    "manychat_id": line.manychat_id,
                    "lead_id": line.lead_id.id,
                    "reason": self._sentence(*reasons[line.id]),
                }
                for line in kept
            ],
            "events": (self - kept).mapped("event_id"),
        }
        if not dry_run:
            for line in kept:
                line.kept, _label = reasons[line.id]
            (self - kept)._undo_unused()
        return result

    def _undo_unused(self):
        created = self.filtered(lambda line: line.made == CREATED)
        for line in self - created:  # newest first: several events may have moved one opportunity
            line._restore()
        events = self.env["manychat.event"].search([("event_id", "in", self.mapped("event_id"))])
        events.unlink()  # else a later run would take the same event for applied
        self.write({"is_undone": True, "kept": False, "before": False, "after": False})
        created.lead_id.unlink()

    def _restore(self):
        """Make the opportunity what it was before."""
        lead, before = self.lead_id.with_context(active_test=False), self.before
        if not lead:
            return
        if (stage_id := before["columns"].get("stage_id")) and lead.stage_id.id != stage_id:
            # As a user would move it back: Odoo counts won and lost opportunities by stage.
            lead.with_context(tracking_disable=True).write({"stage_id": stage_id})
        if self.made == TAKEN_OVER:
            lead.manychat_identity_ids.filtered(lambda each: each.manychat_id == self.manychat_id).unlink()
        self.env.flush_all()
        self._restore_messages(lead)
        self._restore_history(lead, before["period"])
        if before["columns"]:  # an event that was out of date has changed none
            self._restore_columns(lead, before["columns"])
        self.env.invalidate_all(flush=False)

    def _restore_columns(self, lead, columns):
        self.env.cr.execute(
            SQL(
                "UPDATE crm_lead SET (%(names)s) = ROW(%(values)s) "
                "FROM jsonb_populate_record(NULL::crm_lead, %(before)s) AS was WHERE crm_lead.id = %(id)s",
                names=SQL(", ").join(SQL.identifier(name) for name in columns),
                values=SQL(", ").join(SQL("was.%s", SQL.identifier(name)) for name in columns),
                before=Json(columns),
                id=lead.id,
            )
        )

    def _restore_messages(self, lead):
        """Delete the lines that the migration has left in the chatter, and the followers that it has brought."""
        domain = [
            ("model", "=", "crm.lead"),
            ("res_id", "=", lead.id),
            ("id", ">", self.before["messages"]),
            ("id", "<=", self.after["messages"]),
        ]
        self.env["mail.message"].search(domain).unlink()
        brought = set(self.after["followers"]) - set(self.before["followers"])
        self.env["mail.followers"].browse(brought).exists().unlink()
        self.env.flush_all()

    def _restore_history(self, lead, period):
        """Delete the stage periods that the migration began, and have the last one before go on."""
        self.env.cr.execute(
            "DELETE FROM manychat_stage_history WHERE lead_id = %s AND id > %s",
            [lead.id, period["id"] if period else 0],
        )
        if period:
            self.env.cr.execute(
                """
                UPDATE manychat_stage_history SET left_at = %s::timestamp, next_stage_id = %s, lost = %s WHERE id = %s
                """,
                [period["left_at"], period["next_stage_id"], period["lost"], period["id"]],
            )

    # ------------------------------------------------------------
    # Business: what was used since
    # ------------------------------------------------------------

    def _sentence(self, reason, label):
        """A reason to keep an opportunity, in the language of the caller."""
        if reason == REFERRED:
            return self.env._("Another record refers to it: %s.", label)
        return dict(self._fields["kept"]._description_selection(self.env))[reason]

    def _reasons_to_keep(self):
        """Why lines cannot be undone: dict of line id → pair of a value of ``kept`` and, with :data:`.REFERRED`, the
        name of the model."""
        # With what came later, in another call: in a dry run it is still there, and it is no use by people.
        domain = [
            ("migration_id", "in", self.migration_id.ids),
            ("lead_id", "in", self.lead_id.ids),
            ("is_undone", "=", False),
            ("id", ">", min(self.ids, default=0)),
        ]
        lines = (self | self.search(domain)).sorted("id", reverse=True)
        newest = {}
        for line in lines:
            newest.setdefault(line.lead_id.id, line)
        seen = self._signs_of_use([line for lead_id, line in newest.items() if lead_id])
        reasons, later = {}, {}
        for line in lines:
            lead_id = line.lead_id.id
            if not lead_id:
                reasons[line.id] = GONE, ""
            elif lead_id in seen:
                reasons[line.id] = seen[lead_id]
            elif lead_id in later and any(later[lead_id].before[name] != line.after[name] for name in SIGNS):
                reasons[line.id] = seen[lead_id] = CHANGED, ""  # between two runs
            later[lead_id] = line
        return reasons

    def _signs_of_use(self, lines):
        """What people and later events did to opportunities since then: dict of lead id → as in
        :meth:`_reasons_to_keep`.

        :param list lines: the newest one of each opportunity
        """
        if not lines:
            return {}
        values = [
            (line.lead_id.id, line.after["write_date"], line.after["messages"], line.event_id, line.made, line.id)
            for line in lines
        ]
        self.env.flush_all()
        self.env.cr.execute(
            """
            SELECT lead.id,
                   line.made = %s AND EXISTS (
                        SELECT FROM mail_followers follower JOIN manychat_migration_line own ON own.id = line.id
                         WHERE res_model = 'crm.lead' AND res_id = lead.id
                           AND NOT own.after -> 'followers' @> to_jsonb(follower.id)),
                   lead.write_date <> line.written::timestamp,
                   EXISTS (SELECT FROM mail_message
                            WHERE model = 'crm.lead' AND res_id = lead.id AND id > line.message),
                   EXISTS (SELECT FROM mail_activity WHERE res_model = 'crm.lead' AND res_id = lead.id
                              AND create_date > line.written::timestamp),
                   EXISTS (SELECT FROM manychat_event event JOIN manychat_event own ON own.event_id = line.event
                            WHERE event.lead_id = lead.id AND event.id <> own.id AND event.type <> 'decision'
                              AND event.applied_at > own.applied_at)
              FROM unnest(%s::integer[], %s::text[], %s::integer[], %s::text[], %s::text[], %s::integer[])
                   AS line (lead, written, message, event, made, id)
              JOIN crm_lead lead ON lead.id = line.lead
            """,
            [CREATED, *(list(column) for column in zip(*values, strict=True))],
        )
        found = {}
        for lead_id, *signs in self.env.cr.fetchall():
            # The last one says most: an event also changes the opportunity, and an activity brings a follower.
            reasons = zip((FOLLOWERS, CHANGED, MESSAGES, ACTIVITIES, EVENTS), signs, strict=True)
            if seen := [reason for reason, sign in reasons if sign]:
                found[lead_id] = seen[-1], ""
        for lead_id, label in self._references([line.lead_id.id for line in lines if line.made == CREATED]):
            found.setdefault(lead_id, (REFERRED, label))
        return found

    def _references(self, lead_ids):
        """Records of other apps that refer to opportunities: pairs of lead id and the name of the model."""
        if not lead_ids:
            return
        for name, model in self.env.registry.items():
            if name.startswith(OWN) or not model._auto or model._abstract or model._transient:
                continue
            for field in self.env[name]._fields.values():
                if field.store and (query := _query_of_references(self.env[name], field, lead_ids)):
                    for (lead_id,) in self.env.execute_query(query):
                        yield lead_id, self.env["ir.model"]._get(name).name


def _query_of_references(model, field, lead_ids):
    """A query for those of ``lead_ids`` to which a stored field of ``model`` refers; ``None`` if it cannot."""
    condition = SQL("TRUE")
    table, column = model._table, field.name
    if field.type == "many2one_reference" and field.model_field in model._fields:
        if not model._fields[field.model_field].store:
            return None
        condition = SQL("%s = 'crm.lead'", SQL.identifier(field.model_field))
    elif field.type == "reference":
        texts = [f"crm.lead,{lead_id}" for lead_id in lead_ids]
        name = SQL.identifier(column)
        return SQL(
            "SELECT DISTINCT split_part(%(name)s, ',', 2)::integer FROM %(table)s WHERE %(name)s = ANY(%(texts)s)",
            name=name,
            table=SQL.identifier(table),
            texts=texts,
        )
    elif field.comodel_name != "crm.lead" or field.type not in ("many2one", "many2many"):
        return None
    elif field.type == "many2many":
        table, column = field.relation, field.column2
    elif not field.column_type or field.company_dependent:
        return None
    return SQL(
        "SELECT DISTINCT %(column)s FROM %(table)s WHERE %(column)s = ANY(%(ids)s) AND %(condition)s",
        column=SQL.identifier(column),
        table=SQL.identifier(table),
        ids=lead_ids,
        condition=condition,
    )

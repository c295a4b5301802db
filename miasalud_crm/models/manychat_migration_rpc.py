"""What ``python -m bridge migrate`` calls. Each call works only while a migration is open."""

from datetime import timedelta

from odoo import api, fields, models
from odoo.tools import SQL

from bridge.contract.fields import normalize_label

from ..apply import known_people
from ..hooks import STAGES
from ..moments import iso_utc
from ..rights import bridge_only
from .crm_lead_migration import QUIET
from .manychat_advisor import COMMERCIAL, MEDICAL
from .manychat_identity import APPLYING
from .manychat_migration import Migrating

#: A contact that was written this lately may mean that the old program still runs.
RECENTLY = timedelta(days=2)


class ManychatMigration(models.Model):
    _inherit = "manychat.migration"  # pylint: disable=consider-merging-classes-inherited

    # ------------------------------------------------------------
    # RPC: reading
    # ------------------------------------------------------------

    @api.model
    @bridge_only
    def get_overview(self, states, advisers):
        """What a plan needs to know once. For the group “ManyChat Bridge”, over RPC.

        :param list states: pairs of ManyChat stage number or ``False``, and label or ``False``
        :param dict advisers: ``commercial`` and ``medical``: lists of the numbers that the old system has
        :return dict: ``batch``, ``name`` and ``started_at`` of the open migration; ``stages``; ``mapped``: for each of
            ``states`` the number of its row in the stage map, or ``False``; ``map``: label, number, stage and its id of
            each row; ``advisers``: those of ``advisers`` without an Odoo user, by role; ``contacts``: how many contacts
            have a ManyChat ID, archived, doubled; ``contacts_unreadable``: they have a field for it that cannot be
            looked up; ``writers``: who wrote such contacts lately
        :raises UserError: no migration is open
        :raises AccessError: the caller is not in that group
        """
        migration = self._current()
        resolve = self.env["manychat.stage.map"]._resolver()
        rows = self.env["manychat.stage.map"].search([("active", "=", True)])
        return {
            "batch": migration.batch,
            "name": migration.name,
            "started_at": iso_utc(migration.started_at),
            "now": iso_utc(fields.Datetime.now()),
            "stages": self._stages_of_the_table(),
            "map": [
                {"id": row.id, "label": row.name, "number": row.manychat_stage_id, "stage": row.stage_id.name}
                for row in rows
            ],
            "mapped": [resolve(number or None, label or None).id for number, label in states],
            "advisers": {role: self._without_user(role, advisers.get(role, ())) for role in (COMMERCIAL, MEDICAL)},
            "contacts": self._contacts(),
            "contacts_unreadable": known_people.is_unreadable(self.env),
            "writers": [
                {**each, "last": iso_utc(each["last"])} for each in self._writers(fields.Datetime.now() - RECENTLY)
            ],
        }

    @api.model
    @bridge_only
    def get_people(self, manychat_ids):
        """What Odoo has of people. For the group “ManyChat Bridge”, over RPC. No names: ids and numbers only.

        :param list manychat_ids: at most some thousand
        :return dict: by ManyChat id, of those that Odoo knows: ``contacts``, ``archived`` and ``companies``, how many;
            ``lead_id``, of the opportunity that follows the conversation, ``row``, of its stage in the stage map,
            ``active``, ``order``, its place in the order of events; and, of the other opportunities of the person,
            ``open``, ``leads`` and ``closed``: lists of ids
        :raises UserError: no migration is open
        :raises AccessError: the caller is not in that group
        """
        self._current()
        manychat_ids = [str(manychat_id) for manychat_id in manychat_ids]
        customers = known_people.find(self.env, manychat_ids)
        everyone = self.env["res.partner"].browse(partner_id for each in customers.values() for partner_id in each.ids)
        leads_of = self.env["crm.lead"]._manychat_without_identity(everyone)
        followed = {
            identity.manychat_id: identity.lead_id
            for identity in self.env["manychat.identity"].search([("manychat_id", "in", manychat_ids)])
        }
        rows = {row.stage_id: row.id for row in self.env["manychat.stage.map"].search([("active", "=", True)])}
        people = {}
        for manychat_id in customers.keys() | followed.keys():
            partners = customers.get(manychat_id, self.env["res.partner"])
            leads = self.env["crm.lead"].browse(lead.id for partner in partners for lead in leads_of.get(partner, ()))
            is_open = leads.filtered(lambda lead: lead.active and not lead.stage_id.is_won)
            lead = followed.get(manychat_id, self.env["crm.lead"])
            people[manychat_id] = {
                "contacts": len(partners),
                "archived": len(partners.filtered(lambda partner: not partner.active)),
                "companies": len(partners.filtered("is_company")),
                "open": is_open.filtered(lambda lead: lead.type == "opportunity").ids,
                "leads": is_open.filtered(lambda lead: lead.type == "lead").ids,
                "closed": (leads - is_open).ids,
                "lead_id": lead.id,
                "row": rows.get(lead.stage_id, False),
                "stage": lead.stage_id.name,
                "active": lead.active,
                "order": lead.manychat_order,
            }
        return people

    @api.model
    @bridge_only
    def get_writers(self):
        """Who wrote contacts with a ManyChat ID since the migration began to write. For “ManyChat Bridge”, over RPC.

        :return list: dicts of ``user``, ``partners`` (how many) and ``last``
        :raises UserError: no migration is open
        """
        migration = self._current()
        since = migration.started_at or fields.Datetime.now()
        return [{**each, "last": iso_utc(each["last"])} for each in migration._writers(since)]

    # ------------------------------------------------------------
    # RPC: writing
    # ------------------------------------------------------------

    @api.model
    @bridge_only
    def apply_events(self, events):
        """Apply events of the migration as ``crm.lead.manychat_apply`` does, without notifications.

        Automation rules do not run for what it creates and changes. A migration never replaces a salesperson.

        :param list events: envelopes, as for ``crm.lead.manychat_apply``
        :return list: results, as of ``crm.lead.manychat_apply``
        :raises UserError: no migration is open
        :raises AccessError: the caller is not in that group
        """
        migration = self._current()
        if not migration.started_at:
            migration.started_at = fields.Datetime.now()
            migration.flush_recordset()
        return (
            self.env["crm.lead"].with_context(**QUIET, manychat_migrating=Migrating(migration)).manychat_apply(events)
        )

    @api.model
    @bridge_only
    def roll_back(self, before_id=0, limit=100, dry_run=False):
        """Undo the newest of what the migration did and what has not been used since. A repeated call does no harm.

        :param int before_id: go on with the lines before this one; 0 for the newest
        :param int limit: how many lines to go through
        :param bool dry_run: only say what would be undone
        :return dict: ``next``: the next ``before_id``, or 0 at the end; ``undone``: how many of each kind; ``kept``:
            dicts of ``manychat_id``, ``lead_id`` and ``reason``; ``events``: ids of the events that are undone
        :raises UserError: no migration is open
        :raises AccessError: the caller is not in that group
        """
        migration = self._current()
        domain = [("migration_id", "=", migration.id), ("is_undone", "=", False)]
        if before_id:
            domain.append(("id", "<", before_id))
        lines = self.env["manychat.migration.line"].search(domain, limit=limit)
        lines = lines.with_context(**APPLYING, **QUIET, manychat_migrating=Migrating(migration))
        return {**lines._undo(dry_run), "next": lines[-1:].id or 0}

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    def _stages_of_the_table(self):
        """The stages of the customer's table, and where the stage map has them: list of dicts."""
        by_name = {}
        for stage in self.env["crm.stage"].search([("id", "!=", False)]):
            by_name.setdefault(normalize_label(stage.name), []).append(stage.id)
        rows = {row.manychat_stage_id: row for row in self.env["manychat.stage.map"].search([("active", "=", True)])}
        found = []
        for label, number, name in STAGES:
            row, same_id = rows.get(number), self.env["crm.stage"].browse(number).exists()
            found.append(
                {
                    "number": number,
                    "label": label,
                    "expected": name,
                    "stage_of_that_id": same_id.name or False,
                    "same_name": by_name.get(normalize_label(name), []),
                    "mapped_to": row.stage_id.id if row else False,
                    "mapped_name": row.stage_id.name if row else False,
                }
            )
        return found

    def _without_user(self, role, numbers):
        known = self.env["manychat.advisor"].search([("role", "=", role), ("external_id", "in", list(numbers))])
        return sorted(set(numbers) - set(known.filtered("user_id").mapped("external_id")))

    def _contacts(self):
        if not (expression := known_people.identifier(self.env)):
            return False
        self.env["res.partner"].flush_model([known_people.NAME, "active"])
        self.env.cr.execute(
            SQL(
                """
                WITH known AS (
                    SELECT count(*) AS number, bool_and(NOT active) AS archived
                      FROM res_partner WHERE %(id)s IS NOT NULL GROUP BY %(id)s)
                SELECT count(*), COALESCE(sum(number), 0)::bigint, count(*) FILTER (WHERE number > 1),
                       count(*) FILTER (WHERE archived)
                  FROM known
                """,
                id=expression,
            )
        )
        people, contacts, doubled, archived = self.env.cr.fetchone()
        return {"people": people, "contacts": contacts, "doubled": doubled, "archived": archived}

import secrets

from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError
from odoo.tools import SQL

from ..apply import known_people
from ..rights import managers_only
from ..sentences import menu_path

CREATED, TAKEN_OVER, FOLLOWED = "created", "taken_over", "followed"
#: Why an undoing leaves an opportunity as it is.
GONE, CHANGED, MESSAGES, ACTIVITIES = "gone", "changed", "messages", "activities"
EVENTS, FOLLOWERS, REFERRED = "events", "followers", "referred"


class Migrating(str):
    """The batch of a migration, in the context while its events are applied. A context from outside has plain texts.

    :ivar dict before: lead id → what it was like before this call, as :mod:`.crm_lead_migration` keeps it
    """

    def __new__(cls, migration):
        token = super().__new__(cls, migration.batch)
        token.migration_id = migration.id
        token.before = {}
        return token

    # Odoo reuses an environment whose context is equal.
    __eq__ = object.__eq__
    __hash__ = object.__hash__


def migrating(env):
    """The :class:`Migrating` of ``env``, or ``None``."""
    token = env.context.get("manychat_migrating")
    return token if isinstance(token, Migrating) else None


class ManychatMigration(models.Model):
    """A window in which ``python -m bridge migrate`` may work on this database, and the batch of what it did.

    A sales manager opens it and closes it. Nothing of it works with the bridge's key alone.
    """

    _name = "manychat.migration"
    _description = "ManyChat Migration"
    _inherit = "manychat.unique"
    _unique = ((["state"], "state = 'open'"),)
    _order = "id desc"

    name = fields.Char(required=True, default=lambda self: str(fields.Date.context_today(self)))
    state = fields.Selection(
        [("open", "Open"), ("closed", "Closed")],
        required=True,
        readonly=True,
        default="open",
        copy=False,
        help="While a migration is open, the bridge may look up which contacts have a ManyChat ID, create and take "
        "over opportunities, and undo that.",
    )
    batch = fields.Char(
        readonly=True,
        required=True,
        copy=False,
        default=lambda self: secrets.token_hex(6),
        help="The batch id: each row that the migration writes has it, in Odoo and in SQL.",
    )
    started_at = fields.Datetime("First Written On", readonly=True, copy=False)
    line_ids = fields.One2many("manychat.migration.line", "migration_id", "Opportunities", readonly=True)
    created_count = fields.Integer(
        "Created", compute="_compute_counts", help="Opportunities that the migration created."
    )
    taken_over_count = fields.Integer(
        "Taken Over",
        compute="_compute_counts",
        help="Open opportunities that contacts had already. They follow the conversation now.",
    )
    followed_count = fields.Integer(
        "Known Before",
        compute="_compute_counts",
        help="Opportunities that followed the conversation already.",
    )
    undone_count = fields.Integer(
        "Undone", compute="_compute_counts", help="What “python -m bridge migrate rollback” has undone."
    )

    # ------------------------------------------------------------
    # Constraints
    # ------------------------------------------------------------

    @api.constrains("state")
    def _check_one_open(self):
        for migration in self.filtered(lambda migration: migration.state == "open"):
            if self.search_count([("state", "=", "open"), ("id", "!=", migration.id)], limit=1):
                raise ValidationError(self.env._("Another migration is open. Close it first."))

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("line_ids")
    def _compute_counts(self):
        counts = {
            (migration.id, made, is_undone): count
            for migration, made, is_undone, count in self.env["manychat.migration.line"]._read_group(
                [("migration_id", "in", self.ids)], ["migration_id", "made", "is_undone"], ["__count"]
            )
        }
        for migration in self:
            kinds = {CREATED: 0, TAKEN_OVER: 0, FOLLOWED: 0}
            for made in kinds:
                kinds[made] = counts.get((migration.id, made, False), 0)
            migration.created_count, migration.taken_over_count, migration.followed_count = kinds.values()
            migration.undone_count = sum(counts.get((migration.id, made, True), 0) for made in kinds)

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    def init(self):
        known_people.index(self.env.cr)
        return super().init()

    @api.ondelete(at_uninstall=False)
    def _unlink_except_used(self):
        if self.line_ids:
            raise UserError(self.env._("This migration has made opportunities. Its list is needed to undo that."))

    # ------------------------------------------------------------
    # Actions
    # ------------------------------------------------------------

    @managers_only
    def action_close(self):
        """End the window: no call of a migration works until a manager opens it again."""
        self.sudo().state = "closed"

    @managers_only
    def action_open(self):
        """Open the window again, to go on with this batch or to undo it."""
        self.sudo().state = "open"

    @managers_only
    def action_view_leads(self):
        """Open the opportunities that the migration made or changed."""
        self.ensure_one()
        domain = [("id", "in", self.line_ids.filtered(lambda line: not line.is_undone).lead_id.ids)]
        return self.env["crm.lead"]._manychat_list_action(self.display_name, domain)

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @api.model
    def _current(self):
        """The open migration.

        :raises UserError: none is open
        """
        migration = self.search([("state", "=", "open")], limit=1)
        if not migration:
            raise UserError(
                self.env._(
                    "No migration is open in Odoo. A sales manager opens one under %s: press New and save.",
                    menu_path(self.env, "miasalud_crm.manychat_migration_menu"),
                )
            )
        return migration

    def _writers(self, since):
        """Who wrote contacts with a ManyChat ID since then: list of dicts of ``user``, ``partners`` and ``last``."""
        if not (expression := known_people.identifier(self.env)):
            return []
        rows = self.env.execute_query(
            SQL(
                "SELECT write_uid, count(*), max(write_date) FROM res_partner "
                "WHERE %s IS NOT NULL AND write_date > %s GROUP BY 1 ORDER BY 2 DESC",
                expression,
                since,
            )
        )
        users = self.env["res.users"]
        return [{"user": users.browse(uid).login or "?", "partners": count, "last": last} for uid, count, last in rows]


class ManychatMigrationLine(models.Model):
    """One event of a migration: which opportunity it created or changed, and what that was like before."""

    _name = "manychat.migration.line"
    _description = "Opportunity of a ManyChat Migration"
    _order = "id desc"
    _rec_name = "manychat_id"

    migration_id = fields.Many2one("manychat.migration", required=True, readonly=True, ondelete="cascade", index=True)
    manychat_id = fields.Char("ManyChat ID", readonly=True, index=True)
    event_id = fields.Char("Event ID", readonly=True)
    lead_id = fields.Many2one("crm.lead", "Opportunity", readonly=True, ondelete="set null", index="btree_not_null")
    stage_id = fields.Many2one(related="lead_id.stage_id")
    made = fields.Selection(
        [(CREATED, "Created"), (TAKEN_OVER, "Taken Over"), (FOLLOWED, "Known Before")],
        required=True,
        readonly=True,
        help="Created: the person had no opportunity. Taken Over: the person's contact had an open one, without a "
        "ManyChat ID. Known Before: the opportunity followed the conversation already.",
    )
    outcome = fields.Char(readonly=True, help="What the event did: created, moved, updated, unchanged, stale.")
    # Values of the opportunity are personal data: kept to undo, and not for people to read.
    before = fields.Json(readonly=True, groups="base.group_system")
    after = fields.Json(readonly=True, groups="base.group_system")
    is_undone = fields.Boolean("Undone", readonly=True)
    kept = fields.Selection(
        [
            (GONE, "The opportunity was deleted or merged."),
            (CHANGED, "It was changed since."),
            (MESSAGES, "It has messages since."),
            (ACTIVITIES, "It has activities since."),
            (EVENTS, "It has later events."),
            (FOLLOWERS, "It has other followers since."),
            (REFERRED, "Another record refers to it."),
        ],
        "Not Undone Because",
        readonly=True,
        help="Why an undoing left this opportunity as it is: it was used since.",
    )

    def init(self):
        self.env.cr.execute(
            "CREATE INDEX IF NOT EXISTS manychat_migration_line_to_undo "
            "ON manychat_migration_line (migration_id, id) WHERE is_undone IS NOT TRUE"
        )

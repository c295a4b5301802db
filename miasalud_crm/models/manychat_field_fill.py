"""Filling opportunities from kept events when a manager begins to use a field: a job, a page of events at a time."""

import logging
import time

import psycopg2

from odoo import api, fields, models
from odoo.tools import SQL

from bridge.contract.event import from_envelope

from .. import private_sql
from ..apply import refusal
from ..apply.custom_fields import CustomFields
from ..apply.transaction import undivided
from ..apply.unknown_fields import flat
from ..rights import access_required
from .manychat_field_map import UsedField
from .manychat_identity import APPLYING

_logger = logging.getLogger(__name__)

#: Events with unknown fields that one transaction takes.
PAGE = 200
#: Seconds that one run lasts at most. The job is due again a minute later.
FILL_SECONDS = 20
#: Newest events that the dialog looks through for its count.
COUNTED = 2000
CRON = "miasalud_crm.cron_fields"


class ManychatFieldMap(models.Model):
    _inherit = "manychat.field.map"  # pylint: disable=consider-merging-classes-inherited

    fill_kept = fields.Boolean("Also from Kept Events", default=True)
    kept_text = fields.Char("Kept Events", compute="_compute_kept_text")
    fill_state = fields.Selection([("running", "Filling"), ("done", "Filled")], readonly=True, copy=False)
    fill_position = fields.Integer(readonly=True, copy=False, aggregator=None)
    fill_events = fields.Integer("Kept Events with the Field", readonly=True, copy=False, aggregator=None)
    fill_changed = fields.Integer("Opportunities Changed", readonly=True, copy=False, aggregator=None)
    fill_failed = fields.Integer("Kept Events Left Out", readonly=True, copy=False, aggregator=None)
    fill_text = fields.Char("From Kept Events", compute="_compute_fill_text")

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("name")
    def _compute_kept_text(self):
        events = self.sudo()._events_after(0, COUNTED, newest_first=True) if self else []
        found = [flat(extra) for _id, extra, _received_at in events]
        for row in self:
            count = sum(row.key in each for each in found)
            if len(events) < COUNTED:
                row.kept_text = self.env._("Kept events that carry it: %s", count)
            else:
                row.kept_text = self.env._(
                    "Of the newest %(all)s kept events with unknown fields, %(count)s carry it. The older ones are "
                    "looked through too.",
                    all=COUNTED,
                    count=count,
                )

    @api.depends("fill_state", "fill_events", "fill_changed", "fill_failed")
    def _compute_fill_text(self):
        for row in self:
            if not row.fill_state:
                row.fill_text = False
                continue
            values = {"events": row.fill_events, "changed": row.fill_changed, "failed": row.fill_failed}
            if row.fill_state == "running":
                row.fill_text = self.env._("Events so far: %(events)s; changes: %(changed)s …", **values)
            else:
                row.fill_text = self.env._(
                    "Events: %(events)s; changes: %(changed)s; not converted: %(failed)s", **values
                )

    # ------------------------------------------------------------
    # Actions
    # ------------------------------------------------------------

    @access_required("write")
    def action_fill(self):
        """Fill opportunities from the events that are kept. It changes nothing that a user or a newer event set."""
        self.filtered(lambda row: row.state == "used" and not row.is_gone)._start_filling()

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    def _start_filling(self):
        for row in self:
            values = dict.fromkeys(("fill_position", "fill_events", "fill_changed", "fill_failed"), 0)
            row.write({"fill_state": "running", **values})
        if self and (job := self.env.ref(CRON, raise_if_not_found=False)):
            job.sudo()._trigger()

    @api.model
    def _fill_some(self):
        """Fill opportunities for half a minute at most, a page of events and a transaction at a time.

        Never raises: Odoo deactivates a job that keeps failing.
        """
        deadline = time.monotonic() + FILL_SECONDS
        try:
            while row := self.search([("fill_state", "=", "running")], limit=1, order="id"):
                with private_sql.private(self.env.cr):
                    row._fill_page()
                    self.env.flush_all()
                self.env.cr.commit()  # pylint: disable=invalid-commit
                if time.monotonic() > deadline:
                    break
        except (psycopg2.errors.SerializationFailure, psycopg2.errors.LockNotAvailable):
            self.env.cr.rollback()  # a bridge works on one of the opportunities; the rest can wait for a minute
        except Exception as error:
            self.env.cr.rollback()
            _logger.error("Opportunities could not be filled from kept events: %s", private_sql.failure(error))

    def _fill_page(self):
        """Take the next page of kept events.

        Newest first, so that each opportunity is written once; where the first value counts, oldest first.
        """
        self.ensure_one()
        if self.state != "used" or self.is_gone:
            self.fill_state = "done"
            return
        rows = self._kept_page()
        carrying = rows.filtered(
            lambda event: event.lead_id and event.state == "done" and self.key in flat(event.extra)
        )
        changed, failed = self._fill_from(carrying)
        self.write(
            {
                "fill_events": self.fill_events + len(carrying),
                "fill_changed": self.fill_changed + changed,
                "fill_failed": self.fill_failed + failed,
                "fill_position": rows[-1:].id or self.fill_position,
                "fill_state": "running" if len(rows) == PAGE else "done",
            }
        )

    def _kept_page(self):
        """The next page of kept events with unknown fields."""
        order, than = ("id", ">") if self.keep_first else ("id DESC", "<")
        self.env.cr.execute(
            SQL(
                "SELECT id FROM manychat_event WHERE extra IS NOT NULL AND type = 'opportunity' "
                "AND (%(start)s = 0 OR id %(than)s %(start)s) ORDER BY %(order)s LIMIT %(size)s",
                start=self.fill_position,
                than=SQL(than),
                order=SQL(order),
                size=PAGE,
            )
        )
        return self.env["manychat.event"].browse(event_id for (event_id,) in self.env.cr.fetchall())

    def _fill_from(self, rows):
        """Write what the events of ``rows`` say of the field.

        :return tuple: how many opportunities changed, and how many events were left out
        :raises psycopg2.errors.LockNotAvailable: another transaction works on one of the opportunities
        """
        field_map = UsedField(self.id, self.name, self.key, self.field_name, self.keep_first, self.create_missing)
        statement = "SELECT id FROM crm_lead WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE NOWAIT"
        private_sql.fetch(self.env.cr, statement, [rows.lead_id.ids])
        by_id = {row.event_id: row for row in rows}
        events = [from_envelope(row._envelope()) for row in rows]
        custom = CustomFields(self.env, events, by_id, [field_map])
        changed, failed = 0, 0
        Lead = self.env["crm.lead"].with_context(**APPLYING, mail_notify_force_send=False)
        with undivided(self.env):
            for event in events:
                row = by_id[event.id]
                try:
                    with Lead._manychat_savepoint():
                        changed += Lead.browse(row.lead_id.id)._manychat_fill(event, custom)
                except (psycopg2.errors.SerializationFailure, psycopg2.errors.DeadlockDetected):
                    raise
                except Exception as error:
                    # A rule of another app. The event itself was applied long ago, and stays so.
                    _logger.warning(
                        "Event %s (trace %s) does not fill its opportunity: %s",
                        event.id,
                        event.trace_id,
                        private_sql.failure(error),
                    )
                    reason = refusal.reason(self.env, error)
                    custom.warnings[event.id].append({"name": self.name, "field": self.field_name, "reason": reason})
                others = [each for each in row.field_warnings or () if each["name"] != self.name]
                found = [*others, *custom.warnings.get(event.id, ())] or False
                failed += event.id in custom.warnings
                if found != row.field_warnings:
                    row.field_warnings = found
        return changed, failed

import logging
from collections import defaultdict
from contextlib import suppress

import psycopg2

from odoo import SUPERUSER_ID, api, fields, models
from odoo.modules.registry import Registry

from ..private_sql import failure, fetch, private
from .manychat_identity import is_applying

_logger = logging.getLogger(__name__)

#: Key in a transaction's data: the counts of its opportunities are added after the commit.
_AFTER_COMMIT = "manychat_scoring"
#: In the context while Odoo prepares counts that are kept.
PREPARING = "manychat_scoring_preparing"
#: How long counting waits for users who win opportunities at this moment, and for Odoo's nightly job.
PATIENCE = "1s"


def is_preparing(env):
    """Whether Odoo prepares counts of opportunities that the chat has won or reopened."""
    return bool(env.context.get(PREPARING)) and is_applying(env)


class ManychatScoring(models.Model):
    """Opportunities that the chat has won or reopened and that Odoo's lead scoring has not counted yet.

    They all count in the same few rows of ``crm.lead.scoring.frequency``. In one transaction with the opportunities,
    these rows would let only one bridge at a time win any. So the transaction only adds rows here, and a short
    transaction of its own adds them up right after the commit. What a kill leaves behind is added with the next ones.
    """

    _name = "manychat.scoring"
    _description = "Opportunities to Count for Lead Scoring"
    _log_access = False
    _order = "id"

    frequencies = fields.Json(required=True, readonly=True, help="As Odoo counts them: team, field, value, won, lost.")
    step = fields.Integer(required=True, readonly=True, help="1 or -1, by which the counts rise or fall.")

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @api.model
    def _keep(self, frequencies, step):
        """Keep ``frequencies`` until the transaction has ended, and have them added then.

        :param dict frequencies: as ``_pls_update_frequency_table`` of ``crm.lead`` takes them
        :param int step: likewise
        """
        self.sudo().create({"frequencies": frequencies, "step": step})
        after = self.env.cr.postcommit
        if _AFTER_COMMIT not in after.data:
            after.data[_AFTER_COMMIT] = True
            dbname = self.env.cr.dbname
            after.add(lambda: _add_up(dbname))

    @api.model
    def _forget(self):
        """Drop what this transaction sees: the caller counts all opportunities anew."""
        for pending in self.sudo().search([("id", "!=", False)]):
            with suppress(psycopg2.errors.SerializationFailure):  # it has been added up since, so it is gone as well
                fetch(self.env.cr, "DELETE FROM manychat_scoring WHERE id = %s RETURNING id", [pending.id])
        self.invalidate_model()

    @api.model
    def _add_up(self):
        """Add what is kept to the frequencies of Odoo's lead scoring, as Odoo does it.

        :raises psycopg2.errors.SerializationFailure: others were at work there for longer than :data:`PATIENCE`
        """
        cr = self.env.cr
        with private(cr):
            # One at a time. In READ COMMITTED, all that comes after this sees what the others have written.
            cr.execute("LOCK TABLE crm_lead_scoring_frequency IN SHARE ROW EXCLUSIVE MODE")
            kept = fetch(cr, "DELETE FROM manychat_scoring RETURNING id, frequencies, step")
            for step, frequencies in _steps(sorted(kept, key=lambda row: row["id"])):
                self._change_frequencies(frequencies, step)
            self.env.flush_all()

    def _change_frequencies(self, frequencies, step):
        if not frequencies:
            return
        teams = self.env["crm.team"].browse(team_id for team_id in frequencies if team_id).exists()
        frequencies = {team_id: counts for team_id, counts in frequencies.items() if team_id in {0, *teams.ids}}
        names = {name for counts in frequencies.values() for name in counts}
        known = defaultdict(lambda: {name: {} for name in names})
        for row in self.env["crm.lead.scoring.frequency"].search([("variable", "in", sorted(names))], order="id"):
            count = {"frequency_id": row.id, "won": row.won_count, "lost": row.lost_count}
            known[row.team_id.id or 0][row.variable][row.value] = count
        self.env["crm.lead"]._pls_update_frequency_table(frequencies, step, existing_frequencies_by_team=dict(known))

    @api.autovacuum
    def _gc_add_up(self):
        _add_up(self.env.cr.dbname)


def _steps(kept):
    """What is kept, in order, as pairs of step and frequencies: as few as have the same effect."""
    rising = []
    for row in kept:
        if row["step"] > 0:
            rising.append(row["frequencies"])
            continue
        # Falling counts stop at a minimum, so each of them is a step of its own.
        yield 1, _sum(rising)
        yield row["step"], _sum([row["frequencies"]])
        rising = []
    yield 1, _sum(rising)


def _sum(all_frequencies):
    """Frequencies added up. JSON has made texts of the ids of teams."""
    total = defaultdict(lambda: defaultdict(dict))
    for by_team in all_frequencies:
        for team_id, by_field in by_team.items():
            for name, by_value in by_field.items():
                found = total[int(team_id)][name]
                for value, count in by_value.items():
                    so_far = found.get(value, {"won": 0, "lost": 0})
                    found[value] = {kind: so_far[kind] + count[kind] for kind in ("won", "lost")}
    return total


def _add_up(dbname):
    """Add up what is kept, in a transaction of its own. What cannot be added now is added with the next ones."""
    try:
        with Registry(dbname).cursor() as cr:
            cr.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
            cr.execute("SELECT set_config('lock_timeout', %s, true)", [PATIENCE])
            api.Environment(cr, SUPERUSER_ID, {})["manychat.scoring"]._add_up()
    except psycopg2.errors.SerializationFailure:
        _logger.info("Lead scoring is busy; the opportunities are counted with the next ones.")
    except Exception as error:
        # The opportunities are committed: the caller must not take them for failed.
        _logger.warning("Opportunities could not be counted for lead scoring: %s", failure(error))

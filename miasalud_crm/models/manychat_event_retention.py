"""The end of the event log: finished events are deleted after the retention time."""

import logging
import time

import psycopg2

from odoo import api, models

from .. import private_sql
from .manychat_event import retention_limit

_logger = logging.getLogger(__name__)

#: Rows per transaction: deleting them takes a fraction of a second.
BATCH = 1000
#: Seconds that one run lasts at most. The job is due again a minute later.
RETENTION_SECONDS = 30


class ManychatEvent(models.Model):
    _inherit = "manychat.event"  # pylint: disable=consider-merging-classes-inherited

    # ------------------------------------------------------------
    # Cron
    # ------------------------------------------------------------

    @api.model
    def _cron_retention(self):
        """Delete finished events after the retention time. An event that is not finished stays, however old it is.

        A discarded event stays until a bridge has reported that its dead letter is closed.

        Each batch is a transaction of its own. If events wait for the relay, which may need this very thread, the run
        ends after a batch. Never raises: Odoo deactivates a job that keeps failing.
        """
        deadline, deleted, last = time.monotonic() + RETENTION_SECONDS, 0, None
        try:
            limit = retention_limit(self.env)
            # From where the batch before has ended: the index still has the rows that are gone.
            while batch := self._delete_finished(limit, last):
                deleted, last = deleted + len(batch), batch[-1]
                if len(batch) < BATCH or time.monotonic() > deadline or self._relay_is_awaited():
                    break
        except psycopg2.errors.SerializationFailure:
            self.env.cr.rollback()  # a user or a bridge is changing one of the events; the rest can wait for a minute
        except Exception as error:
            self.env.cr.rollback()
            _logger.error(
                "Old ManyChat events could not be deleted; it is tried again in a minute: %s",
                private_sql.failure(error),
            )
        if deleted:
            _logger.info("Deleted %s finished ManyChat events, whose retention time is over.", deleted)

    def _delete_finished(self, limit, last):
        """Delete and commit one batch of finished events, oldest first. What another transaction holds stays.

        :param datetime limit: only events received before
        :param last: what the call before returned as its last element, or ``None``
        :return list: (receipt as text, row id) of the deleted events, oldest first
        """
        received_at, row_id = last or ("-infinity", 0)
        statement = """
            SELECT id, received_at::text AS received_at FROM manychat_event
             WHERE received_at < %(limit)s AND state IN ('done', 'discarded') AND discard_to_report IS NOT TRUE
               AND (received_at, id) > (%(received_at)s::timestamp, %(row_id)s)
             ORDER BY received_at, id LIMIT %(size)s FOR UPDATE SKIP LOCKED
        """
        parameters = {"limit": limit, "received_at": received_at, "row_id": row_id, "size": BATCH}
        rows = private_sql.fetch(self.env.cr, statement, parameters)
        with private_sql.private(self.env.cr):
            self.browse(row["id"] for row in rows).unlink()
        # One long transaction would hold back PostgreSQL's own cleaning.
        self.env.cr.commit()  # pylint: disable=invalid-commit
        self.env.invalidate_all()
        return [(row["received_at"], row["id"]) for row in rows]

    def _relay_is_awaited(self):
        """Whether events wait that no relay has claimed."""
        return bool(self.search_count([("state", "=", "pending"), ("claimed_until", "=", False)], limit=1))

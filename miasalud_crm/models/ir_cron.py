import logging
import os
import threading
from datetime import timedelta

import psycopg2

from odoo import api, fields, models, sql_db
from odoo.addons.base.models.ir_cron import ODOO_NOTIFY_FUNCTION
from odoo.tools import SQL, config

_logger = logging.getLogger(__name__)

#: In the context of the job that the webhook wakes.
KEEP_NOTIFY_CONNECTION = "manychat_keep_notify_connection"
#: Our jobs; each is due every minute. The first one sends the events.
RELAY_JOB = "miasalud_crm.cron_relay"
JOBS = (
    RELAY_JOB,
    "miasalud_crm.cron_release",
    "miasalud_crm.cron_alerts",
    "miasalud_crm.cron_waiting",
    "miasalud_crm.cron_resend",
    "miasalud_crm.cron_retention",
)
#: A job that has been due for so long does not run: no server runs scheduled actions, or all are busy.
LATE_AFTER = timedelta(minutes=3)
#: The same on a server that itself runs none: only another one could.
LATE_WITHOUT_THREADS = timedelta(seconds=30)
ARCHIVED, LATE, DELETED = "archived", "late", "deleted"


class IrCron(models.Model):
    _inherit = "ir.cron"

    @api.model
    def _manychat_stopped(self, names=JOBS):
        """Our jobs that do not run.

        :param names: their XML ids
        :return list: pairs of name and ``archived``, ``late`` or ``deleted``
        """
        limit = fields.Datetime.now() - (LATE_AFTER if config["max_cron_threads"] else LATE_WITHOUT_THREADS)
        ids = {name: self.env["ir.model.data"]._xmlid_to_res_id(name) for name in names}
        jobs = {job.id: job for job in self.sudo().browse(filter(None, ids.values())).exists()}
        stopped = []
        for name, job_id in ids.items():
            job = jobs.get(job_id)
            if not job:
                stopped.append((name, DELETED))
            elif not job.active:
                stopped.append((job.name, ARCHIVED))
            elif job.nextcall < limit:
                stopped.append((job.name, LATE))
        return stopped

    def _notifydb(self):
        # Odoo opens a connection for each notice: its pool keeps none to the database “postgres”, on which cron threads
        # listen. That takes a third of the time of an event's request.
        if self.env.context.get(KEEP_NOTIFY_CONNECTION) and _notifier.notify(self.env.cr.dbname):
            return None
        return super()._notifydb()


class _Notifier:
    """One connection per process to the database on which Odoo's cron threads listen, opened at its first use."""

    def __init__(self):
        self._lock = threading.Lock()
        self._connection = None
        self._process = None

    def notify(self, database):
        """Notify the cron threads that a job of ``database`` is due.

        :return bool: whether it worked; PostgreSQL may have restarted or closed the connection
        """
        statement = SQL("SELECT %s('cron_trigger', %s)", SQL.identifier(ODOO_NOTIFY_FUNCTION), database)
        with self._lock:
            try:
                with self._connected().cursor() as cursor:
                    cursor.execute(statement.code, statement.params)
                return True
            except psycopg2.Error as error:
                _logger.info("The connection for waking cron threads is gone (%s).", type(error).__name__)
                self._connection = None
                return False

    def _connected(self):
        # Two processes cannot share a connection. Do not close the parent's: that would close it in the parent.
        if self._connection is None or self._process != os.getpid():
            _database, parameters = sql_db.connection_info_for("postgres")
            self._connection = psycopg2.connect(**parameters)
            self._connection.autocommit = True
            self._process = os.getpid()
        return self._connection


_notifier = _Notifier()

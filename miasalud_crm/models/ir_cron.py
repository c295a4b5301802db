from datetime import timedelta

from odoo import api, fields, models
from odoo.tools import config

from ..relay_thread import RELAY_JOB

#: Our jobs; each is due every minute. The first one sends the events.
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

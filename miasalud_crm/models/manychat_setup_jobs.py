from odoo import api, models

from ..sentences import menu_path
from .ir_cron import ARCHIVED, DELETED
from .manychat_setup import _step


class ManychatSetup(models.AbstractModel):
    """The step of the scheduled actions."""

    _inherit = "manychat.setup"  # pylint: disable=consider-merging-classes-inherited

    def _jobs_step(self):
        title, stopped = self.env._("The scheduled actions"), self._jobs_sentence()
        if not stopped:
            text = self.env._("Odoo runs the app's scheduled actions. They send the events and look for problems.")
            return _step("jobs", "done", title, text, [])
        is_admin = self.env.user.has_group("base.group_system")
        actions = [(self.env._("Scheduled Actions"), "base.ir_cron_act")] if is_admin else []
        return _step("jobs", "warning", title, stopped, actions, ask=self._jobs_request(title, stopped))

    @api.model
    def _jobs_sentence(self):
        """Which of our scheduled actions do not run, and what to do; empty if all run."""
        stopped = self.env["ir.cron"]._manychat_stopped()
        if not stopped:
            return ""
        names = ", ".join(f"“{name}”" for name, _why in stopped)
        if {why for _name, why in stopped} == {ARCHIVED}:
            return self.env._(
                "These scheduled actions are archived: %(names)s. An administrator activates them under %(menu)s.",
                names=names,
                menu=menu_path(self.env, "base.menu_ir_cron_act"),
            )
        if DELETED in {why for _name, why in stopped}:
            return self.env._("These scheduled actions do not exist or do not run: %s. Upgrade the app.", names)
        return self.env._(
            "Odoo does not run its scheduled actions: %s. The server's administrator sets max_cron_threads in odoo.conf"
            " to 1 or more, or starts the server that runs them. Until then, each webhook call sends the events that "
            "wait.",
            names,
        )

import logging

from odoo import models, release

from bridge.contract.opportunity_state import Actor

from ..actor import acting
from .manychat_identity import is_applying
from .manychat_migration import migrating

_logger = logging.getLogger(__name__)


class IrActionsServer(models.Model):
    _inherit = "ir.actions.server"

    def run(self):
        # Automation rules and scheduled actions run as server actions, too.
        with acting(Actor.AUTOMATION):
            return super().run()

    def _get_runner(self):
        # What a migration brings happened long ago: no automation rule is to answer it today.
        if migrating(self.env) and self.usage == "base_automation":
            return (lambda _action, eval_context=None: False), True
        return super()._get_runner()

    def _run_action_webhook(self, eval_context=None):
        # Odoo 18 calls at once, also for records that are rolled back a moment later. Odoo 19 waits for the commit.
        if release.version_info[0] >= 19 or not is_applying(self.env) or not self.webhook_url:
            return super()._run_action_webhook(eval_context)
        call = super()._run_action_webhook

        @self.env.cr.postcommit.add
        def call_after_commit():
            try:
                call(eval_context)
            except Exception as error:
                # What is committed stays so, whatever becomes of the call.
                _logger.warning("The webhook of server action %s failed: %s", self.id, type(error).__name__)

        return None

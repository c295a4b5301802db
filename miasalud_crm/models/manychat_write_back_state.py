from datetime import timedelta

from odoo import api, fields, models

from bridge.contract.outcomes import WriteBackState

from ..manychat_account import NoAnswer, require_token

#: Obstacles that end by themselves. The others need an administrator.
PASSING = (WriteBackState.STOPPED, WriteBackState.UNREACHABLE)
#: Refusals that are older are no news.
LOOKED_BACK = timedelta(hours=24)


class ManychatWriteBack(models.Model):
    """Whether the way to ManyChat is open: the token of Odoo, the bridges, and what is missing in ManyChat."""

    _inherit = "manychat.write.back"  # pylint: disable=consider-merging-classes-inherited

    token_text = fields.Text("API Token in Odoo", compute="_compute_token_text", compute_sudo=True)
    bridge_text = fields.Text("Bridge", compute="_compute_bridge_text", compute_sudo=True)
    is_bridge_ready = fields.Boolean(compute="_compute_bridge_text", compute_sudo=True)
    refused_count = fields.Integer("Refused", compute="_compute_refused_count", groups="sales_team.group_sale_salesman")

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends_context("lang")
    def _compute_token_text(self):
        try:
            require_token(self.env)
            text = self.env._("Set. Test asks ManyChat whether it is accepted.")
        except NoAnswer as failure:
            text = self._sentence(failure)
        self.token_text = text

    @api.depends_context("lang")
    def _compute_bridge_text(self):
        state = self._bridge_state()
        self.bridge_text = self._bridge_sentence(state)
        self.is_bridge_ready = state == WriteBackState.READY

    def _compute_refused_count(self):
        # As the list has it that opens: what the user may see, lost opportunities too.
        leads = self.env["crm.lead"].with_context(active_test=False)
        domain = [("type", "=", "opportunity"), ("manychat_unsent", "=", True)]
        self.refused_count = leads.search_count(domain)

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @api.model
    def _bridge_state(self):
        """What the running bridges say: one that can write is enough.

        :return str: of :class:`WriteBackState`; ``None``: none says; ``False``: none is running
        """
        running = self.env["manychat.bridge"].sudo()._running()
        if not running:
            return False
        said = {bridge.write_back for bridge in running}
        return next((state for state in WriteBackState if state in said), None)

    @api.model
    def _bridge_sentence(self, state):
        """What ``state``, of :meth:`_bridge_state`, means, and what to do."""
        if state is False:
            return self.env._("No bridge is running. What is decided waits until one runs; see Getting Started.")
        if state is None:
            return self.env._(
                "The bridge has not said whether it can write to ManyChat. It says so within a minute after its start. "
                "One of an older release does not write."
            )
        return {
            WriteBackState.READY: self.env._("The bridge has the API token, and can write to ManyChat."),
            WriteBackState.NO_TOKEN: self.env._(
                "The bridge has no API token, so nothing reaches ManyChat. The server's administrator sets "
                "BRIDGE_MANYCHAT_API_TOKEN for the bridge and restarts it. It then writes what was decided since Tell "
                "ManyChat was switched on."
            ),
            WriteBackState.WRONG_TOKEN: self.env._(
                "ManyChat does not accept the API token of the bridge. The server's administrator copies it again from "
                "ManyChat, Settings ▸ API, into BRIDGE_MANYCHAT_API_TOKEN and restarts the bridge. Nothing is lost."
            ),
            WriteBackState.STOPPED: self.env._(
                "ManyChat takes no calls at the moment, because there were too many; for up to 24 hours. The bridge "
                "goes on by itself, and nothing is lost."
            ),
            WriteBackState.UNREACHABLE: self.env._(
                "ManyChat does not answer the bridge. The bridge goes on by itself, and nothing is lost. If it lasts, "
                "check the server's way to the internet, and status.manychat.com."
            ),
        }[state]

    @api.model
    def _obstacles(self):
        """What an administrator must do before everything that is decided reaches ManyChat.

        :return list: sentences in the user's language; empty while it is off
        """
        settings = self.sudo().search([], limit=1)
        if not settings.enabled:
            return []
        state = self._bridge_state()
        said = [self._bridge_sentence(state)] if state and state not in (WriteBackState.READY, *PASSING) else []
        return said + (settings.warning or "").splitlines()

    @api.model
    def _refused_count(self):
        """Opportunities of which ManyChat refused something in the last 24 hours that no user has seen."""
        since = fields.Datetime.now() - LOOKED_BACK
        refused = [("unsent", "=", True), ("unsent_at", ">=", since)]
        groups = self.env["manychat.identity"].sudo()._read_group(refused, [], ["lead_id:count_distinct"])
        return groups[0][0]

"""What would happen to an event: the answer to a dry run, for a bot and for the page *Requests for ManyChat*."""

from datetime import datetime, timezone

from odoo import api, models
from odoo.exceptions import UserError

from bridge.contract import webhook
from bridge.contract.payloads import WEBHOOKS, EventType
from bridge.contract.request_headers import RequestHeaders
from bridge.contract.webhook import WebhookError

from ..rights import bot_builders_only
from ..sentences import answer_in_language, say


class ManychatRequest(models.AbstractModel):
    _inherit = "manychat.request"  # pylint: disable=consider-merging-classes-inherited

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @api.model
    def _forecast(self, event, is_recorded=False):
        """What would happen to ``event``, in the language of the environment. Stores nothing.

        :param bridge.contract.event.Event event: a valid event
        :param bool is_recorded: an unknown stage becomes an open alias, for people to map
        :return dict: the body of the answer
        """
        self = self.sudo()
        forecast = webhook.forecast(event, duplicate=self.env["manychat.event"]._is_known(event.id))
        if event.type is EventType.OPPORTUNITY:
            state = event.payload.state
            stage = self.env["manychat.stage.map"]._resolver()(state.stage_id, state.stage)
            if is_recorded and not stage:
                self.env["manychat.stage.alias"]._open(state.stage_id, state.stage)
            name = stage.stage_id.name
            forecast["stage"] = name or None
            forecast["message"] = (
                say(self.env, "The opportunity would enter the stage “%(stage)s”.", stage=name)
                if stage
                else say(
                    self.env,
                    "This ManyChat stage is not mapped yet: the event would wait until a manager maps it in Odoo.",
                )
            )
        return forecast

    def _zone(self):
        """The zone of dates that do not name theirs: that of the newest key of a bot; UTC without one."""
        key = self.env["manychat.api.key"].sudo()._for_senders()[:1]
        return key._zone() if key else timezone.utc

    # ------------------------------------------------------------
    # RPC
    # ------------------------------------------------------------

    @api.model
    @bot_builders_only
    def try_request(self, webhook_name, body):
        """Answer of a webhook to ``body`` with the header ``X-Dry-Run: 1``. Stores nothing.

        :param str webhook_name: type of the event, as in :meth:`requests`
        :param str body: of the request, as ManyChat sends it
        :return dict: ``status`` (HTTP) and ``answer``, with its messages in the user's language
        :raises AccessError: the user is neither a sales manager nor a bot builder
        :raises UserError: there is no such webhook
        """
        if webhook_name not in list(WEBHOOKS):
            raise UserError(self.env._("There is no such webhook."))
        try:
            event = webhook.read_event(
                EventType(webhook_name),
                str(body).encode(errors="replace"),
                RequestHeaders({}.get),
                received_at=datetime.now(timezone.utc),
                source="odoo",
                zone=self._zone(),
            )
        except WebhookError as error:
            return {"status": error.status, "answer": answer_in_language(self.env, error.body)}
        return {"status": 200, "answer": answer_in_language(self.env, self._forecast(event))}

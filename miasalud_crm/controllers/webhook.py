from datetime import datetime, timezone

import psycopg2

from odoo import http
from odoo.http import request

from bridge import spans
from bridge.contract import webhook
from bridge.contract.keys import Scope
from bridge.contract.payloads import WEBHOOKS
from bridge.contract.request_headers import RequestHeaders
from bridge.contract.sentences import sentence
from bridge.contract.webhook import WebhookError

from .. import sent_request, valid_key
from ..private_sql import private
from . import request_ids
from .api import authenticate, route, webhook_env, webhook_user_id


class ManychatWebhook(http.Controller):
    """Receive ManyChat's External Requests: check them against the contract, store them in the outbox, answer 200.

    Each type of event has its route, see below.
    """

    def _receive(self, event_type):
        """Take one event in.

        :return tuple: 200 and the event id with its warnings; with ``X-Dry-Run: 1``, what would happen
        :raises WebhookError: nothing of the request reaches the outbox
        """
        received_at = datetime.now(timezone.utc)
        key = authenticate()
        http_request = request.httprequest
        headers = RequestHeaders(http_request.headers.get)
        body = b""
        try:
            key.require(Scope.webhook)
            webhook.check_headers(http_request.content_length, http_request.environ.get("CONTENT_TYPE") or "")
            body = request.dispatcher.read_body()
            event = webhook.read_event(
                event_type,
                body,
                headers,
                received_at=received_at,
                source="odoo",
                zone=key.zone,
            )
            request_ids.name_trace(http_request.environ, event)
            if key.test_manychat_id and event.manychat_id != key.test_manychat_id:
                message = sentence("This key is for one test event. Bots need a key of their own.")
                raise WebhookError(403, "test_key", message)
        except WebhookError as error:
            if headers.is_recorded or not headers.is_dry_run:
                sent = sent_request.of(http_request, body)
                request.env["manychat.event"]._record_refusal(event_type, error, sent, key)
            raise
        if headers.is_dry_run:
            return 200, webhook_env()["manychat.request"]._forecast(event, headers.is_recorded)
        with spans.webhook(event, received_at, service=spans.ODOO) as traced:
            self._store(traced, key, sent_request.of(http_request, body))
        return 200, webhook.accepted(event)

    def _refuse_method(self, event_type, error):
        """Keep a bot's request with the wrong method, of which every one is lost. Without a valid key it is no bot's.

        :param WebhookError error: the answer, which is the same with and without a key
        """
        http_request = request.httprequest
        headers = RequestHeaders(http_request.headers.get)
        if headers.is_dry_run and not headers.is_recorded:
            return
        with private(request.env.cr):
            key = valid_key.find(request.env.cr, headers.api_key)
            if not key:
                return
            try:
                body = request.dispatcher.read_body()
            except WebhookError:
                body = b""
            sent = sent_request.of(http_request, body)
            request.env["manychat.event"]._record_refusal(event_type, error, sent, key)
            request.env.flush_all()

    def _store(self, event, key, sent):
        """Put ``event`` into the outbox, unless it is there.

        :param dict sent: the request, see :func:`.sent_request.of`
        :raises psycopg2.errors.SerializationFailure: it is not there, because another transaction was in the way
        """
        events = request.env["manychat.event"].with_user(webhook_user_id())
        try:
            events._enqueue(event, key, sent)
        except psycopg2.errors.SerializationFailure:
            # Most conflicts are with a request that stores the same event. A new transaction sees what it stored.
            request.env.cr.rollback()
            request.env.transaction.clear()
            if not events.sudo()._is_known(event.id):
                raise


def _add_route(event_type):
    def refuse_method(self, error):
        self._refuse_method(event_type, error)

    @route(event_type.spec.path, event_type.spec.method, on_wrong_method=refuse_method)
    def receive(self):
        return self._receive(event_type)

    setattr(ManychatWebhook, event_type.value, receive)


for _event_type in WEBHOOKS:
    _add_route(_event_type)

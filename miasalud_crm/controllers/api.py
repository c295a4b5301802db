"""What all routes of the addon share: the check of the key, and one format of errors."""

import logging
import re
from functools import wraps

import psycopg2

from odoo import http
from odoo.http import request

from bridge.contract import webhook
from bridge.contract.payloads import WEBHOOKS
from bridge.contract.request_headers import RequestHeaders
from bridge.contract.throttle import Throttle
from bridge.contract.webhook import WebhookError

from .. import valid_key, wrong_keys
from ..private_sql import failure, private
from ..rights import company_language
from ..sentences import answer_in_language
from . import request_ids
from .dispatcher import ManychatDispatcher, make_answer

_logger = logging.getLogger(__name__)

#: Tries when another request is inserting the same event. Odoo itself would sleep for seconds before the second try,
#: which already sees what the other request did.
TRIES = 5

#: Answers to requests without a valid key. Such a request has written nothing.
_WITHOUT_KEY = (401, 429)
_WEBHOOKS = {each.spec.path for each in WEBHOOKS}

#: Addresses that sent wrong keys lately.
throttle = Throttle()


def route(path, method, *, on_wrong_method=None):
    """Like ``http.route``, for a JSON endpoint of this addon.

    The endpoint returns ``(status, body)`` or raises ``WebhookError``; any other failure is a 503 without details.
    Requests with a wrong method come here too, so that their answer has the same format. ``HEAD``, which uptime
    monitors send, counts as ``GET``. No session is kept: a bot has no cookies.
    """

    def decorate(endpoint):
        # readonly: Odoo's default for a route without a login is a read-only transaction.
        @http.route(
            path, type=ManychatDispatcher.routing_type, auth="none", readonly=False, csrf=False, save_session=False
        )
        @wraps(endpoint)
        def respond(self):
            try:
                used = request.httprequest.method
                if used != method and (used, method) != ("HEAD", "GET"):
                    error = webhook.wrong_method(method)
                    if on_wrong_method:
                        on_wrong_method(self, error)
                    raise error
                status, body = _with_retries(endpoint, self)
                return make_answer(status, _for_bot_builder(body))
            except WebhookError as error:
                answer = make_answer(error.status, _for_bot_builder(error.body), error.headers)
                if error.status in _WITHOUT_KEY:
                    wrong_keys.write_if_due(request.env.cr)
                return answer
            except Exception as error:
                request.env.cr.rollback()
                trace = request_ids.trace_id(request.httprequest.environ)
                _logger.error("%s failed (trace %s): %s", path, trace, failure(error))
                answer = webhook.unavailable()
                return make_answer(answer.status, answer.body, answer.headers)

        return respond

    return decorate


def webhook_user_id():
    """The id of the addon's own user for webhooks. Odoo remembers it: unlike ``env.ref``, this costs no query."""
    return request.env["ir.model.data"]._xmlid_to_res_id("miasalud_crm.user_webhook", raise_if_not_found=True)


def webhook_env():
    """The environment of the addon's own user for webhooks, in the language of its company."""
    env = request.env(user=webhook_user_id(), su=True)
    return env(context={**env.context, "lang": company_language(env)})


def _for_bot_builder(body):
    """``body`` in the company's language, if it has words for people. Most answers have none, and cost no query."""
    if not (body.get("warnings") or body.get("errors") or body.get("message")):
        return body
    return answer_in_language(webhook_env(), body)


def _with_retries(endpoint, controller):
    for left in reversed(range(TRIES)):
        try:
            with private(request.env.cr):
                answer = endpoint(controller)
                request.env.flush_all()
            return answer
        except psycopg2.errors.SerializationFailure:
            request.env.cr.rollback()
            request.env.transaction.clear()
            if not left:
                raise
    raise AssertionError("unreachable")


def authenticate():
    """The key in the request's ``X-API-KEY``, as a :class:`.valid_key.ValidKey`.

    :raises WebhookError: 401: the key is missing, unknown, revoked or expired (the answer does not say which), or it is
        in the address, and so in the logs of every server on the way; 429: too many wrong keys from this address
    """
    http_request, api_keys = request.httprequest, request.env["manychat.api.key"]
    address = http_request.remote_addr or ""
    try:
        webhook.check_address(http_request.query_string)
    except WebhookError:
        _count(address, *api_keys._judge_address(http_request.query_string))
        raise
    text = RequestHeaders(http_request.headers.get).api_key
    key = valid_key.find(request.env.cr, text)
    if not key:
        seconds = throttle.wrong_key(address)
        _count(address, *api_keys._judge(text))
        if seconds:
            raise webhook.too_many_wrong_keys(seconds)
        _logger.info("A request to %s from %s has no valid key.", http_request.path, address)
        raise webhook.no_valid_key()
    if not valid_key.is_recent(key.last_used):
        api_keys.sudo().browse(key.id)._touch()
    return key


def _count(address, reason, prefix, key_name):
    """Count a request without a valid key, for people to see. Monitors that ask for the report are no bots."""
    path = re.sub(r"/+", "/", request.httprequest.path).removesuffix("/")
    if path in _WEBHOOKS:
        wrong_keys.note(request.env.cr.dbname, address, path, reason, prefix, key_name)

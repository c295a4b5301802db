"""How Odoo hands a request to the routes of this addon, and the form of their answers."""

import json
from functools import wraps

from werkzeug.exceptions import ClientDisconnected, HTTPException, RequestEntityTooLarge

from odoo import http
from odoo.http import request

from bridge.contract import webhook
from bridge.contract.fields import MAX_BODY_BYTES

from . import request_ids


def make_answer(status, body, headers=()):
    """The HTTP response with ``body`` as JSON."""
    content = json.dumps(body, ensure_ascii=False).encode()
    headers = [*headers, ("Content-Type", "application/json; charset=utf-8"), ("Cache-Control", "no-store")]
    return request.make_response(content, headers=headers, status=status)


class ManychatDispatcher(http.HttpDispatcher):
    """Calls the endpoint without arguments.

    Odoo's own dispatcher reads the address and the body as forms, and calls the endpoint with what it finds there: an
    argument ``self`` in the address made every call fail.
    """

    routing_type = "manychat"

    def read_body(self):
        """The body, as bytes; the same when Odoo tries a request again.

        :raises WebhookError: 400: it was cut off; 413
        """
        # One byte more, because werkzeug cuts a body in chunks that is longer. The contract refuses what is too large.
        self.request.httprequest.max_content_length = MAX_BODY_BYTES + 1
        try:
            return self.request.httprequest.get_data()
        except RequestEntityTooLarge:
            raise webhook.too_large() from None
        except (ClientDisconnected, OSError):  # OSError: sent in chunks that are damaged
            raise webhook.incomplete() from None

    def dispatch(self, endpoint, args):
        self.request.params = {}
        return self.request.registry["ir.http"]._dispatch(endpoint)

    def handle_error(self, exc):
        """Answer in the one shape of errors, also where the error happened outside of the endpoint."""
        refused = isinstance(exc, HTTPException) and 400 <= (exc.code or 500) < 500
        answer = webhook.malformed() if refused else webhook.unavailable()
        return make_answer(answer.status, answer.body, answer.headers)


_serve = http.Application.__call__


@wraps(_serve)
def _serve_any(self, environ, start_response):
    # HTTP/1.0 needs no header Host, and Odoo answers 500 without one. Old monitors and proxies send none.
    environ.setdefault("HTTP_HOST", environ.get("SERVER_NAME", ""))
    # Here, because what Odoo answers before it finds a route needs the id too.
    return _serve(self, environ, request_ids.answering(environ, start_response))


http.Application.__call__ = _serve_any

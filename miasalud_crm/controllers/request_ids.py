"""The ``X-Request-Id`` of every answer at the addresses of this addon, also of those that Odoo gives itself.

A bot builder who quotes it leads the administrator to the log and to the trace.
"""

import re

from bridge.contract.request_headers import REQUEST_ID, RequestHeaders

#: Other apps have addresses of their own, whose answers stay as they are.
_OURS = re.compile(r"/*(api/+v1/+(manychat|reports)|health)(/|$)")
#: Where a request keeps its trace. Odoo copies what the server says of a request, so the value is one that it shares.
_KEPT = "miasalud.request"


def answering(environ, start_response):
    """``start_response`` with the header: the request's own id if it is sane, else the id of the trace."""
    if not _OURS.match(environ.get("PATH_INFO", "")):
        return start_response
    headers = RequestHeaders(lambda name: environ.get(f"HTTP_{name.upper().replace('-', '_')}"))
    kept = environ[_KEPT] = {"trace_id": headers.trace_id()}

    def start(status, answered, exc_info=None):
        answered = [*answered, (REQUEST_ID, headers.request_id or kept["trace_id"])]
        return start_response(status, answered, exc_info) if exc_info else start_response(status, answered)

    return start


def trace_id(environ):
    """The trace of a request, for a log line; ``None`` if another app led the request here from another address."""
    return environ.get(_KEPT, {}).get("trace_id")


def name_trace(environ, event):
    """Let the answer name the trace of the event that the request brought."""
    environ.get(_KEPT, {})["trace_id"] = event.trace_id

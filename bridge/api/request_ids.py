"""The ``X-Request-Id`` of every answer: a bot builder who quotes it leads the operator to the log and to the trace."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..contract.request_headers import REQUEST_ID, RequestHeaders


class RequestIds:
    """Middleware that gives a request its ``state.trace_id``, and its answer the ``X-Request-Id``.

    The id of the answer is the request's own, if it is sane. Else it is the trace: of the event that the request
    brought, or of the request itself.
    """

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = RequestHeaders(lambda name: _joined(scope, name.lower().encode()))
        state = scope.setdefault("state", {})
        state["trace_id"] = headers.trace_id()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(raw=message["headers"])[REQUEST_ID] = headers.request_id or state["trace_id"]
            await send(message)

        await self._app(scope, receive, send_with_id)


def _joined(scope: Scope, name: bytes) -> str | None:
    values = [value.decode("latin-1") for each, value in scope["headers"] if each == name]
    return ",".join(values) if values else None

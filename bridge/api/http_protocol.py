"""HTTP as the webhooks' senders speak it, where uvicorn's own answers would differ from Odoo's and from ours."""

from __future__ import annotations

import json
import secrets

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..contract import webhook
from ..contract.request_headers import REQUEST_ID
from ..contract.webhook import WebhookError


class HttpProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, with two differences.

    A malformed request gets an error of the one shape. A sender that has closed its side of the connection, as some do
    after their request, still gets the answer; if its body was cut off, the answer is a 400.
    """

    def send_400_response(self, msg: str) -> None:
        self._refuse(webhook.malformed())

    def eof_received(self) -> bool | None:  # type: ignore[override]
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return None
        if cycle.more_body and not cycle.response_started:
            self._refuse(webhook.incomplete())
            return None
        # Keep the other side of the connection open for the answer.
        return True

    def _refuse(self, error: WebhookError) -> None:
        body = json.dumps(error.body, ensure_ascii=False).encode()
        headers = [
            ("Content-Type", "application/json; charset=utf-8"),
            ("Cache-Control", "no-store"),
            (REQUEST_ID, secrets.token_hex(16)),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
        ]
        response = h11.Response(status_code=error.status, headers=headers, reason=b"Bad Request")
        for event in (response, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

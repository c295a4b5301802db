"""The headers of a webhook's request, read alike by both servers.

A header that is sent twice reaches Odoo as one text with a comma between the values (RFC 9110, 5.3; the server beneath
Odoo joins them), so both servers read it so. Values that are equal count as one: a bot builder pasted a header twice.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from . import keys, traceparent
from .text import visible

API_KEY = "X-API-KEY"
DRY_RUN = "X-Dry-Run"
IDEMPOTENCY_KEY = "Idempotency-Key"
STAMP = "X-Request-Stamp"
TRACEPARENT = "traceparent"
REQUEST_ID = "X-Request-Id"

#: A stamp may be this old: a server that was frozen or stopped with requests in its sockets takes them when it wakes.
MAX_STAMP_AGE = timedelta(hours=24)
#: The clocks of the proxy and of the servers may differ by this much.
MAX_STAMP_AHEAD = timedelta(minutes=5)


@dataclass(frozen=True)
class Stamp:
    """What the proxy says of a request: the same for each server that it tries.

    :ivar request_id: no other request has it
    :ivar at: when the proxy received the request, in UTC
    """

    request_id: str
    at: datetime


# What programs write: a UUID, hexadecimal digits, nginx's or Azure's ids.
_SANE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=@|~-]{0,127}", re.ASCII)

# nginx: "$msec $request_id", seconds with three decimals and 16 random bytes in hex.
_STAMP = re.compile(r"([0-9]{9,11}\.[0-9]{3}) ([0-9a-f]{32})", re.ASCII)


class RequestHeaders:
    """The product's own headers of one request.

    :param joined: the value of a header by its name, as text; the values joined by commas if it was sent several times;
        ``None`` if it was not sent
    """

    def __init__(self, joined: Callable[[str], str | None]):
        self._joined = joined

    def _text(self, name: str) -> str:
        text = self._joined(name) or ""
        with contextlib.suppress(UnicodeError):
            return text.encode("latin-1").decode()  # both servers read the bytes of a header as Latin-1
        return text

    def _values(self, name: str) -> list[str]:
        return [value for part in self._text(name).split(",") if (value := part.strip())]

    def _one(self, name: str) -> str:
        values = self._values(name)
        return values[0] if len(set(values)) == 1 else self._text(name).strip()

    @property
    def api_key(self) -> str:
        """The ``X-API-KEY``, not checked yet; empty without one. Two different keys are no key.

        What cannot be seen does not count: a key copied from a page can end in such blanks.
        """
        return visible(self._one(API_KEY))

    @property
    def idempotency_key(self) -> str:
        """The ``Idempotency-Key``; empty without one."""
        return self._one(IDEMPOTENCY_KEY)

    @property
    def is_dry_run(self) -> bool:
        """Whether ``X-Dry-Run`` asks to store no event."""
        return self.is_recorded or any(value.lower() in ("1", "true", "yes") for value in self._values(DRY_RUN))

    @property
    def is_recorded(self) -> bool:
        """Whether ``X-Dry-Run: record`` asks to keep what would have stood in the way: for a copy of live traffic."""
        return any(value.lower() == "record" for value in self._values(DRY_RUN))

    @property
    def traceparent(self) -> str:
        """The trace that the sender names; empty without a valid one, and if it sent several."""
        return traceparent.parse(self._joined(TRACEPARENT))

    @property
    def request_id(self) -> str:
        """The sender's ``X-Request-Id``; empty without one that may come back in the answer.

        A key that a bot builder pasted into the wrong header must not: logs keep the headers of answers.
        """
        sent = self._one(REQUEST_ID)
        return sent if _SANE_ID.fullmatch(sent) and keys.TAG not in sent else ""

    def trace_id(self) -> str:
        """The trace that the sender names, else a new one, for a request that brings no event."""
        return traceparent.trace_id(self.traceparent) or secrets.token_hex(16)

    def stamp(self, now: datetime) -> Stamp | None:
        """The proxy's stamp; ``None`` without one that can be believed.

        A stamp is believed from each caller with a valid key: it gives the caller no more than the event's own date
        does. The proxy replaces a stamp that a caller sent. A stamp does not count if it has another form, or if it is
        older than :data:`MAX_STAMP_AGE` or more than :data:`MAX_STAMP_AHEAD` ahead.

        :param now: when this server received the request, with time zone
        """
        match = _STAMP.fullmatch(self._one(STAMP))
        if not match:
            return None
        at = datetime.fromtimestamp(0, timezone.utc) + timedelta(milliseconds=int(match[1].replace(".", "")))
        return Stamp(match[2], at) if now - MAX_STAMP_AGE <= at <= now + MAX_STAMP_AHEAD else None

"""``python -m bridge send``: post a payload to the webhook, as ManyChat would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

from ..contract.payloads import EventType, Payload, own_fields
from ..errors import ConfigurationError

#: Seconds; ManyChat itself gives up after 10.
TIMEOUT = 30


@dataclass(frozen=True)
class Answer:
    """:ivar body: as text; JSON if the webhook itself answered"""

    status: int
    body: str

    @property
    def accepted(self) -> bool:
        return 200 <= self.status < 300


def guess_type(payload: Mapping[str, Any]) -> EventType | None:
    """The type whose own fields ``payload`` has; ``None`` if it could be any."""
    without = []
    for event_type in EventType:
        required = {name for name, field in event_type.model.model_fields.items() if field.is_required()}
        # A type with a required field of its own (an opportunity's state) is there if the field is.
        if distinctive := required - Payload.model_fields.keys():
            if distinctive <= payload.keys():
                return event_type
        else:
            without.append(event_type)
    hits = [event_type for event_type in without if own_fields(event_type, without) & payload.keys()]
    return hits[0] if len(hits) == 1 else None


def send(url: str, key: str, event_type: EventType, body: bytes) -> Answer:
    """Post ``body`` as it is.

    :param url: of the server, without the path
    :raises ConfigurationError: nothing answers there
    """
    method, path = event_type.route
    try:
        response = requests.request(
            method,
            url.rstrip("/") + path,
            data=body,
            headers={"Content-Type": "application/json", "X-API-KEY": key},
            timeout=TIMEOUT,
            allow_redirects=False,
        )
    except requests.RequestException as error:
        raise ConfigurationError(f"No answer from {url} ({type(error).__name__}). Is Odoo running there?") from None
    return Answer(response.status_code, response.text)

"""``python -m bridge send``: post a payload to the webhook, as ManyChat would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

from ..contract.event import CampaignAssignment, CampaignContact, Contact, EventType
from ..contract.webhook import ROUTES
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
    if "state" in payload:
        return EventType.OPPORTUNITY
    fields = {
        EventType.CAMPAIGN_ASSIGNMENT: CampaignAssignment.model_fields.keys(),
        EventType.CAMPAIGN_CONTACT: CampaignContact.model_fields.keys(),
        EventType.CONTACT: Contact.model_fields.keys(),
    }
    own = {
        event_type: names - {name for other, names_ in fields.items() if other is not event_type for name in names_}
        for event_type, names in fields.items()
    }
    hits = [event_type for event_type, names in own.items() if names & payload.keys()]
    return hits[0] if len(hits) == 1 else None


def send(url: str, key: str, event_type: EventType, body: bytes) -> Answer:
    """Post ``body`` as it is.

    :param url: of the server, without the path
    :raises ConfigurationError: nothing answers there
    """
    method, path = ROUTES[event_type]
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

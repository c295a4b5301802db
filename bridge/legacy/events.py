"""The event that a person's old data make: as if a bot had sent it at the time of their newest mapped state."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ..contract.event import Event
from ..contract.fields import format_datetime, normalize_label
from ..contract.payloads import EventType
from ..contract.reading import read
from .states import Stage

#: What the event log, the audit and the chatter show as the program that received it.
SOURCE = "migration"


def make_event(
    contact: Mapping[str, Any],
    assignment: Mapping[str, Any],
    stage: Stage,
    at: datetime,
    received_at: datetime,
) -> Event:
    """The event. The same state of the same person has the same id in every run and batch.

    :param contact: values of the contact, by our columns; ``channel`` is a name
    :param assignment: values of the person's newest campaign assignment, maybe empty
    :param received_at: when the migration began
    :raises bridge.contract.errors.ContractError: it cannot be an event
    """
    number, label = stage
    state = {"stage_id": number, "stage": label, "summary": assignment.get("summary"), "date": format_datetime(at)}
    manychat_id = contact["manychat_id"]
    payload = {
        "manychat_id": manychat_id,
        "first_name": contact.get("first_name"),
        "last_name": contact.get("last_name"),
        "phone": contact.get("phone"),
        "channel": contact.get("channel"),
        "entry_date": format_datetime(entry) if (entry := contact.get("subscribed_at")) else None,
        "commercial_advisor_id": assignment.get("commercial_advisor_id"),
        "medical_advisor_id": assignment.get("medical_advisor_id"),
        "state": state,
    }
    # Later than the state, however long ago the migration began: else its date would not be believed.
    received_at = max(received_at, at)
    found = read(EventType.OPPORTUNITY, payload, received_at=received_at)
    identity = [SOURCE, manychat_id, number or normalize_label(label or ""), format_datetime(at)]
    digest = hashlib.sha256(json.dumps(identity, ensure_ascii=False).encode()).hexdigest()
    return Event(digest, EventType.OPPORTUNITY, received_at, SOURCE, found.payload, warnings=found.warnings)

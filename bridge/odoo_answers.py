"""What Odoo answers to the bridge's calls, read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from .contract.fields import Id, Label, ManyChatId, required, to_datetime, to_id
from .contract.keys import OdooKey
from .contract.opportunity_state import Actor, OpportunityState, Status, read_answer, read_state, to_actor, to_status


@dataclass(frozen=True)
class HeartbeatAnswer:
    """What Odoo tells a bridge that is alive.

    :ivar discarded: the events that Odoo users discarded, until a bridge confirms it: how often each had been sent
        again by then, by event id
    :ivar keys: all keys that bots may use now; ``None`` from an older addon, which does not say
    :ivar takes_refusals: :meth:`bridge.odoo.Odoo.record_refusals` may be called; an older addon does not know it
    :ivar settings: what administrators set for the bridges, as JSON, by name; empty from an older addon
    """

    discarded: dict[str, int]
    keys: list[OdooKey] | None = None
    takes_refusals: bool = False
    settings: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, answer: Any) -> HeartbeatAnswer:
        """The answer as it came: an older addon answers True, or leaves something out."""
        fields = answer if isinstance(answer, dict) else {}
        discarded = {str(event_id): int(retries) for event_id, retries in (fields.get("discarded") or {}).items()}
        keys, settings = fields.get("keys"), fields.get("settings")
        known = None if keys is None else [OdooKey.of(key) for key in keys]
        takes_refusals = bool(fields.get("takes_refusals"))
        return cls(discarded, known, takes_refusals, settings if isinstance(settings, dict) else {})


@dataclass(frozen=True)
class StatesAnswer:
    """What Odoo answers about the states of opportunities.

    :ivar states: by ManyChat id
    :ivar busy: ManyChat ids of opportunities that another transaction is changing: to be asked for again
    :ivar after: where the next page begins; ``None``: there is none
    :ivar unknown: ManyChat ids of those who were asked for and have no opportunity
    :ivar unreadable: ManyChat ids of those whose state does not say of what and of when it is: a newer addon's
    """

    states: dict[str, OpportunityState]
    busy: list[str]
    after: int | None
    unknown: list[str]
    unreadable: list[str]

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> StatesAnswer:
        """The answer as it came."""
        states = {str(each.get("manychat_id")): read_state(each) for each in answer["states"]}
        return cls(
            {manychat_id: state for manychat_id, state in states.items() if state},
            [str(manychat_id) for manychat_id in answer.get("busy") or ()],
            answer.get("after") or None,
            [str(manychat_id) for manychat_id in answer.get("unknown") or ()],
            [manychat_id for manychat_id, state in states.items() if not state],
        )


class PastMove(BaseModel):
    """A move of an opportunity that Odoo remembers.

    :ivar key: what Odoo calls the move: always the same for one move
    :ivar stage_from: ``None``: it was in no stage
    :ivar stage_to: ``None``: it was lost
    :ivar event_id: of the chat's event; ``None``: a user moved it
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    manychat_id: ManyChatId
    lead_id: Annotated[int, BeforeValidator(required), BeforeValidator(to_id)]
    key: str
    stage_from: Label = None
    stage_to: Label = None
    moment: Annotated[datetime, BeforeValidator(to_datetime), BeforeValidator(required)]
    moved_by: Annotated[Actor, BeforeValidator(to_actor)]
    user_id: Id = None
    event_id: Annotated[str | None, Field(pattern=r"^[0-9a-f]{64}$")] = None
    status: Annotated[Status | None, BeforeValidator(to_status)] = None

    @classmethod
    def of(cls, value: Any) -> PastMove | None:
        """A move as Odoo answered it; ``None`` if it cannot be read: the others are still worth having."""
        return read_answer(cls, value)

    @property
    def id(self) -> str:
        """What SQL knows the move by."""
        return self.event_id or hashlib.sha256(f"past move {self.key} of {self.manychat_id}".encode()).hexdigest()

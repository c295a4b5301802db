"""What Odoo answers to the bridge's calls, read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .contract.keys import OdooKey
from .contract.opportunity_state import OpportunityState, read_state


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

    :ivar states: by ManyChat id; those without one have no opportunity, unless they are busy
    :ivar busy: ManyChat ids of opportunities that another transaction is changing: to be asked for again
    :ivar after: where the next page begins; ``None``: there is none
    """

    states: dict[str, OpportunityState]
    busy: list[str]
    after: int | None

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> StatesAnswer:
        """The answer as it came. A state that cannot be read is left out."""
        states = {str(each.get("manychat_id")): read_state(each) for each in answer["states"]}
        return cls(
            {manychat_id: state for manychat_id, state in states.items() if state},
            [str(manychat_id) for manychat_id in answer.get("busy") or ()],
            answer.get("after") or None,
        )

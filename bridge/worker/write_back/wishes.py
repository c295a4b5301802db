"""What a batch of events means for ManyChat: the states that it should show from now on."""

from __future__ import annotations

from collections.abc import Iterable

from ...contract.event import Event
from ...contract.opportunity_state import Actor
from ...contract.outcomes import EventOutcome
from ...contract.payloads import Decided, Decision
from ...results import Done
from ...store.manychat_wishes import Wish

#: What brings an opportunity into a stage, in which a flow may start.
_MOVES = {Decided.STAGE, Decided.WON}


def of_decisions(events: Iterable[Event]) -> list[Wish]:
    """The states after people's decisions."""
    return [
        Wish(
            event.manychat_id,
            event.payload.state,
            event.payload.by,
            event.id,
            moved=bool(_MOVES & set(event.payload.decided)),
        )
        for event in events
        if isinstance(event.payload, Decision)
    ]


def of_answers(applied: Iterable[tuple[Event, Done]]) -> list[Wish]:
    """The states after what the chat said.

    An event that Odoo calls stale left ManyChat with a stage that the opportunity does not have. Any other echo says
    nothing of what ManyChat shows: what it repeats was written by us, and perhaps overwritten since.
    """
    return [
        Wish(
            event.manychat_id,
            outcome.state,
            Actor.CHAT,
            event.id,
            said=event.echo_of is None or outcome.status == EventOutcome.STALE,
            overruled=outcome.status == EventOutcome.STALE,
        )
        for event, outcome in applied
        if outcome.state
    ]

"""How far the events of a batch got before. The first attempts of new ones are counted along.

Nearly all events are new, so that this one transaction is nearly always all that comes before the attempt itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from ..store import audit, dead_letters
from ..store.audit import AttemptState, ReceivedEvent
from ..store.dead_letters import GivenUp
from ..store.engine import in_transaction
from ..store.refusal import write_events


def look_up(
    engine: sa.Engine, received: Sequence[ReceivedEvent]
) -> tuple[dict[str, AttemptState], dict[str, GivenUp], set[str]]:
    """
    :return: earlier attempts, and open dead letters of events, both by event id; and ids of the events whose first
        attempt is counted now
    :raises bridge.errors.Outage: SQL is down
    """
    try:
        states, given_up = write_events(engine, _look_up, received, audit.begin_new)
        begun = {item.event.id for item in received} - states.keys()
    except DBAPIError:
        # SQL refuses even to note the attempt of one of them. Which one, their attempts will tell.
        states, given_up = in_transaction(engine, _look_up, received, _states)
        begun = set()
    # What the standby API accepted has a row, and was not received before.
    return {event_id: state for event_id, state in states.items() if not state.is_untried}, given_up, begun


def _look_up(
    connection: sa.Connection,
    received: Sequence[ReceivedEvent],
    states_of: Callable[[sa.Connection, Sequence[ReceivedEvent]], dict[str, AttemptState]],
) -> tuple[dict[str, AttemptState], dict[str, GivenUp]]:
    states = states_of(connection, received)
    dead = [event_id for event_id, known in states.items() if known.is_dead]
    return states, dead_letters.given_up(connection, dead)


def _states(connection: sa.Connection, received: Sequence[ReceivedEvent]) -> dict[str, AttemptState]:
    return audit.attempt_states(connection, [item.event.id for item in received])

"""What comes next for an event: its message and what earlier attempts came to decide it."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime, timezone

from ..contract.event import Event
from ..queue import Message
from ..store.audit import AttemptState
from ..store.dead_letters import GivenUp


@dataclass
class Delivery:
    """An event and the message (or messages) that brought it.

    :ivar attempts: made so far
    :ivar first_tried_at: when the first of them began
    :ivar dead: its state, if it was given up before
    :ivar sent_again: an Odoo user sent it again since
    :ivar may_be_copy: nothing tells whether its message is a copy of the one with which the event was given up, or was
        put on the queue later. So it has one attempt more.
    """

    event: Event
    messages: list[Message]
    attempts: int = 0
    first_tried_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    dead: AttemptState | None = None
    sent_again: bool = False
    may_be_copy: bool = False

    @property
    def inserted_at(self) -> datetime:
        """When the last of its messages was put on the queue."""
        return max(message.inserted_at for message in self.messages)


class Step(enum.Enum):
    """What comes next for an event."""

    TRY = enum.auto()
    TRY_ALONE = enum.auto()
    DELETE_DUPLICATE = enum.auto()
    SEND_NOTICE = enum.auto()
    TRY_ONCE = enum.auto()
    GIVE_UP = enum.auto()


def next_step(delivery: Delivery, known: AttemptState | None, given_up: GivenUp | None, max_attempts: int) -> Step:
    """The next step for an event.

    :param known: its earlier attempts; ``None``: it is new
    :param given_up: its dead letter, unless that was replayed, discarded or resolved
    """
    if known is None:
        return Step.TRY
    try_it = Step.TRY_ALONE if known.attempt_in_progress else Step.TRY
    if known.is_overruled_by(delivery.event):
        return try_it
    if known.is_done:
        return Step.DELETE_DUPLICATE
    if known.is_dead:
        if given_up is None:
            return Step.TRY
        # The same message: the bridge was killed before it sent the notice or deleted the message.
        if given_up.message_id in [message.id for message in delivery.messages]:
            return Step.SEND_NOTICE
        # A copy that was on the queue by then shares its fate. A message put there since then is a new attempt, made on
        # purpose, and the event starts afresh.
        if given_up.follows(delivery.inserted_at):
            return Step.DELETE_DUPLICATE
        return Step.TRY_ONCE if given_up.may_follow(delivery.inserted_at) else Step.TRY
    return Step.GIVE_UP if known.attempts >= max_attempts else try_it

"""The model of order, in a few lines that share no code with the product: the stages in which an opportunity may be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

#: How long a stage that was written to ManyChat may come back as an event, and how much clocks may differ.
_COMES_BACK, _SKEW = timedelta(minutes=15), timedelta(minutes=5)


class Happened(NamedTuple):
    """An applied event: tuples compare as I4 says."""

    occurred: datetime
    received: datetime
    event_id: str
    stage: int


class Decided(NamedTuple):
    """A person's move. Only that it was made between two moments is known from outside."""

    earliest: datetime
    latest: datetime
    stage: int


class Heard:
    """What the chat said of one opportunity, by how certain it is that a customer did it.

    A customer's event of now and an echo of the same stage cannot be told apart: the first one is the echo. Nor can a
    later one, if a user has moved the opportunity since: then the user's move stands.

    :ivar certain: a customer did it
    :ivar perhaps: a customer did it, and it looks like an echo
    :ivar exchanged: a customer's events that were taken for echoes, and echoes that were not
    """

    def __init__(self) -> None:
        self.certain: list[Happened] = []
        self.perhaps: list[Happened] = []
        self.exchanged: list[Happened] = []
        self._is_mistaken = False

    def add(self, one: Happened, number: int | None, written: Iterable[Any], *, is_echo: bool, is_taken: bool) -> None:
        """
        :param number: ManyChat's, of the stage
        :param written: what was written to this person: rows of ``manychat_echoes``
        :param is_echo: the bot sent it because a call had changed the field
        :param is_taken: the bridges took it for that
        """
        if is_echo != is_taken:
            self.exchanged.append(one)
            self._is_mistaken |= is_taken
        elif not is_echo:
            looks_so = any(_repeats(number, one.occurred, row) for row in written)
            (self.perhaps if looks_so else self.certain).append(one)

    def may_rest_in(self, moves: Sequence[Decided]) -> set[int]:
        """The stages in which the opportunity may be after users' ``moves``; empty if nothing can be said."""
        said = self.certain + self.perhaps
        found = [said]
        if moves:
            found.append(self.certain)
        if said and self._is_mistaken:
            found.append(said + self.exchanged)
        # Where all that was said looks like an echo, the last move stands.
        left = {move.stage for move in _last(moves)} if said and moves and not self.certain else set()
        return left | {stage for events in found if events for stage in may_rest_in(events, moves)}


def may_rest_in(events: Sequence[Happened], moves: Sequence[Decided]) -> set[int]:
    """The stage of the newest event or move; all that it may be, if the clocks cannot tell which one was last."""
    newest = max(events)
    if not moves:
        return {newest.stage}
    begins = max(move.earliest for move in moves)
    of_event = {newest.stage} if newest.occurred >= begins else set()
    return of_event | {move.stage for move in _last(moves) if newest.occurred <= move.latest}


def _last(moves: Sequence[Decided]) -> list[Decided]:
    """The moves of which each may have been the last one."""
    begins = max(move.earliest for move in moves)
    return [move for move in moves if move.latest >= begins]


Moves = Counter[tuple[int | None, int]]


def unmatched(applied: Moves, told: Moves) -> tuple[Moves, Moves]:
    """Moves, from stage to stage, that only the chatter has, and those that only the events have."""
    extra, missing = told - applied, applied - told
    # An event that restores a lost opportunity says no stage before, and need not change the stage.
    for restored in [move for move in missing.elements() if move[0] is None]:
        missing[restored] -= 1
        extra -= Counter([move for move in extra if move[1] == restored[1]][:1])
    return extra, +missing


def _repeats(number: int | None, when: datetime, row: Any) -> bool:
    """Whether an event of that stage comes when a written one may come back."""
    return number == row.stage_id and row.written_at - _SKEW <= when <= row.written_at + _COMES_BACK

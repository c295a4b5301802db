"""What a case gets, and what it is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from . import measure
from .measure import Result, Rounds, Sample
from .system import BenchStack


@dataclass(frozen=True)
class Sizes:
    """How much each case does.

    :ivar rounds: how often each alternative runs
    :ivar events: of each run of ours; below 1,000, since Azurite becomes slow above that
    :ivar fewer_events: of each run where many runs are compared
    :ivar peer_events: of each run of a peer that is many times slower
    :ivar load_seconds: how long webhooks are sent in each run
    :ivar latency_seconds: how long five events a second are sent in each round
    :ivar idle_seconds: how long the requests of an idle bridge are counted
    :ivar bursts: numbers of webhooks that come at once
    :ivar opportunities: of the large system
    :ivar starts: of the program, in each round
    """

    rounds: int = 2
    events: int = 960
    fewer_events: int = 480
    peer_events: int = 96
    load_seconds: float = 2.0
    latency_seconds: float = 8.0
    idle_seconds: float = 20.0
    bursts: tuple[int, ...] = (2000, 5000)
    opportunities: int = 100_000
    starts: int = 3


#: To try something out in a minute. Its figures are not written to the results.
SHORT = Sizes(
    rounds=1,
    events=256,
    fewer_events=128,
    peer_events=48,
    load_seconds=1.0,
    latency_seconds=5.0,
    idle_seconds=10.0,
    bursts=(500,),
    opportunities=5_000,
    starts=2,
)


@dataclass
class Bench:
    """The system and how much to do with it.

    :ivar also: what a case started for itself and the next one can use; ended with the bench
    :ivar shared: by name
    """

    stack: BenchStack
    sizes: Sizes
    console: Console
    also: contextlib.ExitStack
    shared: dict[str, Any]

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True)

    def interleave(self, alternatives: Mapping[str, Callable[[int], Sample]]) -> Rounds:
        return measure.interleave(self.sizes.rounds, alternatives, self.say)


#: Measures, and says what it found.
Case = Callable[[Bench], Result]

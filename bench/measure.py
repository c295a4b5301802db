"""Samples of a case, and what is made of them: medians, spreads, ratios round by round, limits."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

#: What a run of ours is called.
OURS = "ours"
#: Azurite stands for a service of Azure, whose work costs our machines nothing.
NOT_OURS = ("azurite", "load", "api")


class WrongAnswer(AssertionError):
    """What was measured did not do what it had to. Its figures count for nothing."""


@dataclass(frozen=True)
class Sample:
    """One run of one of the alternatives.

    :ivar events: how many were dealt with
    :ivar seconds: in how many seconds
    :ivar cpu: seconds of processor time, by program
    :ivar figures: further ones, by name
    """

    events: int
    seconds: float
    cpu: Mapping[str, float] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds

    @property
    def cpu_ms(self) -> dict[str, float]:
        """Milliseconds of processor time for each event, by program."""
        return {name: 1000 * seconds / self.events for name, seconds in self.cpu.items()}


@dataclass(frozen=True)
class Spread:
    """The median of several runs, and the least and the greatest of them."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


#: The samples of each alternative, in the order of the rounds.
Rounds = Mapping[str, Sequence[Sample]]


@dataclass(frozen=True)
class Row:
    """A figure of the table.

    :ivar what: the alternative, or what was measured
    :ivar cpu_ms: milliseconds of processor time for each event, by program
    :ivar under: the circumstances, if the case has several
    """

    what: str
    unit: str
    spread: Spread
    cpu_ms: Mapping[str, float] = field(default_factory=dict)
    under: str = ""


@dataclass(frozen=True)
class Target:
    """A figure with what is wanted of it.

    :ivar at_least: whether more is better
    """

    what: str
    spread: Spread
    limit: float
    unit: str
    at_least: bool

    @property
    def is_met(self) -> bool:
        return self.spread.median >= self.limit if self.at_least else self.spread.median <= self.limit


@dataclass(frozen=True)
class Result:
    """Of a case.

    :ivar title: what it is about, for people
    :ivar rows: the first is ours
    :ivar targets: the first is the one that counts most
    :ivar has_peer: whether the second row is what ours is compared with
    """

    title: str
    rows: Sequence[Row]
    targets: Sequence[Target]
    has_peer: bool = False

    def as_json(self) -> dict[str, Any]:
        """``ours``, ``peer``, ``ratio``, ``limit`` and ``met`` are in short what rows and targets say."""
        peer = self.rows[1].spread.median if self.has_peer else None
        ours = self.rows[0].spread.median
        rounded: dict[str, Any] = _rounded(
            {
                "title": self.title,
                "unit": self.rows[0].unit,
                "ours": ours,
                "peer": peer,
                "ratio": ours / peer if peer else None,
                "limit": self.targets[0].limit,
                "met": all(target.is_met for target in self.targets),
                "rows": [asdict(row) for row in self.rows],
                "targets": [{**asdict(target), "met": target.is_met} for target in self.targets],
            }
        )
        return rounded


def interleave(rounds: int, alternatives: Mapping[str, Callable[[int], Sample]], say: Callable[[str], None]) -> Rounds:
    """Run all alternatives in each round, each round beginning with another one.

    :param alternatives: each is called with the number of the round
    :param say: gets a line about each run
    """
    names = list(alternatives)
    samples: dict[str, list[Sample]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in [*names[first:], *names[:first]]:
            sample = alternatives[name](number)
            samples[name].append(sample)
            say(f"  {number + 1}/{rounds}  {name}: {sample.rate:.0f}/s")
    return samples


def rate_row(what: str, samples: Sequence[Sample], under: str = "") -> Row:
    """Events a second, with the processor time of each event."""
    cpu = [sample.cpu_ms for sample in samples]
    programs = {name for each in cpu for name in each}
    cpu_ms = {name: statistics.median(each.get(name, 0.0) for each in cpu) for name in sorted(programs)}
    return Row(what, "events/s", Spread.of([sample.rate for sample in samples]), cpu_ms, under)


def ratio(
    ours: Sequence[Sample], peer: Sequence[Sample], value: Callable[[Sample], float] = lambda sample: sample.rate
) -> Spread:
    """Ours divided by the peer's, round by round: what else the machine did in a round met both."""
    return Spread.of([value(one) / value(other) for one, other in zip(ours, peer, strict=True)])


def cpu_row(ours: Sequence[Sample], peer: Sequence[Sample], name: str) -> Row:
    """How much more processor time a peer takes for an event: what a busy machine disturbs least."""
    return Row(f"processor time of {name}, times ours", "×", ratio(peer, ours, own_cpu_ms))


def own_cpu_ms(sample: Sample) -> float:
    """Milliseconds of processor time for each event, without what stands for Azure and without the load's sender."""
    return sum(ms for name, ms in sample.cpu_ms.items() if name not in NOT_OURS)


def _rounded(value: Any) -> Any:
    """Four digits are more than any of this is worth."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, Mapping):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value

"""A second system beside the first one, with very many opportunities."""

from __future__ import annotations

import time

from . import people
from .case import Bench
from .system import BenchStack

#: Stages in which each opportunity was, and its rows in the audit.
STAYS = 10
_NAME = "large system"


def system(bench: Bench) -> BenchStack:
    """Made for the first case that asks for it."""
    if _NAME not in bench.shared:
        began = time.monotonic()
        stack = bench.also.enter_context(BenchStack("large").fresh())
        people.make_template(stack)
        count = bench.sizes.opportunities
        people.add_many(stack, "MC-LARGE", count, stays=STAYS)
        took = time.monotonic() - began
        bench.say(f"  a system with {count:,} opportunities and {count * STAYS:,} rows of the audit: {took:.0f} s")
        bench.shared[_NAME] = stack
    stack = bench.shared[_NAME]
    assert isinstance(stack, BenchStack)
    return stack

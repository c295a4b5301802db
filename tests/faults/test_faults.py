"""The soak, short, with a seed that stays the same; FAULT_SEED tries another."""

import os

import pytest

from tests.logs import Logs

from . import soak
from .kinds import KINDS, LATE
from .system import System

#: What the bots' people say, see ``traffic``.
SAID = ("Prueba", "pagará mañana")
#: Seconds of traffic and faults; settling comes on top.
SECONDS = 45


@pytest.mark.timeout(600)
def test_nothing_is_lost_or_doubled_or_out_of_order_while_everything_breaks(system: System) -> None:
    kinds = [name for name in KINDS if name not in LATE]
    logs = Logs(system)
    report = soak.run(system, int(os.environ.get("FAULT_SEED") or 3), SECONDS, kinds)
    assert report.verdict.problems == []
    assert report.verdict.standby > 0
    assert len(report.faults) >= 8, report.did_not_happen
    assert report.faults.keys() <= KINDS.keys()
    assert logs.told(SAID) == []

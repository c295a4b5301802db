"""The command behind `make bench`, as far as it starts nothing."""

from __future__ import annotations

import subprocess
import sys

from bench.cases import CASES
from deploy.local.paths import ROOT


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_help_lists_each_case_with_what_it_measures() -> None:
    answer = bench("--help")
    assert answer.returncode == 0
    for name in CASES:
        assert any(line.split()[:1] == [name] and len(line.split()) > 5 for line in answer.stdout.splitlines()), name


def test_a_case_that_does_not_exist_starts_nothing() -> None:
    answer = bench("--cases", "move,mvoe")
    assert answer.returncode != 0
    assert "No such case: mvoe. There are: " in answer.stderr

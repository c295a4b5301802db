"""The arithmetic of `make bench`: what becomes of its samples."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench import measure, results, tables
from bench.cpu import LOAD, Meter
from bench.measure import OURS, Result, Row, Sample, Spread, Target


def samples(*rates: float) -> list[Sample]:
    return [Sample(100, 100 / rate, {"odoo": 0.1, "bridge": 0.2, "azurite": 5.0, "load": 7.0}) for rate in rates]


def a_result(limit: float) -> Result:
    ours, peer = samples(300, 100, 200), samples(50, 20, 10)
    return Result(
        "An invented case",
        [measure.rate_row(OURS, ours), measure.rate_row("the other", peer)],
        [Target("times the other", measure.ratio(ours, peer), limit, "×", at_least=True)],
        has_peer=True,
    )


def test_a_ratio_compares_what_ran_in_the_same_round() -> None:
    assert measure.ratio(samples(300, 100, 200), samples(50, 20, 10)) == Spread(
        pytest.approx(6), pytest.approx(5), pytest.approx(20)
    )


def test_processor_time_of_an_event_leaves_out_what_stands_for_azure_and_the_sender() -> None:
    assert measure.own_cpu_ms(samples(10)[0]) == pytest.approx(3)


@pytest.mark.parametrize(("limit", "met"), [(6, True), (6.1, False)])
def test_a_target_is_met_by_the_median(limit: float, met: bool) -> None:
    assert a_result(limit).as_json()["met"] is met


def test_less_is_better_where_a_target_says_so() -> None:
    assert Target("p99", Spread(200, 100, 900), 200, "ms", at_least=False).is_met
    assert not Target("p99", Spread(201, 100, 900), 200, "ms", at_least=False).is_met


def test_alternatives_take_turns_and_each_begins_a_round_once() -> None:
    order: list[tuple[str, int]] = []

    def alternative(name: str) -> Callable[[int], Sample]:
        def run(number: int) -> Sample:
            order.append((name, number))
            return samples(1)[0]

        return run

    found = measure.interleave(2, {name: alternative(name) for name in "ABC"}, lambda _line: None)
    assert order == [("A", 0), ("B", 0), ("C", 0), ("B", 1), ("C", 1), ("A", 1)]
    assert {name: len(each) for name, each in found.items()} == {"A": 2, "B": 2, "C": 2}


def test_results_say_in_short_what_rows_and_targets_say() -> None:
    case = a_result(6).as_json()
    assert (case["ours"], case["peer"], case["ratio"], case["limit"]) == (200, 20, 10, 6)
    assert json.loads(json.dumps(case)) == case


def run_of(cases: dict[str, Any], machine: str = "2 processors", date: str = "2026-11-26") -> dict[str, Any]:
    return {"odoo": "18.0", "machine": machine, "versions": {}, "commit": "abc", "date": date, "cases": cases}


def test_a_run_of_one_case_keeps_the_others_with_their_dates() -> None:
    first = results.merged({}, "18.0", run_of({"move": {"ours": 1}, "create": {"ours": 2}}))
    both = results.merged(first, "18.0", run_of({"move": {"ours": 3}}, date="2026-12-01"))
    assert both["18.0"]["cases"]["move"] == {"ours": 3, "commit": "abc", "date": "2026-12-01"}
    assert both["18.0"]["cases"]["create"] == {"ours": 2, "commit": "abc", "date": "2026-11-26"}


def test_figures_of_another_machine_are_not_kept_beside_new_ones() -> None:
    first = results.merged({}, "18.0", run_of({"move": {"ours": 1}, "create": {"ours": 2}}))
    assert set(results.merged(first, "18.0", run_of({"move": {"ours": 3}}, "8 processors"))["18.0"]["cases"]) == {
        "move"
    }


def test_each_version_of_odoo_has_its_own_figures() -> None:
    first = results.merged({}, "18.0", run_of({"move": {"ours": 1}}))
    both = results.merged(first, "19.0", run_of({"move": {"ours": 2}}))
    assert {version: run["cases"]["move"]["ours"] for version, run in both.items()} == {"18.0": 1, "19.0": 2}


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    written = results.merged({}, "18.0", run_of({"move": a_result(6).as_json()}))
    results.write(written, tmp_path / "results.json")
    assert results.read(tmp_path / "results.json") == written
    assert results.read(tmp_path / "none.json") == {}


def test_the_table_shows_a_case_that_failed_beside_the_others() -> None:
    console = Console(width=120, file=io.StringIO())
    console.print(tables.targets({"move": a_result(7).as_json(), "create": {"error": "WrongAnswer: 3 of 9"}}))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "WrongAnswer: 3 of 9" in text
    assert "≥ 7.00" in text


def test_processor_time_counts_from_the_beginning_of_a_measurement() -> None:
    meter = Meter({})
    sum(number * number for number in range(3_000_000))
    assert meter.seconds()[LOAD] > 0
    assert Meter({}).seconds()[LOAD] < meter.seconds()[LOAD]


def test_statistics_of_one_round_have_no_spread() -> None:
    row: Row = measure.rate_row(OURS, samples(10))
    assert (row.spread.least, row.spread.greatest) == (row.spread.median, row.spread.median)
    assert row.cpu_ms["odoo"] == pytest.approx(1)

"""The charts are drawn from whatever cases the results have."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from bench import charts, measure, results
from bench.measure import OURS, Result, Sample, Spread, Target


def a_case() -> dict[str, object]:
    samples = [Sample(100, seconds, {"odoo": 0.4, "postgres": 0.2, "azurite": 0.1}) for seconds in (1.0, 2.0, 1.5)]
    rows = [measure.rate_row(OURS, samples), measure.rate_row("the other", samples)]
    return Result("Moves", rows, [Target("rate", Spread(1, 1, 1), 1, "×", at_least=True)]).as_json()


def test_a_chart_is_as_wide_as_a_page_and_names_its_version(tmp_path: Path) -> None:
    run = {"odoo": "19.0", "machine": "2 processors", "versions": {}, "commit": "abc", "date": "2026-11-26"}
    found = results.merged({}, "19.0", {**run, "cases": {"move": a_case()}})
    drawn = charts.draw(found, tmp_path)
    assert [path.name for path in drawn] == ["drain-19.0.png", "cpu-19.0.png"]
    for path in drawn:
        with Image.open(path) as picture:
            assert 900 <= picture.width <= 1200
            assert len(picture.getcolors(100_000) or []) > 10  # something is drawn


def test_without_results_there_is_no_chart(tmp_path: Path) -> None:
    assert charts.draw({}, tmp_path) == []

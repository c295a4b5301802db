"""The health report and `status`: a real queue, a real database; only Odoo is a stand-in."""

from __future__ import annotations

import json
import signal
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from rich.console import Console

from bridge.cli import status
from bridge.contract.payloads import CAMPAIGN_QUEUE, CONTACT_QUEUE, OPPORTUNITY_QUEUE
from bridge.monitoring import health
from bridge.monitoring.probes import BackgroundCheck, HealthChecks
from bridge.results import Done, Failure
from bridge.settings import Settings
from bridge.store import audit, dead_letters, pauses
from bridge.store.audit import ReceivedEvent
from bridge.store.dead_letters import DeadLetter

from .conftest import PATIENCE, Cli, World, contact, eventually, stage
from .program import Program


@pytest.fixture
def settings(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in environment.items():
        if name.startswith("BRIDGE_"):
            monkeypatch.setenv(name, value)
    return Settings(_env_file=None)


def look(settings: Settings, now: datetime | None = None, timeout: float = 30) -> dict[str, Any]:
    report = health.report(health.open_checks(settings).run(timeout), now)
    json.dumps(report)
    return report


def path(report: dict[str, Any], queue: str) -> dict[str, Any]:
    return next(path for path in report["paths"] if path["queue"] == queue)


def alive(world: World) -> None:
    world.odoo.heartbeats.append({"name": "host/1", "version": "0.1.0"})


def test_all_is_well(world: World, settings: Settings) -> None:
    alive(world)
    report = look(settings)
    assert (report["status"], report["problems"], report["notices"]) == ("ok", [], [])
    assert {name: told["status"] for name, told in report["dependencies"].items()} == dict.fromkeys(
        ("queue", "sql", "odoo"), "ok"
    )
    assert [bridge["name"] for bridge in report["bridges"]] == ["host/1"]
    assert [path["lag_seconds"] for path in report["paths"]] == [0, 0, 0, 0]
    assert report["dead_letters"] == {"open": 0, "by_reason": {}, "notices_on_queue": 0}


def test_each_path_tells_its_depth_rate_latency_lag_and_pause(world: World, settings: Settings) -> None:
    alive(world)
    done, begun, waiting = contact("MC1"), stage("MC2"), stage("MC3")
    world.send(waiting)
    with world.engine.begin() as connection:
        audit.begin(
            connection, [ReceivedEvent(done, CONTACT_QUEUE, None), ReceivedEvent(begun, OPPORTUNITY_QUEUE, None)]
        )
        audit.finish(connection, {done.id: Done("stored")}, done.received_at + timedelta(seconds=2))
        pauses.pause(connection, [CAMPAIGN_QUEUE])
    report = look(settings, datetime.now(timezone.utc) + timedelta(seconds=60))
    contacts, opportunities = path(report, CONTACT_QUEUE), path(report, OPPORTUNITY_QUEUE)
    assert contacts["latency_seconds"] == {"p50": 2, "p95": 2}
    assert (contacts["depth"], contacts["unfinished"], contacts["lag_seconds"]) == (0, 0, 0)
    assert contacts["events_per_minute"] == 0.2
    assert (opportunities["depth"], opportunities["unfinished"]) == (1, 1)
    assert opportunities["oldest_message_seconds"] >= 60
    assert opportunities["lag_seconds"] >= 60
    assert path(report, CAMPAIGN_QUEUE)["paused_since"]
    assert report["status"] == "ok"
    assert any("PAUSED" in notice for notice in report["notices"])


def test_an_event_that_waits_for_long_is_a_problem_unless_its_queue_is_paused(world: World, settings: Settings) -> None:
    alive(world)
    world.send(stage())
    later = datetime.now(timezone.utc) + timedelta(minutes=7)
    report = look(settings, later)
    assert report["status"] == "degraded"
    assert report["problems"] == [f"{OPPORTUNITY_QUEUE}: its oldest event has waited for 7 minutes."]
    with world.engine.begin() as connection:
        pauses.pause(connection, [OPPORTUNITY_QUEUE])
    assert look(settings, later)["status"] == "ok"


def test_dead_letters_are_told_by_reason_and_are_no_problem_of_the_system(world: World, settings: Settings) -> None:
    alive(world)
    with world.engine.begin() as connection:
        dead_letters.put(connection, [letter(number, "unmapped_stage") for number in range(2)] + [letter(9, "refused")])
    report = look(settings)
    assert report["dead_letters"]["by_reason"] == {"refused": 1, "unmapped_stage": 2}
    assert report["status"] == "ok"
    assert report["notices"] == ["open dead letters 3"]


def letter(number: int, code: str) -> DeadLetter:
    now = datetime.now(timezone.utc)
    return DeadLetter(None, f"m{number}", OPPORTUNITY_QUEUE, None, None, "…", now, code, "Something.", 1, now)


def test_without_a_living_bridge_it_is_degraded(world: World, settings: Settings) -> None:
    report = look(settings)
    assert report["status"] == "degraded"
    assert "No bridge is alive" in report["problems"][0]


def test_whatever_is_away_is_named_and_the_rest_is_told(world: World, settings: Settings) -> None:
    world.odoo.stop()
    report = look(settings)
    assert report["dependencies"]["odoo"]["status"] == "unavailable"
    assert report["dependencies"]["sql"]["status"] == "ok"
    assert report["bridges"] is None
    assert [problem for problem in report["problems"] if "Odoo" in problem and "BRIDGE_ODOO_URL" in problem]


def test_a_dependency_that_hangs_does_not_hold_up_the_report(
    world: World, settings: Settings, hanging_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive(world)
    monkeypatch.setenv("BRIDGE_QUEUE_CONNECTION_STRING", hanging_server)
    report = look(Settings(_env_file=None), timeout=3)
    assert report["dependencies"]["queue"]["status"] == "unavailable"
    assert "3 seconds" in report["dependencies"]["queue"]["reason"]
    assert report["dependencies"]["sql"]["status"] == "ok"
    assert path(report, OPPORTUNITY_QUEUE)["depth"] is None
    assert path(report, OPPORTUNITY_QUEUE)["lag_seconds"] == 0


def test_what_is_not_set_up_says_which_variable(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("BRIDGE_DATABASE_URL", f"sqlite:///{tmp_path / 'none.db'}")
    report = look(Settings(_env_file=None))
    assert report["dependencies"]["queue"]["status"] == "not_configured"
    assert "BRIDGE_QUEUE_CONNECTION_STRING" in report["problems"][0]
    assert report["dependencies"]["sql"]["revision"] is None


def test_a_question_that_hangs_is_asked_once_and_answers_are_shared() -> None:
    asked: list[float] = []

    def slow() -> int:
        asked.append(time.monotonic())
        time.sleep(0.2)
        return 7

    check = BackgroundCheck(slow, "")
    assert check.begin(0) is check.begin(0)
    assert check.begin(0).result(30).value == 7
    assert check.begin(60).result(0).value == 7
    assert len(asked) == 1
    assert check.begin(0).result(30).value == 7
    assert len(asked) == 2


def test_an_error_nobody_foresaw_is_an_answer_too() -> None:
    def wrong() -> int:
        raise ZeroDivisionError

    answer = BackgroundCheck(wrong, "Report it.").begin(0).result(30)
    assert (answer.status, answer.reason) == ("unavailable", "ZeroDivisionError")


def test_nothing_is_opened_before_the_first_check() -> None:
    def never(*_: str) -> Any:
        raise AssertionError

    HealthChecks(never, never, never)


def test_status_fits_80_columns_and_names_what_matters(world: World, settings: Settings) -> None:
    alive(world)
    with world.engine.begin() as connection:
        pauses.pause(connection, [OPPORTUNITY_QUEUE])
        dead_letters.put(connection, [letter(1, "unmapped_stage"), letter(2, "sql_refused"), letter(3, "of Odoo")])
    console = Console(width=80, no_color=True, force_terminal=False)
    with console.capture() as capture:
        console.print(status.view(look(settings)))
    text = capture.get()
    print(text)
    assert max(len(line) for line in text.splitlines()) <= 80
    for word in ("ok", "crm-opportunities", "campaign", "contact", "PAUSED", "unmapped_stage", "1 alive", "host/1"):
        assert word in text
    assert "…" not in text


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(("running", "stuck", "ended"), [(0, 0, 3), (1, 0, 0), (5, 1, 1), (20, 20, 2), (100, 4, 100)])
def test_status_is_readable_with_any_number_of_bridges(
    world: World, settings: Settings, width: int, running: int, stuck: int, ended: int
) -> None:
    host = "bridge-production-westeurope-7d9f8b6c5-x2x9z.pods.cluster.internal.example.com"
    world.odoo.heartbeats += [
        {
            "name": f"{host}/{n}",
            "version": "0.5.0",
            "seconds": n / 10,
            "stuck": ["manychat-contact-queue"] * (n < stuck),
        }
        for n in range(running)
    ]
    world.odoo.ended += [
        {"name": f"{host}/9{n}", "version": "0.5.0", "seconds": 60 * n + 5, "stopped": n % 2 == 0} for n in range(ended)
    ]
    with world.engine.begin() as connection:
        pauses.pause(connection, [CONTACT_QUEUE, CAMPAIGN_QUEUE, OPPORTUNITY_QUEUE])
    report = look(settings)
    assert len(report["bridges"]) == running
    assert len(report["ended_bridges"]) == ended
    console = Console(width=width, no_color=True, force_terminal=False, markup=False)
    with console.capture() as capture:
        console.print(status.view(report))
    text = capture.get()
    print(text)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) < 45
    assert "…" not in text
    unfolded = "".join(line.strip() for line in lines)
    assert f"{running - stuck} alive" in text
    assert text.count("STANDS STILL") == min(stuck, 5)
    if running:
        assert ".example.com/" in unfolded or width == 80
    assert ("more, each seen" in text) == (running > 5)
    assert ("not running: " in text) == bool(ended)
    if ended:
        assert f"{(ended + 1) // 2} stopped, last seen 5.0 s ago" in unfolded
    if not running:
        assert f"the last one, {host}/90, was stopped 5.0 s ago" in " ".join(report["problems"])


def test_a_number_of_any_size_fits_its_column() -> None:
    sizes = (None, 0, 0.1, 12.5, 999.96, 9999, 9999.5, 10_000, 999_499, 999_500, 1_234_567, 99_950_000, 987_654_321)
    shown = [status._number(size) for size in sizes]
    assert shown == [
        *("?", "0", "0.1", "12.5", "1000", "9999", "10k", "10k", "999k", "1.0M", "1.2M", "100M", "988M"),
    ]
    times = (None, 0, 0.01, 5, 9.96, 119, 121, 5969, 5971, 172_799, 172_801, 9e8)
    assert max(len(status.duration(seconds)) for seconds in times) <= 7


def test_status_that_is_watched_through_a_pipe_prints_report_after_report(world: World, cli: Cli) -> None:
    alive(world)
    for options, number, mark in (([], 3, "MiaSalud bridge"), (["--json"], 3, '"checked_at"')):
        output, errors = (cli.folder / f"watch{len(options)}-{name}.txt" for name in ("out", "err"))
        arguments = ["status", "--watch", "--every", "0.5", *options]
        program = Program(arguments, cli.environment, cli.folder, stdout=output, stderr=errors)
        eventually(lambda: output.read_text().count(mark) >= number, "three reports")  # noqa: B023
        program.send_signal(signal.SIGHUP)
        assert program.wait(PATIENCE) == 0
        assert errors.read_text() == ""


def test_status_exits_by_what_it_found_and_prints_json(world: World, cli: Cli) -> None:
    alive(world)
    good = cli.start("status", "--json")
    assert (good.returncode, json.loads(good.stdout)["status"]) == (0, "ok")
    world.odoo.stop()
    bad = cli("status")
    assert bad.returncode == 1
    assert "Odoo is unavailable" in bad.stdout
    # Looking is not being a bridge.
    assert len(world.odoo.heartbeats) == 1


def test_failed_attempts_count_as_lag_until_given_up(world: World, settings: Settings) -> None:
    event = stage()
    with world.engine.begin() as connection:
        audit.begin(connection, [ReceivedEvent(event, OPPORTUNITY_QUEUE, None)])
    later = datetime.now(timezone.utc) + timedelta(minutes=1)
    assert path(look(settings, later), OPPORTUNITY_QUEUE)["lag_seconds"] >= 59
    with world.engine.begin() as connection:
        audit.fail(connection, {event.id: Failure("refused", "No.")}, dead=True)
    assert path(look(settings, later), OPPORTUNITY_QUEUE)["lag_seconds"] == 0


def test_what_odoo_refused_is_in_the_report_and_on_the_terminal(world: World, settings: Settings) -> None:
    alive(world)
    world.odoo.refusals = {"refused": 3, "warned": 0, "wrong_keys": 12}
    report = look(settings)
    assert report["refusals"] == world.odoo.refusals
    assert report["status"] == "ok", "the bridge has no fault"
    assert report["notices"] == [
        "requests that Odoo refused in the last 24 hours 3",
        "requests without a valid key in the last 24 hours 12",
    ]
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(status.view(report))
    assert "! requests without a valid key in the last 24 hours 12" in console.export_text()


def test_an_addon_that_counts_no_refusals_is_no_problem(world: World, settings: Settings) -> None:
    alive(world)
    world.odoo.takes_reports = False
    report = look(settings)
    assert (report["refusals"], report["status"]) == (None, "ok")

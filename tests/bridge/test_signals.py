"""SIGTERM and Ctrl-C stop a bridge whatever it is doing, and further ones change nothing."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import uvicorn

from bridge.api import serve
from bridge.worker import process
from bridge.worker.consumer import Consumer

from .conftest import PATIENCE, ROOT, World, eventually, free_port, stage
from .program import Program

#: Gets a signal at the worst moment: while the main thread holds the lock of the event, as in its set() and wait().
#: Then it lives on until its standard input ends.
PROGRAM = """
import os, signal, sys, time
from bridge import log
from bridge.signals import stop_on_signals

log.configure("json")
stop = stop_on_signals()
with stop._cond:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.1)
stop.wait()
print("stopped", flush=True)
sys.stdin.read()
"""


def test_no_signal_hangs_or_kills_the_process() -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout
    try:
        assert program.stdout.readline() == "stopped\n"
        for _ in range(1000):
            program.send_signal(signal.SIGTERM)
            program.send_signal(signal.SIGINT)
        output, errors = program.communicate(timeout=PATIENCE)
    finally:
        program.kill()
    assert program.returncode == 0, errors
    assert (output + errors).count("stopping") == 1


#: `timeout python -m bridge run` sends two: one to the process, one to its group.
PAIRS = [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT)]


def _end_by_two_signals(process: Program, log: Path, chooser: random.Random) -> None:
    """Send two, 0.1 to 1.5 ms apart: while the process starts, or works, or has nothing to do."""
    eventually(lambda: "starting" in log.read_text())
    time.sleep(chooser.choice((0, chooser.uniform(0, 0.05), chooser.uniform(0, 0.5))))
    first, second = chooser.choice(PAIRS)
    process.send_signal(first)
    time.sleep(chooser.uniform(0.0001, 0.0015))
    process.send_signal(second)
    assert process.wait(PATIENCE) == 0, log.read_text()
    assert "stopped" in log.read_text()


@pytest.fixture
def chooser() -> random.Random:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    return random.Random(seed)


def test_two_signals_at_any_moment_and_distance_end_a_bridge(world: World, chooser: random.Random) -> None:
    for number in range(24):
        world.send(stage(f"MC{number}"))
        bridge = world.start_bridge()
        _end_by_two_signals(bridge.process, bridge.log, chooser)


def test_two_signals_at_any_moment_and_distance_end_the_api(world: World, chooser: random.Random) -> None:
    for number in range(12):
        log = world.folder / f"api-{number}.log"
        process = Program(["api", "--port", str(free_port())], world.environment, world.folder, stdout=log, stderr=log)
        _end_by_two_signals(process, log, chooser)


#: The end of a terminal or of an SSH session, and what some supervisors send.
OTHERS = [signal.SIGHUP, signal.SIGQUIT]


@pytest.mark.parametrize("number", [*OTHERS, signal.SIGTERM, signal.SIGINT])
def test_a_bridge_that_is_stopped_finishes_and_signs_off(world: World, number: signal.Signals) -> None:
    events = [stage(f"MC{each}") for each in range(40)]
    world.send(*events)
    bridge = world.start_bridge()
    eventually(lambda: world.odoo.heartbeats and world.odoo.moves)
    for meaningless in (signal.SIGUSR1, signal.SIGUSR2):
        bridge.process.send_signal(meaningless)
    bridge.process.send_signal(number)
    assert bridge.process.wait(PATIENCE) == 0, bridge.log.read_text()
    assert [line["signal"] for line in bridge.lines("stopping")] == [number.name]
    assert world.odoo.signed_off == [world.odoo.heartbeats[0]["name"]]
    assert len(bridge.lines("event_applied")) == len(world.odoo.moves)


@pytest.mark.parametrize("number", OTHERS)
def test_the_api_ends_in_order_as_well(world: World, number: signal.Signals) -> None:
    log = world.folder / "api.log"
    process = Program(["api", "--port", str(free_port())], world.environment, world.folder, stdout=log, stderr=log)
    eventually(lambda: "starting" in log.read_text())
    process.send_signal(signal.SIGUSR1)
    process.send_signal(number)
    assert process.wait(PATIENCE) == 0, log.read_text()
    assert "stopped" in log.read_text()


def test_what_nohup_started_outlives_its_terminal(world: World) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        bridge = subprocess.Popen(
            [sys.executable, "-m", "bridge", "run"],
            env=world.environment,
            cwd=world.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    finally:
        signal.signal(signal.SIGHUP, before)
    try:
        eventually(lambda: world.odoo.heartbeats)
        bridge.send_signal(signal.SIGHUP)
        event = stage("MC1")
        world.send(event)
        eventually(lambda: world.outcomes(event) == ["created"])
        assert bridge.poll() is None
        bridge.terminate()
        assert bridge.wait(PATIENCE) == 0
    finally:
        bridge.kill()


def test_a_bridge_ends_though_odoo_does_not_take_the_sign_off(world: World) -> None:
    world.odoo.takes_reports = False  # an older addon, which does not know it
    bridge = world.start_bridge()
    eventually(lambda: world.odoo.heartbeats)
    assert bridge.terminate() == 0
    other = world.start_bridge()
    eventually(lambda: len(world.odoo.heartbeats) == 2)
    world.odoo.stop()
    assert other.terminate() == 0
    assert world.odoo.signed_off == []


def test_a_signal_before_the_server_runs_is_not_lost() -> None:
    stop = serve._Stop()
    try:
        signal.raise_signal(signal.SIGTERM)
        stop.end_with(server := uvicorn.Server(uvicorn.Config(lambda: None)))
        assert server.should_exit
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_failed_start_ends_what_had_started(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Consumer] = []

    def start(consumer: Consumer) -> None:
        if started:
            raise RuntimeError("can't start new thread")
        started.append(consumer)
        threading.Thread.start(consumer)

    monkeypatch.setattr(Consumer, "start", start)
    with pytest.raises(RuntimeError):
        process.run(world.settings(), ["contact", "campaign"], threading.Event())
    started[0].join(PATIENCE)
    assert not started[0].is_alive()

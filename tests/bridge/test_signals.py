"""SIGTERM and Ctrl-C stop a bridge whatever it is doing, and further ones change nothing."""

from __future__ import annotations

import signal
import subprocess
import sys

from .conftest import PATIENCE, ROOT

#: Gets a signal at the worst moment: while the main thread holds the lock of the event, as in its set() and wait().
#: Then it lives on until its standard input ends.
PROGRAM = """
import os, signal, sys, time
from bridge import log
from bridge.cli.run import stop_on_signals

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
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    try:
        assert process.stdout.readline() == "stopped\n"
        for _ in range(1000):
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert (output + errors).count("stopping") == 1

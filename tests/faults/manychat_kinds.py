"""The faults of ManyChat, which is a stand-in: each a function that injects one, holds it, and takes it away again."""

import contextlib
import random
import time
from collections.abc import Callable, Iterator

from bridge.manychat import READ_SECONDS

from .moments import PATIENCE, DidNotHappen
from .system import System
from .traffic import Traffic


@contextlib.contextmanager
def _manychat(system: System, **how: object) -> Iterator[None]:
    """It behaves like that until the block ends."""
    before = {name: getattr(system.manychat, name) for name in how}
    for name, value in how.items():
        setattr(system.manychat, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(system.manychat, name, value)


def manychat_silent(system: System, _traffic: Traffic, chooser: random.Random) -> None:
    """It takes calls, does nothing, and does not answer until the bridges have given up waiting."""
    with _manychat(system, is_silent=True):
        time.sleep(READ_SECONDS + chooser.uniform(0, 3))


def manychat_answers_late(system: System, _traffic: Traffic, chooser: random.Random) -> None:
    """It does what it is asked, and answers when nobody waits any more."""
    with _manychat(system, late=READ_SECONDS + 1.0):
        time.sleep(chooser.uniform(1, 4))


def manychat_answers_cut(system: System, _traffic: Traffic, chooser: random.Random) -> None:
    with _manychat(system, cuts=True):
        time.sleep(chooser.uniform(0.5, 3))


def manychat_refuses_connections(system: System, _traffic: Traffic, chooser: random.Random) -> None:
    system.manychat.stop()
    time.sleep(chooser.uniform(1, 6))
    system.manychat.start()


def manychat_fails(system: System, _traffic: Traffic, chooser: random.Random) -> None:
    with _manychat(system, failing=500):
        time.sleep(chooser.uniform(1, 5))


def manychat_fails_with_200(system: System, _traffic: Traffic, chooser: random.Random) -> None:
    """An error in the form in which ManyChat reports most of them."""
    with _manychat(system, trouble=(200, {"status": "error", "message": "Internal error. Try again later."})):
        time.sleep(chooser.uniform(1, 5))


def manychat_stops(system: System, _traffic: Traffic, chooser: random.Random) -> None:
    """As for 24 hours after its limit was passed: here it says that it will be seconds."""
    seconds = chooser.uniform(4, 8)
    system.manychat.stop_for(seconds)
    time.sleep(seconds)


def bridge_killed_while_manychat_works(system: System, _traffic: Traffic, _chooser: random.Random) -> None:
    """ManyChat has done what it was asked, also started a flow, and the bridge does not know."""
    with _manychat(system, late=5.0):
        caught: dict[int, str] = {}

        def is_asked() -> bool:
            caught.update(system.manychat.waiting)
            return bool(caught)

        if not system.wait_until(is_asked, PATIENCE):
            raise DidNotHappen
        pid = system.bridge_at(next(iter(caught)))
        if pid is None:
            raise DidNotHappen
        system.kill(pid)


MANYCHAT_KINDS: dict[str, Callable[[System, Traffic, random.Random], None]] = {
    "ManyChat silent": manychat_silent,
    "ManyChat answers late": manychat_answers_late,
    "ManyChat answers cut": manychat_answers_cut,
    "ManyChat refuses connections": manychat_refuses_connections,
    "ManyChat fails (HTTP 500)": manychat_fails,
    "ManyChat fails (HTTP 200)": manychat_fails_with_200,
    "ManyChat stops at its limit": manychat_stops,
    "bridge killed while ManyChat works": bridge_killed_while_manychat_works,
}

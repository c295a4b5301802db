"""Loopback ports: chosen free once, kept, and given up when another program took them meanwhile."""

import random
import socket

from .say import say
from .state import State

HOST = "127.0.0.1"
# Below the range from which Linux draws the ports of outgoing connections, so that none of those sits on ours.
_RANGE = range(21000, 32000)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: without it a port is "taken" for a minute after a server on it stopped.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def choose() -> int:
    """A free loopback port."""
    while not is_free(port := random.choice(_RANGE)):
        pass
    return port


def keep(state: State, name: str, server: str) -> int:
    """The port that `state` keeps under `name` for a server that isn't running now; another one if it was taken."""
    kept = state.get(name)
    if kept and is_free(kept):
        return kept
    port = choose()
    if kept:
        say(f"{server} moves to port {port}: another program uses {kept} now.")
    state.set(name, port)
    return port

"""Seconds of processor time, by program: each process with its children, also those that have ended."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import psutil

from deploy.local.postgres import Cluster

#: The process that sends the load or plays a peer: this one.
LOAD = "load"


def postmaster(cluster: Cluster) -> int:
    """The process id of the server of a cluster."""
    return int((cluster.folder / "data" / "postmaster.pid").read_text().splitlines()[0])


def _seconds(pid: int) -> float:
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    total = 0.0
    for each in family:
        try:
            total += sum(each.cpu_times()[:4])  # its own, and that of children that it has waited for
        except psutil.NoSuchProcess:
            continue
    return total


class Meter:
    """Counts from its creation on.

    :param programs: the process ids of each program, by its name
    """

    def __init__(self, programs: Mapping[str, Sequence[int]]) -> None:
        self._programs = programs
        self._began = self._now()

    def seconds(self) -> dict[str, float]:
        """Of each program, and of this process as ``load``."""
        return {name: now - self._began[name] for name, now in self._now().items()}

    def _now(self) -> dict[str, float]:
        # Only its own: programs that it started are others' or nobody's.
        own = sum(os.times()[:2])
        return {name: sum(map(_seconds, pids)) for name, pids in self._programs.items()} | {LOAD: own}


def peak_memory(pid: int) -> float:
    """Megabytes that a process had in memory at most."""
    with open(f"/proc/{pid}/status") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024

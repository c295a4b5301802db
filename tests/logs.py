"""What Odoo and PostgreSQL have logged about a stack since a moment."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

#: How both say that something went wrong.
TROUBLE = re.compile(r"\b(ERROR|CRITICAL|FATAL|PANIC)\b")
#: In the statement after such a line in PostgreSQL's log: Odoo's cron threads want the same job. No addon can help it.
ODOOS_OWN = "WITH last_cron_progress"
#: PostgreSQL shows what a connection was doing when it was ended by force, and no program can hide that.
ENDED_BY_FORCE = "FATAL:  terminating connection"
_PROCESS = re.compile(r"^\S+ \S+ \S+ \[(\d+)\] ")


class Logs:
    """What Odoo and PostgreSQL log from here on."""

    def __init__(self, stack: Any) -> None:
        self._database = stack.database
        odoo = (stack.folder / "log").glob("odoo*.log")
        self._starts = {path: path.stat().st_size for path in (*odoo, stack.odoo.cluster.folder / "postgres.log")}

    def lines(self) -> list[str]:
        return [line for path, start in self._starts.items() for line in _read(path, start)]

    def trouble(self) -> list[str]:
        """The lines about something that went wrong in the stack's database."""
        lines = self.lines()
        found = [number for number, line in enumerate(lines) if TROUBLE.search(line) and self._database in line]
        return [lines[number] for number in found if ODOOS_OWN not in " ".join(lines[number + 1 : number + 5])]

    def told(self, words: Iterable[str]) -> list[str]:
        """The lines that hold any of these words."""
        found, process, ended = [], "", set()
        for line in self.lines():
            if match := _PROCESS.match(line):
                process = match[1]
            if ENDED_BY_FORCE in line:
                ended.add(process)
            if process not in ended and any(word in line for word in words):
                found.append(line)
        return found


def _read(path: Path, start: int) -> list[str]:
    with open(path, "rb") as log:
        log.seek(start)
        return log.read().decode(errors="replace").splitlines()

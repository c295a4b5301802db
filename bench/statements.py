"""Statements that PostgreSQL got, counted in its own log: by whatever way Odoo sent them."""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.year.tables import run

from .measure import WrongAnswer
from .system import BenchStack

_STATEMENT = re.compile(
    r"^\S+ \S+ \S+ \[(?P<pid>\d+)\] (?P<database>\S+) LOG:  duration: .*?(?:statement|execute [^:]*): "
    r"(?P<text>.*(?:\n\t.*)*)",  # the other lines of a statement are indented
    re.MULTILINE,
)
#: Not counted by Odoo's own assertQueryCount either.
_FRAME = re.compile(r"(BEGIN|COMMIT|ROLLBACK|START TRANSACTION)\b", re.IGNORECASE)


@dataclass
class Statements:
    """What each connection got, by the process id of its server."""

    by_connection: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))

    def of_connection_with(self, text: str) -> list[str]:
        """All statements of the one connection that got one with ``text`` in it; of several, the one that got most.

        :raises WrongAnswer: there is none
        """
        found = [each for each in self.by_connection.values() if any(text in statement for statement in each)]
        if not found:
            raise WrongAnswer(f"no statement with {text!r} in PostgreSQL's log")
        return max(found, key=len)


@contextlib.contextmanager
def logged(stack: BenchStack) -> Iterator[None]:
    """PostgreSQL logs each statement while the block lasts. It costs much: measure no time meanwhile."""
    with stack.superuser("postgres") as connection:
        run(connection, "ALTER SYSTEM SET log_min_duration_statement = 0")
        run(connection, "SELECT pg_reload_conf()")
    try:
        yield
    finally:
        with stack.superuser("postgres") as connection:
            run(connection, "ALTER SYSTEM RESET log_min_duration_statement")
            run(connection, "SELECT pg_reload_conf()")


@contextlib.contextmanager
def counted(stack: BenchStack) -> Iterator[Statements]:
    """The statements on the stack's database in the block, there when it has ended. Inside :func:`logged`."""
    log = stack.odoo.cluster.folder / "postgres.log"
    began = log.stat().st_size
    statements = Statements()
    yield statements
    with log.open("rb") as file:
        file.seek(began)
        for match in _STATEMENT.finditer(file.read().decode(errors="replace")):
            if match["database"] == stack.database and not _FRAME.match(match["text"]):
                statements.by_connection[int(match["pid"])].append(match["text"])

"""Queries, counted in PostgreSQL's own log: by whatever way Odoo sent them, and as Odoo counts them."""

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
    r"^\S+ \S+ \S+ \[(?P<pid>\d+)\] (?P<database>\S+) LOG:  duration: .*?(?:statement|execute [^:]*): ?"
    r"(?P<text>.*(?:\n\t.*)*)",  # the other lines of a statement are indented
    re.MULTILINE,
)
#: What frames queries, which Odoo's own count (`assertQueryCount`) leaves out too: transactions, a connection that goes
#: back to the pool; what Odoo asks before every request; and the first of the two statements in which the addon sends a
#: query whose values must not come into PostgreSQL's log.
_FRAME = re.compile(
    r"\s*(BEGIN|COMMIT|ROLLBACK|START TRANSACTION|DISCARD ALL|SELECT (base_registry|orm)_signaling\w*\.|"
    r"SELECT set_config\('miasalud\.statement'|SELECT to_regprocedure\('|CREATE OR REPLACE FUNCTION )",
    re.IGNORECASE,
)


@dataclass
class Statements:
    """What each connection got, by the process id of its server."""

    by_connection: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))

    def queries_beside(self, text: str) -> int:
        """How many queries the connection got that got one with ``text`` in it; of several, the one that got most.

        :raises WrongAnswer: there is none
        """
        found = [each for each in self.by_connection.values() if any(text in statement for statement in each)]
        if not found:
            raise WrongAnswer(f"no statement with {text!r} in PostgreSQL's log")
        return max(sum(not _FRAME.match(statement) for statement in each) for each in found)


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
        read(file.read().decode(errors="replace"), stack.database, statements)


def read(log: str, database: str, into: Statements) -> None:
    """Take the statements on a database out of lines of PostgreSQL's log."""
    for match in _STATEMENT.finditer(log):
        if match["database"] == database:
            into.by_connection[int(match["pid"])].append(match["text"])

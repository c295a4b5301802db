"""``python -m bridge check``: try each dependency the way the bridge uses it, and say what to do if it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import sqlalchemy as sa

from .events import DEAD_LETTER_QUEUE
from .outage import Outage
from .settings import ConfigurationError, Settings, variable
from .store import audit, dead_letters, migrate, pauses
from .store.dead_letters import Filter
from .store.engine import in_transaction
from .worker import QUEUES, open_engine, open_odoo, open_queue


@dataclass(frozen=True)
class Finding:
    """What came of one check.

    :ivar advice: what to do; empty if nothing
    """

    dependency: str
    tried: str
    ok: bool
    answer: str
    advice: str = ""


def check(settings: Settings) -> Iterator[Finding]:
    """The findings, each as soon as it is there."""
    yield _finding("queue", "look at the queues, make missing ones", lambda: _queue(settings), _QUEUE_ADVICE)
    yield _finding("SQL", "connect, read the tables' revision", lambda: _sql(settings), _SQL_ADVICE)
    yield _finding("Odoo", "log in, apply an empty batch", lambda: _odoo(settings), _ODOO_ADVICE)


_QUEUE_ADVICE = f"Is the storage account (or Azurite) running, and {variable('queue_connection_string')} its own?"
_SQL_ADVICE = f"Is the server running, and do {variable('database_url')}'s host, user and password fit it?"
_ODOO_ADVICE = f"Is Odoo running at {variable('odoo_url')}?"


def _finding(dependency: str, tried: str, attempt: Callable[[], str], advice: str) -> Finding:
    try:
        return Finding(dependency, tried, True, attempt())
    except ConfigurationError as error:
        return Finding(dependency, tried, False, "not set up", str(error))
    except Outage as outage:
        # "what is wrong: what to do"
        answer, _, own_advice = str(outage).partition(": ")
        return Finding(dependency, tried, False, answer, own_advice or advice)


def _queue(settings: Settings) -> str:
    depths = []
    for name in [*QUEUES.values(), DEAD_LETTER_QUEUE]:
        queue = open_queue(settings, name)
        queue.create()
        depths.append(f"{name} {queue.depth()}")
        queue.close()
    return "messages waiting: " + ", ".join(depths)


def _sql(settings: Settings) -> str:
    engine = open_engine(settings)
    current, needed = migrate.current(engine), migrate.head()
    if current == needed:
        about = ", ".join([f"{engine.dialect.name}, revision {current}", *in_transaction(engine, _state)])
        engine.dispose()
        return about
    engine.dispose()
    if current is None and engine.dialect.name == "sqlite":
        return "sqlite, no tables yet: `run` makes them"
    raise ConfigurationError(f"Its tables are at revision {current}, not {needed}. Run: python -m bridge db upgrade")


def _state(connection: sa.Connection) -> list[str]:
    """What an operator should know of, if there is any."""
    state = [f"PAUSED {name} since {since:%Y-%m-%d %H:%M} UTC" for name, since in pauses.paused(connection).items()]
    if letters := sum(dead_letters.counts(connection, Filter()).values()):
        state.append(f"open dead letters {letters}")
    yesterday = datetime.now(timezone.utc) - timedelta(days=1)
    if wrong := audit.wrong_clocks(connection, yesterday):
        state.append(f"events of the last 24 hours from a bot whose clock is wrong {wrong}")
    return state


def _odoo(settings: Settings) -> str:
    odoo = open_odoo(settings)
    try:
        odoo.probe()
        return f"Odoo {odoo.version()}, database {odoo.database}, user {odoo.login}"
    finally:
        odoo.close()

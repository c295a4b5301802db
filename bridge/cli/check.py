"""``python -m bridge check``: try each dependency the way the bridge uses it, and say what to do if it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import requests

from ..connect import open_engine, open_odoo, open_queue
from ..monitoring import probes
from ..settings import Settings, variable
from ..store.watch import StoreSeen

#: Seconds for an answer of the API, which asks nobody else for this one.
API_SECONDS = 3


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
    yield _finding("queue", "look at the queues, make missing ones", lambda: _queue(settings), probes.QUEUE_ADVICE)
    yield _finding("SQL", "connect, read the tables' revision", lambda: _sql(settings), probes.SQL_ADVICE)
    yield _finding("Odoo", "log in, apply an empty batch", lambda: _odoo(settings), probes.ODOO_ADVICE)
    yield _api(settings)


def _finding(dependency: str, tried: str, attempt: Callable[[], str], advice: str) -> Finding:
    answer = probes.ask(attempt, advice)
    return Finding(dependency, tried, answer.ok, answer.seen or answer.reason, answer.advice)


def _queue(settings: Settings) -> str:
    depths = []
    for name in probes.ALL_QUEUES:
        queue = open_queue(settings, name)
        queue.create()
        depths.append(f"{name} {probes.queue_seen(queue).depth}")
        queue.close()
    return "messages waiting: " + ", ".join(depths)


def _sql(settings: Settings) -> str:
    engine = open_engine(settings)
    try:
        seen = probes.sql_seen(engine)
    finally:
        engine.dispose()
    if seen.store is None:
        return f"{seen.dialect}, no tables yet: `run` makes them"
    return ", ".join([f"{seen.dialect}, revision {seen.revision}", *notices(seen.store)])


def notices(store: StoreSeen) -> list[str]:
    """What an operator should know of, if there is any."""
    state = [f"PAUSED {name} since {since:%Y-%m-%d %H:%M} UTC" for name, since in sorted(store.paused.items())]
    if letters := sum(store.letters.values()):
        state.append(f"open dead letters {letters}")
    if store.wrong_clocks:
        state.append(f"events of the last 24 hours from a bot whose clock is wrong {store.wrong_clocks}")
    return state


def _odoo(settings: Settings) -> str:
    odoo = open_odoo(settings)
    try:
        seen = probes.odoo_seen(odoo)
        return f"Odoo {seen.version}, database {seen.database}, user {seen.login}"
    finally:
        odoo.close()


def _api(settings: Settings) -> Finding:
    """Whoever needs no API runs none: only what answers wrongly has failed."""
    url = f"http://{settings.api_host}:{settings.api_port}/health"
    try:
        answer = requests.get(url, timeout=API_SECONDS, allow_redirects=False)
    except requests.RequestException:
        return Finding("API", f"GET {url}", True, "no answer: `python -m bridge api` does not run there (need not)")
    if answer.status_code == 200 and answer.text == '{"status":"ok"}':
        return Finding("API", f"GET {url}", True, "it answers; its keys: `python -m bridge key list`")
    advice = f"Give the API a free port: {variable('api_port')}."
    return Finding("API", f"GET {url}", False, f"something else answers there (HTTP {answer.status_code})", advice)

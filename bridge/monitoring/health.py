"""How everything is doing, in one report: of the health route, of `status`, and of its ``--json``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import Any

from .. import __version__
from ..cli.check import notices
from ..connect import open_engine, open_odoo, open_queue
from ..contract.fields import format_datetime
from ..contract.payloads import DEAD_LETTER_QUEUE
from ..results import description
from ..settings import Settings
from ..store.watch import WINDOW, Path
from .probes import NOT_CONFIGURED, PATHS, UNAVAILABLE, Answer, Seen, Watch, age

#: Seconds. Events take less than one; after this long somebody should look. The addon's report has the same limit.
STUCK_AFTER = 300


def open_watch(settings: Settings) -> Watch:
    """Looks at what ``settings`` name. Nothing is opened before the first look."""
    return Watch(lambda: open_engine(settings), lambda name: open_queue(settings, name), lambda: open_odoo(settings))


def report(seen: Seen, now: datetime | None = None) -> dict[str, Any]:
    """What was seen, judged.

    :return: JSON: ``status`` (``ok`` or ``degraded``), ``problems`` (why it is degraded) and ``notices`` (what somebody
        should know) in words, ``dependencies``, ``bridges``, ``paths``, ``dead_letters``. What could not be found out
        is ``None``.
    """
    now = now or datetime.now(timezone.utc)
    paths = [_path(seen, queue, now) for queue in PATHS]
    dependencies = {"queue": _slowest(list(seen.queues.values())), "sql": seen.sql}
    if seen.odoo:
        dependencies["odoo"] = seen.odoo
    store = seen.sql.seen.store if seen.sql.seen else None
    bridges = seen.odoo.seen.bridges if seen.odoo and seen.odoo.seen else None
    problems = list(_problems(dependencies, paths, bridges))
    letters = seen.queues[DEAD_LETTER_QUEUE].seen
    return {
        "status": "degraded" if problems else "ok",
        "version": __version__,
        "checked_at": format_datetime(now),
        "problems": problems,
        "notices": notices(store) if store else [],
        "dependencies": {name: _dependency(answer) for name, answer in dependencies.items()},
        "bridges": bridges,
        "paths": paths,
        "dead_letters": {
            "open": sum(store.letters.values()) if store else None,
            "by_reason": dict(sorted(store.letters.items())) if store else None,
            "notices_on_queue": letters.depth if letters else None,
        },
    }


def _path(seen: Seen, queue: str, now: datetime) -> dict[str, Any]:
    messages = seen.queues[queue].seen
    store = seen.sql.seen.store if seen.sql.seen else None
    path = store.paths.get(queue, Path()) if store else None
    lag = seen.lag(queue, now)
    paused = store.paused.get(queue) if store else None
    return {
        "queue": queue,
        "depth": messages.depth if messages else None,
        "oldest_message_seconds": round(age(messages.first_at, now), 1) if messages else None,
        "unfinished": path.unfinished if path else None,
        "lag_seconds": None if lag is None else round(lag, 1),
        "events_per_minute": round(path.received / (WINDOW.total_seconds() / 60), 1) if path else None,
        "given_up": path.given_up if path else None,
        "latency_seconds": {"p50": _quantile(path.latencies, 0.5), "p95": _quantile(path.latencies, 0.95)}
        if path
        else None,
        "paused_since": format_datetime(paused) if paused else None,
    }


def _quantile(ascending: Sequence[float], share: float) -> float | None:
    """The nearest one; ``None`` if there was no event lately."""
    return round(ascending[min(int(len(ascending) * share), len(ascending) - 1)], 3) if ascending else None


def _slowest(answers: Sequence[Answer[Any]]) -> Answer[Any]:
    """One answer for all queues: they are one service. The worst, and of those the slowest."""
    return max(answers, key=lambda answer: (answer.status == NOT_CONFIGURED, not answer.ok, answer.seconds))


def _dependency(answer: Answer[Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"status": answer.status, "ms": round(answer.seconds * 1000, 1)}
    if not answer.ok:
        return {**told, "reason": answer.reason, "advice": answer.advice}
    for name in ("dialect", "revision", "version"):
        if hasattr(answer.seen, name):
            told[name] = getattr(answer.seen, name)
    return told


_NAMES = {"queue": "The queue", "sql": "SQL", "odoo": "Odoo"}


def _problems(
    dependencies: dict[str, Answer[Any]], paths: Sequence[dict[str, Any]], bridges: Sequence[Any] | None
) -> Iterator[str]:
    for name, answer in dependencies.items():
        if answer.status == UNAVAILABLE:
            yield f"{_NAMES[name]} is unavailable: {answer.reason}. {answer.advice}".strip()
        elif answer.status == NOT_CONFIGURED:
            yield f"{_NAMES[name]} is not set up. {answer.advice}".strip()
    if bridges is not None and not bridges:
        yield "No bridge is alive: none has shown itself to Odoo for two minutes. Start one: python -m bridge run"
    for path in paths:
        if not path["paused_since"] and (path["lag_seconds"] or 0) > STUCK_AFTER:
            minutes = int(path["lag_seconds"] // 60)
            yield f"{path['queue']}: its oldest event has waited for {minutes} minutes."


def meanings(by_reason: dict[str, int]) -> list[tuple[str, int, str]]:
    """Reason, number, and what to do, the most frequent first."""
    return [
        (reason, by_reason[reason], description(reason)) for reason in sorted(by_reason, key=lambda r: -by_reason[r])
    ]

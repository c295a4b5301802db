"""The health report, for the API's health route and for `status`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import Any

from .. import __version__
from ..connect import open_engine, open_odoo, open_queue
from ..contract.agreements import SILENT_AFTER, STUCK_AFTER
from ..contract.fields import format_datetime
from ..contract.payloads import DEAD_LETTER_QUEUE, OUTBOUND_QUEUE
from ..results import description
from ..settings import Settings, variable
from ..store.snapshot import WINDOW, QueueSnapshot, StoreSnapshot
from ..store.standby_refusals import WITHOUT_KEY
from .probes import NOT_CONFIGURED, PATHS, UNAVAILABLE, CheckResult, HealthChecks, HealthSnapshot, OdooHealth, age

#: Bridges that stand still, and bots that the standby refused, which are named in words.
SHOWN = 3
#: Most counts of the standby's refusals in a report, those with the most requests.
MOST_REFUSALS = 100


def open_checks(settings: Settings) -> HealthChecks:
    """Checks of the dependencies that ``settings`` name. Nothing is opened before the first check."""
    return HealthChecks(
        lambda: open_engine(settings), lambda name: open_queue(settings, name), lambda: open_odoo(settings)
    )


def report(snapshot: HealthSnapshot, now: datetime | None = None) -> dict[str, Any]:
    """The report of a snapshot.

    :return: JSON: ``status`` (``ok`` or ``degraded``), ``problems`` (why it is degraded) and ``notices`` (what the
        operator should know) in words, ``dependencies``, ``bridges`` (that run), ``ended_bridges``, ``paths``,
        ``manychat`` (what goes back there), ``dead_letters``, ``refusals`` (of Odoo's webhooks in the last 24 hours),
        ``standby_refusals`` (of the standby's, by day, key, path and code). A value that could not be found out is
        ``None``.
    """
    now = now or datetime.now(timezone.utc)
    paths = [_path(snapshot, queue, now) for queue in PATHS]
    dependencies = {"queue": _worst(list(snapshot.queues.values())), "sql": snapshot.sql}
    if snapshot.odoo:
        dependencies["odoo"] = snapshot.odoo
    store = snapshot.sql.value.store if snapshot.sql.value else None
    odoo = snapshot.odoo.value if snapshot.odoo else None
    bridges, ended = (odoo.bridges, odoo.ended) if odoo else (None, None)
    problems = [*_outages(dependencies), *_bridge_problems(bridges, ended or []), *_queue_problems(paths)]
    letters = snapshot.queues[DEAD_LETTER_QUEUE].value
    return {
        "status": "degraded" if problems else "ok",
        "version": __version__,
        "checked_at": format_datetime(now),
        "problems": problems,
        "notices": [*([*notices(store), *_write_back_waits(store, now)] if store else []), *_refusals(odoo)],
        "dependencies": {name: _dependency(result) for name, result in dependencies.items()},
        "bridges": bridges,
        "ended_bridges": ended,
        "refusals": odoo.refusals if odoo else None,
        "standby_refusals": _standby_refusals(store) if store else None,
        "paths": paths,
        "manychat": _manychat(store, now) if store else None,
        "dead_letters": {
            "open": sum(store.letters.values()) if store else None,
            "by_reason": dict(sorted(store.letters.items())) if store else None,
            "notices_on_queue": letters.depth if letters else None,
        },
    }


def _manychat(store: StoreSnapshot, now: datetime) -> dict[str, Any]:
    """What goes back to ManyChat."""
    found, stop = store.write_back, store.manychat_stopped
    return {
        "enabled": found.enabled,
        "waiting": found.waiting,
        "waiting_seconds": round(age(found.waits_since, now), 1),
        "refused": found.refused,
        "stopped_until": format_datetime(stop.until) if stop else None,
        "paused_since": format_datetime(paused) if (paused := store.paused.get(OUTBOUND_QUEUE)) else None,
    }


def _write_back_waits(store: StoreSnapshot, now: datetime) -> list[str]:
    # A notice: no event waits for ManyChat, and no operator need get up at night.
    waits = age(store.write_back.waits_since, now)
    # During a stop or a pause it is known why.
    if store.manychat_stopped or OUTBOUND_QUEUE in store.paused or waits < STUCK_AFTER.total_seconds():
        return []
    token = variable("manychat_api_token")
    return [f"What users decided has waited for ManyChat for {words(waits)}. Has a bridge {token}? See `check`."]


def _path(snapshot: HealthSnapshot, queue: str, now: datetime) -> dict[str, Any]:
    messages = snapshot.queues[queue].value
    store = snapshot.sql.value.store if snapshot.sql.value else None
    path = store.paths.get(queue, QueueSnapshot()) if store else None
    lag = snapshot.lag(queue, now)
    paused = store.paused.get(queue) if store else None
    return {
        "queue": queue,
        "depth": messages.depth if messages else None,
        "invisible": messages.invisible if messages else None,
        "undeliverable_seconds": _undeliverable(snapshot, queue, now),
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


def _undeliverable(snapshot: HealthSnapshot, queue: str, now: datetime) -> float | None:
    """For how long the queue has held a message that it cannot deliver; ``None`` if all can be delivered."""
    messages = snapshot.queues[queue].value
    store = snapshot.sql.value.store if snapshot.sql.value else None
    if store and queue in store.undeliverable:
        return round(age(store.undeliverable[queue], now), 1)
    # No bridge has met it yet.
    return 0.0 if messages and messages.unreadable else None


def _quantile(ascending: Sequence[float], share: float) -> float | None:
    """The nearest value; ``None`` without events."""
    return round(ascending[min(int(len(ascending) * share), len(ascending) - 1)], 3) if ascending else None


def _worst(results: Sequence[CheckResult[Any]]) -> CheckResult[Any]:
    """One result for all queues, since they are one service: the worst, or the slowest of the worst."""
    return max(results, key=lambda result: (result.status == NOT_CONFIGURED, not result.ok, result.seconds))


def _dependency(result: CheckResult[Any]) -> dict[str, Any]:
    reported: dict[str, Any] = {"status": result.status, "ms": round(result.seconds * 1000, 1)}
    if not result.ok:
        return {**reported, "reason": result.reason, "advice": result.advice}
    for name in ("dialect", "revision", "version"):
        if hasattr(result.value, name):
            reported[name] = getattr(result.value, name)
    return reported


_NAMES = {"queue": "The queue", "sql": "SQL", "odoo": "Odoo"}


def _outages(dependencies: dict[str, CheckResult[Any]]) -> Iterator[str]:
    for name, result in dependencies.items():
        if result.status == UNAVAILABLE:
            yield f"{_NAMES[name]} is unavailable: {result.reason}. {result.advice}".strip()
        elif result.status == NOT_CONFIGURED:
            yield f"{_NAMES[name]} is not set up. {result.advice}".strip()


def _bridge_problems(bridges: Sequence[dict[str, Any]] | None, ended: Sequence[dict[str, Any]]) -> Iterator[str]:
    stuck = [bridge for bridge in bridges or () if bridge.get("stuck")]
    for bridge in stuck[:SHOWN]:
        yield f"Bridge {bridge['name']} stands still at {', '.join(bridge['stuck'])}. Restart it."
    if len(stuck) > SHOWN:
        yield f"{len(stuck) - SHOWN} more bridges stand still. Restart them."
    if bridges is not None and not bridges:
        silent = f"Odoo has had no heartbeat for {SILENT_AFTER.total_seconds() / 60:g} minutes"
        if ended and ended[0]["stopped"]:
            silent = f"the last one, {ended[0]['name']}, was stopped {words(ended[0]['seconds'])} ago"
        yield f"No bridge is alive: {silent}. Start one: python -m bridge run"


def words(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``3 min``, ``5 h`` or ``4 d``: six characters at most, below ten thousand days."""
    if seconds < 9.95:
        return f"{seconds:.1f} s" if seconds >= 0.05 else f"{seconds * 1000:.0f} ms"
    for limit, divisor, unit in ((120, 1, "s"), (5970, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def _queue_problems(paths: Sequence[dict[str, Any]]) -> Iterator[str]:
    for path in paths:
        if path["undeliverable_seconds"] is not None:
            hidden = "Some" if path["invisible"] is None else path["invisible"]
            minutes = int(path["undeliverable_seconds"] // 60)
            since = f", for {minutes} minutes now" if minutes else ""
            yield (
                f"{path['queue']}: it holds a message that it cannot deliver{since}. {hidden} of its {path['depth']} "
                "messages are invisible. See `dlq list --reason undeliverable`."
            )
        if not path["paused_since"] and (path["lag_seconds"] or 0) > STUCK_AFTER.total_seconds():
            minutes = int(path["lag_seconds"] // 60)
            yield f"{path['queue']}: its oldest event has waited for {minutes} minutes."


_REFUSALS = {
    "refused": "requests that Odoo refused in the last 24 hours",
    "wrong_keys": "requests without a valid key in the last 24 hours",
    "warned": "events of the last 24 hours taken with warnings",
}


def _refusals(odoo: OdooHealth | None) -> Iterator[str]:
    """What bots lost, or nearly: for the bot builder, so no problem of the bridge."""
    counts = (odoo.refusals if odoo else None) or {}
    for name, about in _REFUSALS.items():
        if count := counts.get(name):
            yield f"{about} {count}"


def _standby_refusals(store: StoreSnapshot) -> list[dict[str, Any]]:
    return [
        {
            "key_name": row.key_name,
            "key_prefix": row.key_prefix,
            "address": row.address,
            "path": row.path,
            "code": row.code,
            "requests": row.requests,
            "first_at": format_datetime(row.first_at),
            "last_at": format_datetime(row.last_at),
        }
        for row in store.refusals[:MOST_REFUSALS]
    ]


def _standby_notices(store: StoreSnapshot) -> Iterator[str]:
    """What bots lost at the standby: who sent it, and the answers."""
    for without_key, about in (
        (False, "requests that the standby refused in the last 24 hours"),
        (True, "requests without a valid key at the standby in the last 24 hours"),
    ):
        counts: dict[str, int] = {}
        for row in store.refusals:
            if (row.code in WITHOUT_KEY) is without_key:
                bot = row.key_name or (f"{row.key_prefix}…" if row.key_prefix else row.address or "other addresses")
                name = f"{bot}: {row.code}"
                counts[name] = counts.get(name, 0) + row.requests
        if counts:
            by_count = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
            named = [f"{name} {count}" for name, count in by_count[:SHOWN]]
            more = [f"{len(by_count) - SHOWN} more"] if len(by_count) > SHOWN else []
            yield f"{about} {sum(counts.values())} ({', '.join([*named, *more])})"


def meanings(by_reason: dict[str, int]) -> list[tuple[str, int, str]]:
    """Reason, number and what to do; the most frequent reason first."""
    by_count = sorted(by_reason.items(), key=lambda item: -item[1])
    return [(reason, count, description(reason)) for reason, count in by_count]


def notices(store: StoreSnapshot) -> list[str]:
    """What the operator should know, in words."""
    found = [f"PAUSED {name} since {since:%Y-%m-%d %H:%M} UTC" for name, since in sorted(store.paused.items())]
    if stop := store.manychat_stopped:
        waiting = f"; {store.write_back.waiting} people's decisions wait" if store.write_back.waiting else ""
        found.append(f"ManyChat takes no calls until {stop.until:%Y-%m-%d %H:%M} UTC ({stop.reason}){waiting}")
    if refused := store.write_back.refused:
        found.append(f"people whose decisions ManyChat refused {refused} (in Odoo: the filter “Refused by ManyChat”)")
    if letters := sum(store.letters.values()):
        found.append(f"open dead letters {letters}")
    if store.wrong_clocks:
        found.append(f"events of the last 24 hours from a bot whose clock is wrong {store.wrong_clocks}")
    return [*found, *_standby_notices(store)]

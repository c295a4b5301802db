"""Bridges that empty a queue, and what they took for it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path

import sqlalchemy as sa

from bridge.contract.event import Event
from bridge.store import schema
from deploy.local.supervision import own_environment

from .events import stage_of
from .measure import Sample, WrongAnswer
from .system import BenchStack

#: Seconds in which a run must end.
PATIENCE = 180
#: Seconds that a bridge that begins on an empty queue is given to come to rest.
SETTLE = 0.5


def wait_until(look: Callable[[], object], what: str, every: float = 0.02) -> None:
    deadline = time.monotonic() + PATIENCE
    while not look():
        if time.monotonic() > deadline:
            raise WrongAnswer(f"Not within {PATIENCE} s: {what}")
        time.sleep(every)


class Bridges:
    """Some bridges on one queue."""

    def __init__(self, stack: BenchStack, processes: Sequence[subprocess.Popen[bytes]]) -> None:
        self._stack = stack
        self.processes = processes

    def freeze(self) -> None:
        """Stop them where they are: then the queue is filled, and all of them begin at the same moment."""
        for process in self.processes:
            os.kill(process.pid, signal.SIGSTOP)

    def are_alive(self) -> bool:
        """
        :raises WrongAnswer: one has ended, which none of them may
        """
        for process in self.processes:
            if process.poll() is not None:
                raise WrongAnswer(f"a bridge has ended with exit code {process.returncode}")
        return True

    def thaw(self) -> None:
        for process in self.processes:
            os.kill(process.pid, signal.SIGCONT)


@contextlib.contextmanager
def bridges(stack: BenchStack, count: int = 1, only: str | None = "opportunity", **settings: str) -> Iterator[Bridges]:
    """Run so many; stop them in order at the end.

    :param only: the one type whose queue they consume; ``None``: all
    """
    environment = {**own_environment(), **stack.bridge_environment(), "BRIDGE_LOG_FORMAT": "json", **settings}
    command = [sys.executable, "-m", "bridge", "run", *(["--queue", only] if only else [])]
    logs = [stack.folder / "log" / f"bench-bridge-{number}.log" for number in range(count)]
    processes = []
    try:
        for log in logs:
            with log.open("w") as output:
                processes.append(subprocess.Popen(command, cwd=stack.folder, env=environment, stderr=output))
        stack.bridges = [process.pid for process in processes]
        wait_until(lambda: all(_has_begun(log) for log in logs), "the bridges begin")
        time.sleep(SETTLE)
        yield Bridges(stack, processes)
    finally:
        stack.bridges = []
        for process in processes:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in processes:
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _has_begun(log: Path) -> bool:
    return '"starting"' in log.read_text()


def drain(
    stack: BenchStack, events: Sequence[Event], warm_up: Sequence[Event], count: int = 1, **settings: str
) -> Sample:
    """Put ``events`` on their queue and have bridges apply them.

    The bridges have begun, and applied ``warm_up``, before the first of the events is there.

    :param events: all of one type; fewer than 1,000, since Azurite becomes slow above that
    :param count: of bridges
    """
    queue_name, kind = events[0].type.queue, events[0].type.value
    stack.empty_queues()
    queue = stack.queue(queue_name)
    with bridges(stack, count, kind, **settings) as running:
        queue.put_all([event.encode() for event in warm_up])
        wait_until(lambda: running.are_alive() and finished(stack, warm_up) == len(warm_up), "the first events end")
        wait_until(lambda: queue.length() == 0, "the first events leave the queue")
        running.freeze()
        queue.put_all([event.encode() for event in events])
        last = last_audit(stack)
        meter = stack.meter()
        began = time.perf_counter()
        running.thaw()
        wait_until(
            lambda: running.are_alive() and ended_since(stack, last) >= len(events), f"{len(events)} events end", 0.05
        )
        wait_until(lambda: queue.length() == 0, "the queue is empty")
        seconds = time.perf_counter() - began
        cpu = meter.seconds()
    return Sample(len(events), seconds, cpu)


def last_audit(stack: BenchStack) -> int:
    with stack.store.connect() as connection:
        return connection.execute(sa.select(sa.func.coalesce(sa.func.max(schema.audit.c.id), 0))).scalar_one()


def ended_since(stack: BenchStack, last: int) -> int:
    """How many events that came after that row of the audit have ended."""
    audit = schema.audit.c
    with stack.store.connect() as connection:
        count = sa.select(sa.func.count()).where(audit.id > last, audit.outcome.is_not(None))
        return connection.execute(count).scalar_one()


def finished(stack: BenchStack, events: Collection[Event]) -> int:
    return len(outcomes(stack, [event.id for event in events]))


def outcomes(stack: BenchStack, event_ids: Collection[str]) -> dict[str, str]:
    """The outcome of each of these events that has one."""
    audit = schema.audit.c
    with stack.store.connect() as connection:
        rows = connection.execute(
            sa.select(audit.event_id, audit.outcome).where(audit.event_id.in_(event_ids), audit.outcome.is_not(None))
        )
        return {row.event_id: row.outcome for row in rows}


def require_applied(stack: BenchStack, events: Sequence[Event], outcome: str) -> None:
    """Ensure that SQL has each of these events once, with that outcome.

    :raises WrongAnswer:
    """
    found = outcomes(stack, [event.id for event in events])
    wrong = {event.id: found.get(event.id) for event in events if found.get(event.id) != outcome}
    if wrong:
        raise WrongAnswer(f"{len(wrong)} of {len(events)} events are not {outcome}: {list(wrong.values())[:5]}")


def require_stages(stack: BenchStack, events: Sequence[Event], since: datetime, moved: bool = True) -> None:
    """Ensure that each person's one opportunity is in the stage of their event, and that its history tells so once.

    :param since: when the run began; what the chatter told before does not count
    :param moved: whether the opportunities were in another stage before, so that each has a tracked change
    :raises WrongAnswer:
    """
    wanted = {event.manychat_id: stack.stages[stage_of(event)][0] for event in events}
    rows = stack.query(
        """
        SELECT lead.x_manychat_id, lead.stage_id,
               (SELECT count(*) FROM mail_message AS message JOIN mail_tracking_value AS value
                    ON value.mail_message_id = message.id
                  JOIN ir_model_fields AS field ON field.id = value.field_id AND field.name = 'stage_id'
                 WHERE message.model = 'crm.lead' AND message.res_id = lead.id AND message.date >= %s)
          FROM crm_lead AS lead WHERE lead.x_manychat_id = ANY(%s)
        """,
        since.astimezone(timezone.utc).replace(tzinfo=None, microsecond=0),
        list(wanted),
    )
    if len(rows) != len(wanted):
        raise WrongAnswer(f"{len(rows)} opportunities of {len(wanted)} people")
    wrong = [manychat_id for manychat_id, stage, told in rows if stage != wanted[manychat_id] or told != int(moved)]
    if wrong:
        raise WrongAnswer(f"{len(wrong)} of {len(wanted)} opportunities are in a wrong stage, or tell it not once")


def require_contacts(stack: BenchStack, events: Sequence[Event]) -> None:
    """Ensure that each person's one contact has the state of their newest event.

    :raises WrongAnswer:
    """
    wanted = {event.manychat_id: event.payload.ultimo_estado for event in sorted(events, key=lambda e: e.order)}  # type: ignore[attr-defined]
    contacts = schema.contacts.c
    with stack.store.connect() as connection:
        found = connection.execute(
            sa.select(contacts.manychat_id, contacts.last_state).where(contacts.manychat_id.in_(wanted))
        )
        stored = {row.manychat_id: row.last_state for row in found}
    wrong = [manychat_id for manychat_id, state in wanted.items() if stored.get(manychat_id) != state]
    if wrong:
        raise WrongAnswer(f"{len(wrong)} of {len(wanted)} contacts have another state than that of their newest event")

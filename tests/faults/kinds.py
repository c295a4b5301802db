"""The faults, each a function that injects one, holds it for a while, and takes it away again.

How the four steps of an event's way through a bridge are hit without any code for it in the product:

* *after receive*: we hold SQLite's write lock, let the queue's answer through, and kill the bridge that waits for SQL;
* *after the SQL commit*: the bridge has counted the attempt and calls Odoo; the proxy holds the request, which Odoo
  never sees, and the bridge that made it is killed;
* *after the RPC*: Odoo's answer begins, so its transaction is committed; the proxy holds the answer, and the bridge is
  killed;
* *before delete*: SQL has the outcome and the bridge asks the queue to delete the message; the proxy holds the request,
  which the queue never sees, and the bridge is killed.
"""

import contextlib
import os
import random
import resource
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator

from bridge.contract.payloads import OPPORTUNITY_QUEUE

from .manychat_kinds import MANYCHAT_KINDS
from .moments import PATIENCE, DidNotHappen
from .proxy import CUT, PASS, Passing, Proxy, Trap
from .system import BUSY_SECONDS, VISIBILITY_TIMEOUT, System
from .traffic import Traffic

#: Seconds between two times that Azurite writes what it holds.
AZURITE_SAVES = 5


@contextlib.contextmanager
def _trapped(proxy: Proxy, matches: Callable[[Passing], bool]) -> Iterator[Trap]:
    trap = Trap(matches)
    with proxy.under(trap):
        if not trap.caught.wait(PATIENCE):
            raise DidNotHappen
        yield trap


def _kill_owner(system: System, trap: Trap) -> None:
    assert trap.prey
    pid = system.bridge_at(trap.prey.port)
    if pid is None:
        raise DidNotHappen
    system.kill(pid)


def _applies_events(passing: Passing) -> bool:
    return b"manychat_apply" in passing.request and b'"events": [{' in passing.request


def _asks_odoo(passing: Passing) -> bool:
    return passing.answer is None and _applies_events(passing)


def _odoo_answers(passing: Passing) -> bool:
    return passing.answer is not None and _applies_events(passing)


def _deletes(passing: Passing) -> bool:
    return passing.answer is None and passing.request.startswith(b"DELETE") and _queue_in(passing)


def _delivers(passing: Passing) -> bool:
    return b"<MessageId>" in (passing.answer or b"") and passing.request.startswith(b"GET") and _queue_in(passing)


def _queue_in(passing: Passing) -> bool:
    return OPPORTUNITY_QUEUE.encode() in passing.request.split(b"\r\n", 1)[0]


# --- Bridges


def bridge_killed(system: System, _traffic: Traffic, chooser: random.Random) -> None:
    pids = system.bridge_pids()
    if not pids:
        raise DidNotHappen
    system.kill(chooser.choice(pids))


def bridge_killed_after_receive(system: System, _traffic: Traffic, _chooser: random.Random) -> None:
    with _trapped(system.queue_proxy, _delivers) as trap, _write_lock(system):
        trap.release(PASS)
        time.sleep(0.3)  # for the answer to arrive; there is no way to see that from outside
        _kill_owner(system, trap)


def bridge_killed_after_sql_commit(system: System, _traffic: Traffic, _chooser: random.Random) -> None:
    with _trapped(system.odoo_proxy, _asks_odoo) as trap:
        _kill_owner(system, trap)


def bridge_killed_after_rpc(system: System, _traffic: Traffic, _chooser: random.Random) -> None:
    with _trapped(system.odoo_proxy, _odoo_answers) as trap:
        _kill_owner(system, trap)


def bridge_killed_before_delete(system: System, _traffic: Traffic, _chooser: random.Random) -> None:
    with _trapped(system.queue_proxy, _deletes) as trap:
        _kill_owner(system, trap)


def bridge_stopped(system: System, _traffic: Traffic, chooser: random.Random) -> None:
    """SIGTERM to one; supervisor starts it again."""
    pids = system.bridge_pids()
    if not pids:
        raise DidNotHappen
    with contextlib.suppress(ProcessLookupError):
        os.kill(chooser.choice(pids), signal.SIGTERM)


def bridge_frozen(system: System, _traffic: Traffic, _chooser: random.Random) -> None:
    """It stands still with events in hand until its leases are over, and then goes on as if nothing had happened."""
    with _trapped(system.odoo_proxy, _asks_odoo) as trap:
        assert trap.prey
        pid = system.bridge_at(trap.prey.port)
        if pid is None:
            raise DidNotHappen
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            trap.release(PASS)
            time.sleep(VISIBILITY_TIMEOUT + 1)
            os.kill(pid, signal.SIGCONT)


# --- Odoo and its database


def odoo_stopped(system: System, _traffic: Traffic, chooser: random.Random) -> None:
    system.programs.stop_program("odoo")
    time.sleep(chooser.uniform(0, 3))
    system.programs.start_program("odoo")
    system.wait_for_odoo()


def odoo_killed(system: System, _traffic: Traffic, _chooser: random.Random) -> None:
    system.programs.signal_program("odoo", signal.SIGKILL)
    time.sleep(1)
    system.wait_for_odoo()


def postgresql_restarted_fast(system: System, _traffic: Traffic, _chooser: random.Random) -> None:
    system.odoo.cluster.restart("fast")


def postgresql_restarted_immediately(system: System, _traffic: Traffic, _chooser: random.Random) -> None:
    """As after a power cut: it has to recover from its log."""
    system.odoo.cluster.restart("immediate")


def odoo_unreachable(system: System, _traffic: Traffic, chooser: random.Random) -> None:
    """For the bridges only: the network between them and Odoo."""
    with system.odoo_proxy.under(lambda _passing: CUT):
        time.sleep(chooser.uniform(1, 4))


def rpc_answers_cut(system: System, _traffic: Traffic, chooser: random.Random) -> None:
    """Odoo has committed, and its answer does not arrive."""
    seen = []

    def cut(passing: Passing) -> str:
        if not _odoo_answers(passing):
            return PASS
        seen.append(passing)
        return CUT

    with system.odoo_proxy.under(cut):
        time.sleep(chooser.uniform(1, 3))
    if not seen:
        raise DidNotHappen


def rpc_answers_late(system: System, _traffic: Traffic, chooser: random.Random) -> None:
    """Later than the lease lasts, which therefore has to be kept."""
    with _trapped(system.odoo_proxy, _odoo_answers) as trap:
        time.sleep(chooser.uniform(1, VISIBILITY_TIMEOUT + 2))
        trap.release(PASS)


# --- SQL


@contextlib.contextmanager
def _write_lock(system: System) -> Iterator[None]:
    with contextlib.closing(sqlite3.connect(system.folder / "miasalud.db", timeout=30, isolation_level=None)) as store:
        store.execute("BEGIN EXCLUSIVE")
        yield
        store.execute("ROLLBACK")


def sql_locked(system: System, _traffic: Traffic, chooser: random.Random) -> None:
    """For longer than the bridges wait for a lock."""
    with _write_lock(system):
        time.sleep(BUSY_SECONDS + chooser.uniform(0.5, 3))


def sql_full(system: System, _traffic: Traffic, chooser: random.Random) -> None:
    """The disk takes no more from the bridges: the system's limit on the size of files, which needs no disk of ours."""
    before = {}
    for pid in system.bridge_pids():
        with contextlib.suppress(ProcessLookupError):
            before[pid] = _soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, hard))
    time.sleep(chooser.uniform(1.5, 4))
    for pid, limits in before.items():
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
    if not before:
        raise DidNotHappen


# --- Queues and bots


def queue_stopped(system: System, _traffic: Traffic, chooser: random.Random) -> None:
    """Azurite, by SIGTERM: it forgets nothing."""
    system.programs.stop_program("azurite")
    time.sleep(chooser.uniform(0.5, 4))
    system.programs.start_program("azurite")


def queue_killed(system: System, traffic: Traffic, _chooser: random.Random) -> None:
    """Azurite, by SIGKILL: it forgets what it promised in its last five seconds, as a restored account forgets hours.

    Odoo keeps its events, and the standby has their rows in SQL. Who puts messages straight on a queue keeps nothing.
    """
    with traffic.only_webhooks():
        # SQL may have been away until now. An event whose row waits for it is on the queue and in the standby's memory.
        time.sleep(AZURITE_SAVES + 1)
        while system.standby_is_behind():
            time.sleep(0.2)
        # While bridges work, hardly a message is there to be forgotten.
        with _standing_still(system.bridge_pids()):
            time.sleep(AZURITE_SAVES - 1)
            system.programs.signal_program("azurite", signal.SIGKILL)
    traffic.ledger.queue_kills += 1


@contextlib.contextmanager
def _standing_still(pids: list[int]) -> Iterator[None]:
    def send(number: signal.Signals) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    send(signal.SIGSTOP)
    try:
        yield
    finally:
        send(signal.SIGCONT)


def standby_killed(system: System, _traffic: Traffic, _chooser: random.Random) -> None:
    system.programs.signal_program("api", signal.SIGKILL)


def odoo_frozen(system: System, _traffic: Traffic, chooser: random.Random) -> None:
    """It takes requests and does not answer, and the proxy turns to the standby. Then it does what it was asked."""
    system.programs.signal_program("odoo", signal.SIGSTOP)
    try:
        time.sleep(chooser.uniform(5, 9))
    finally:
        system.programs.signal_program("odoo", signal.SIGCONT)


def queue_answers_cut(system: System, _traffic: Traffic, chooser: random.Random) -> None:
    """What was asked of the queue is done, and nobody hears so: messages leased, deleted, put, all in vain."""
    with system.queue_proxy.under(lambda passing: CUT if passing.answer is not None else PASS):
        time.sleep(chooser.uniform(0.5, 2))


def webhook_client_cut_off(system: System, traffic: Traffic, _chooser: random.Random) -> None:
    """The bot hangs up before the answer, and sends its event again."""
    traffic.cut_off_next()
    if not system.wait_until(lambda: not traffic.is_cut_off_pending, PATIENCE):
        raise DidNotHappen


KINDS: dict[str, Callable[[System, Traffic, random.Random], None]] = {
    "bridge killed at random": bridge_killed,
    "bridge killed after receive": bridge_killed_after_receive,
    "bridge killed after the SQL commit": bridge_killed_after_sql_commit,
    "bridge killed after the RPC": bridge_killed_after_rpc,
    "bridge killed before delete": bridge_killed_before_delete,
    "bridge stopped (SIGTERM)": bridge_stopped,
    "bridge frozen until its leases end": bridge_frozen,
    "Odoo stopped (SIGTERM) and started": odoo_stopped,
    "Odoo killed (SIGKILL)": odoo_killed,
    "Odoo frozen": odoo_frozen,
    "Odoo unreachable": odoo_unreachable,
    "PostgreSQL restarted (fast)": postgresql_restarted_fast,
    "PostgreSQL restarted (immediate)": postgresql_restarted_immediately,
    "RPC answer cut after the commit": rpc_answers_cut,
    "RPC answer late": rpc_answers_late,
    "SQL locked": sql_locked,
    "SQL full": sql_full,
    "queue stopped and started": queue_stopped,
    "queue killed (SIGKILL)": queue_killed,
    "queue answers cut": queue_answers_cut,
    "standby killed (SIGKILL)": standby_killed,
    "webhook client cut off": webhook_client_cut_off,
    **MANYCHAT_KINDS,
}
#: Odoo takes its time to start, and to find its database again.
SLOW = {
    name
    for name in KINDS
    if name.startswith(("PostgreSQL", "Odoo stopped", "Odoo killed", "Odoo frozen", "queue killed", "ManyChat silent"))
}
#: What the queue has lost is missed minutes later: more than the short run waits.
LATE = {"queue killed (SIGKILL)"}

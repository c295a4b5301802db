"""Many bots and four bridges on the same few people, all at once, with nothing broken.

FAULT_EVENTS=2000 is the full size.
"""

import os
import random
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import requests

from .soak import SETTLING
from .system import System
from .traffic import STAGES, WEBHOOK, Ledger
from .truth import Truth

EVENTS = int(os.environ.get("FAULT_EVENTS") or 400)
BOTS, PEOPLE = 8, 50
#: How a log says that something went wrong: Odoo's level, our refusal of an event, a bridge's level.
_TROUBLE = re.compile(r" (ERROR|CRITICAL) |ManyChat event .* was refused|\"level\": ?\"(error|critical)\"")
#: Not that: Odoo's own job that enriches new leads fails whenever it meets one that is being worked on; and on a busy
#: machine the queue's emulator may not answer in time, after which the bridge asks again.
_HARMLESS = re.compile(r"crm_iap_enrich|enrich leads|\"dependency\": ?\"queue\", ?\"reason\": ?\"no answer\"")


@pytest.mark.timeout(900)
def test_many_bots_and_four_bridges_on_the_same_people(system: System) -> None:
    truth, ledger = Truth(system), Ledger()
    # The bridges come up while Odoo is still starting, and say so; what they say from here on counts.
    assert system.wait_until(
        lambda: len(system.bridge_pids()) == system.bridges and system.bridges_are_at_work(), SETTLING
    )
    logs = {path: path.stat().st_size for path in _logs(system)}
    chooser = random.Random(18)
    events = [_event(number, chooser) for number in range(EVENTS)]
    chooser.shuffle(events)
    with ThreadPoolExecutor(BOTS) as bots:
        answers = list(bots.map(lambda event: _send(system, event), events))
    assert Counter(answer.status_code for answer in answers) == {200: EVENTS}
    ledger.accepted.update(answer.json()["event_id"] for answer in answers)
    assert len(ledger.accepted) == EVENTS
    assert system.wait_until(lambda: truth.backlog_of(ledger) == 0 and truth.has_settled(), SETTLING)

    verdict = truth.examine(ledger)
    truth.close()
    assert verdict.problems == []
    mine = [row for row in system.database_rows("SELECT * FROM manychat_identity") if "-CONC-" in row.manychat_id]
    assert len(mine) == len({row.lead_id for row in mine}) == PEOPLE
    outcomes = dict(Counter(str(row.outcome) for row in _applied(system, ledger)))
    print(f"{EVENTS} events of {PEOPLE} people, {BOTS} bots, {system.bridges} bridges: {outcomes}")
    assert [line for path, start in logs.items() for line in _trouble(path, start)] == []


def _event(number: int, chooser: random.Random) -> dict[str, Any]:
    # Seconds apart, so that every event is one of its own and some of a person have the same date.
    date = datetime(2026, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=number // (2 * PEOPLE))
    state = {"stage_id": chooser.choice(STAGES), "date": date.isoformat(), "summary": f"Mensaje {number}"}
    return {"manychat_id": f"MC-CONC-{number % PEOPLE}", "first_name": "Prueba", "state": state}


def _send(system: System, event: dict[str, Any]) -> requests.Response:
    headers = {"X-API-KEY": system.webhook_key}
    return requests.post(f"{system.odoo_url}{WEBHOOK}crm-opportunity", json=event, headers=headers, timeout=60)


def _applied(system: System, ledger: Ledger) -> list[Any]:
    return system.database_rows("SELECT outcome FROM manychat_event WHERE event_id = ANY(%s)", list(ledger.accepted))


def _logs(system: System) -> list[Path]:
    return [path for path in (system.folder / "log").glob("*.log") if path.name.startswith(("odoo", "bridge"))]


def _trouble(path: Path, start: int) -> list[str]:
    lines = _text(path, start).splitlines()
    return [f"{path.name}: {line}" for line in lines if _TROUBLE.search(line) and not _HARMLESS.search(line)]


def _text(path: Path, start: int) -> str:
    with open(path, "rb") as log:
        log.seek(start)
        return log.read().decode(errors="replace")

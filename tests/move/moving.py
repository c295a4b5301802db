"""One move from beginning to end, step by step: what the suite tests on a few people, and `make move` on many."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import requests
import sqlalchemy as sa

from deploy.local import odoo
from deploy.local.stack import PYTHON, Stack
from deploy.local.supervision import own_environment

from . import old_system
from .odoo_side import OdooSide
from .old_system import Person

WEBHOOK = "/api/v1/manychat/webhook/crm-opportunity"
OPPORTUNITY_TABLES = ("opportunities", "opportunity_stages", "audit")
ACCEPTED = ("labels", "several", "advisers-commercial", "sync-status")
PATIENCE = 120


class Move:
    """A running system with an old one beside it."""

    def __init__(self, contacts: int) -> None:
        self.stack = Stack("move", odoo.chosen(), bridges=2, durable=False)
        self.people = old_system.people(contacts)
        self.side = OdooSide(self.stack)
        self.live: dict[str, tuple[datetime, int]] = {}

    def start(self) -> None:
        self.stack.odoo.cluster.start()
        self.stack.remove()
        self.stack.start()
        self.old = self.stack.folder / "old.db"
        self.mapping = self.stack.folder / "mapping.toml"
        self.mapping.write_text(old_system.MAPPING)
        old_system.fill(self.old, self.people)
        self.side.fill(self.people)
        self.stack.programs.stop_program("odoo")  # it has not seen the new field of contacts
        self.stack.programs.start_program("odoo")
        self.stack.wait_for_odoo()
        self.store = sa.create_engine(self.stack.database_url)

    def stop(self) -> None:
        self.store.dispose()
        self.stack.stop()

    # --- The command

    def command(self, *arguments: str | Path) -> list[str]:
        words = [str(PYTHON), "-m", "bridge", "migrate", *map(str, arguments)]
        if arguments[0] != "rollback":
            words += ["--mapping", str(self.mapping), "--undated", old_system.UNDATED.isoformat()]
        return words

    def environment(self) -> dict[str, str]:
        return own_environment() | self.stack.bridge_environment() | {"BRIDGE_ADOPT_URL": f"sqlite:///{self.old}"}

    def migrate(self, *arguments: str | Path, code: int = 0) -> str:
        """Run a step to its end, and return what it printed."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.stack.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def json(self, *arguments: str | Path, code: int = 0) -> dict[str, Any]:
        printed: dict[str, Any] = json.loads(self.migrate(*arguments, "--json", code=code))
        return printed

    def killed(self, arguments: Sequence[str], done_before: int) -> int:
        """Run a step, and kill it when Odoo has done more than so much of it; how much Odoo has done then."""
        process = subprocess.Popen(
            self.command(*arguments),
            cwd=self.stack.folder,
            env=self.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
        )
        deadline = time.monotonic() + PATIENCE + len(self.people)
        while (done := self.lines()) <= done_before:
            assert process.poll() is None, f"it ended by itself, with {process.returncode}, before it was killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        return done

    def lines(self) -> int:
        [row] = self.side.rows("SELECT count(*) AS number FROM manychat_migration_line WHERE is_undone IS NOT TRUE")
        return int(row["number"])

    @staticmethod
    def accepting(*more: str) -> list[str]:
        return [word for name in (*ACCEPTED, *more) for word in ("--accept", name)]

    # --- People

    def open(self) -> None:
        """A sales manager opens a migration, and gives the misspelt label its stage."""
        self.stack.rpc("manychat.migration", "create", {"name": "Mudanza"})
        [row] = self.stack.rpc("manychat.stage.map", "search", [["manychat_stage_id", "=", old_system.MEANT]])
        self.stack.rpc("manychat.stage.alias", "create", {"name": old_system.MISSPELT, "map_id": row})

    def chat(self, manychat_id: str, stage: int, at: datetime) -> None:
        """A bot sends an event while the migration runs."""
        state = {"stage_id": stage, "date": at.isoformat()}
        body = {"manychat_id": manychat_id, "first_name": "Viva", "state": state}
        answer = requests.post(
            self.stack.odoo_url + WEBHOOK, json=body, headers={"X-API-KEY": self.stack.webhook_key}, timeout=60
        )
        assert answer.status_code == 200, answer.text
        self.live[answer.json()["event_id"]] = (at, stage)

    def chat_a_little(self) -> list[Person]:
        """People who chat meanwhile: each third with an event older than their old state."""
        chosen = [person for person in self.people if person.fate != "none" and not person.is_decided][::11][:60]
        for place, person in enumerate(chosen):
            assert person.at is not None
            if place % 3:
                at, stage = datetime.now(timezone.utc) - timedelta(minutes=5), 16 + place % 11
                person.at, person.stage = at, stage
                # Perhaps both at once: the first that two bridges hear of a person whom Odoo knows.
                self.chat(person.manychat_id, 16, at - timedelta(minutes=1))
            else:
                at, stage = person.at - timedelta(days=1), 16
            self.chat(person.manychat_id, stage, at)
        return chosen

    def settle(self) -> None:
        """Wait until all live events are applied."""
        deadline = time.monotonic() + PATIENCE
        while self.live:
            [row] = self.side.rows(
                "SELECT count(*) AS number FROM manychat_event WHERE event_id = ANY(%s) AND state = 'done'",
                list(self.live),
            )
            if row["number"] == len(self.live):
                return
            assert time.monotonic() < deadline, self.stack.programs.log_tail("bridge")
            time.sleep(0.1)

    # --- What must be so

    def assert_moved(self) -> None:
        """Every person has exactly the opportunity that they must have, in the stage where it must be."""
        stages, found = self.side.stages(), self.side.by_person()
        numbers = {stage: number for number, stage in stages.items()}
        wrong = []
        for person in self.people:
            leads = found.get(person.manychat_id, [])
            if person.fate == "none":
                wrong += [(person, leads)] if leads else []
                continue
            place = re.search(r"(MC\d+)/", leads[0]["description"] or "") if len(leads) == 1 else None
            is_taken = place is not None and place.group(1) == person.manychat_id
            right = len(leads) == 1 and is_taken == (person.fate == "taken") and leads[0]["type"] == "opportunity"
            if right and not person.is_decided:
                right = numbers.get(leads[0]["stage_id"]) == person.stage and leads[0]["active"]
            if right and person.is_decided:
                assert person.deal is not None
                deal = person.deals[person.deal]
                right = leads[0]["active"] == (deal.closed != "lost")
                right &= deal.stage is None or numbers.get(leads[0]["stage_id"]) == deal.stage
            if not right:
                wrong.append((person, leads))
        assert not wrong, f"{len(wrong)} people are wrong, the first: {wrong[0]}"

    def sql(self) -> dict[str, list[dict[str, Any]]]:
        """All rows of the bridge's tables that a migration writes."""
        tables = (*old_system.TABLES, *OPPORTUNITY_TABLES)
        with self.store.connect() as connection:
            return {
                name: [dict(row) for row in connection.execute(sa.text(f"SELECT * FROM {name}")).mappings()]
                for name in tables
            }

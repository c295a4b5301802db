"""The restore drill: Odoo, SQL or the queue goes back to a backup, and the two others mend it.

A system of its own, because the tests of the others would lose what they are looking at.
"""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import requests
import sqlalchemy as sa

from bridge.contract.payloads import OPPORTUNITY_QUEUE
from bridge.queue import Queue
from deploy.local import odoo
from deploy.local.stack import Stack
from deploy.local.supervision import own_environment
from tests.queue_sdk import sdk
from tests.world import Chat, World

from .test_decisions import stage_id

PROGRAMS = ("bridge", "api")


class Drill(World):
    """A running system whose parts can be set back."""

    def bridge(self, *arguments: str) -> str:
        """The output of a command of the bridge."""
        command = [sys.executable, "-m", "bridge", *arguments]
        done = subprocess.run(
            command,
            cwd=self.stack.folder,
            env=own_environment() | self.stack.bridge_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def stopped(self, *names: str) -> Iterator[None]:
        for name in names:
            self.stack.programs.stop_program(name)
        try:
            yield
        finally:
            for name in reversed(names):
                self.stack.programs.start_program(name)
            self.stack.wait_for_odoo()

    @property
    def sql_file(self) -> Path:
        return Path(self.stack.folder / "miasalud.db")

    def copy_sql(self, source: Path, target: Path) -> None:
        with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
            old.backup(new)

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """What analysts read, without numbers that a database gives, and without times of the bridge's own."""
        statements = {
            "contacts": "SELECT manychat_id, first_name, last_name, phone, last_state FROM contacts",
            "states": "SELECT c.manychat_id, s.state, s.created_at FROM contact_states s JOIN contacts c "
            "ON c.id = s.contact_id",
            "assignments": "SELECT c.manychat_id, a.campaign_id, a.last_state, a.summary FROM campaign_contacts a "
            "JOIN contacts c ON c.id = a.contact_id",
            "opportunities": "SELECT manychat_id, stage, status, stage_by, lost_reason, decided_at, "
            "expected_revenue, odoo_sync_status, event_id FROM opportunities",
            "moves": "SELECT o.manychat_id, s.stage_from, s.stage_to, s.event_at, s.moved_by, s.user_id, "
            # Of the chat's moves Odoo answers with the state of today.
            "CASE s.moved_by WHEN 'chat' THEN '' ELSE s.status END AS status "
            "FROM opportunity_stages s JOIN opportunities o ON o.id = s.opportunity_id",
            "audit": "SELECT event_id, type, outcome, payload, stage_before, stage_after FROM audit",
        }
        return {
            name: sorted(self.sql(statement), key=lambda row: str(sorted(row.items(), key=str)))
            for name, statement in statements.items()
        }


@pytest.fixture(scope="module")
def drill() -> Iterator[Drill]:
    stack = Stack("drill", odoo.chosen(), bridges=1, durable=False)
    stack.odoo.cluster.start()
    stack.remove()
    stack.start()
    engine = sa.create_engine(stack.database_url, poolclass=sa.NullPool)
    yield Drill(stack, engine)
    engine.dispose()
    stack.stop()


def a_day(drill: Drill, chats: list[Chat], stage: int, minute: int) -> list[str]:
    """Events of each type; their ids, all finished."""
    events = [chat.enters(stage, minute, summary=f"Etapa {stage}") for chat in chats]
    for chat in chats:
        person = {"manychat_id": chat.manychat_id, "nombre_lead": f"Prueba {stage}", "ultimo_estado": f"E{stage}"}
        person["datetime_actual"] = chat.event(stage, minute)["state"]["date"]
        events.append(drill.send("contact", person))
        events.append(drill.send("campaign-assignment", person | {"campaign_id": stage, "tipo_asignacion": "medico"}))
    drill.settled(*events)
    return events


def reported(drill: Drill) -> bool:
    """Whether Odoo's log has the outcome of every event."""
    return not drill.odoo("manychat.event", "search_count", [["state", "not in", ["done", "failed"]]])


def test_odoo_restored_from_a_backup_gets_the_events_since(drill: Drill) -> None:
    chats = [drill.chat() for _ in range(5)]
    a_day(drill, chats[:3], 17, 1)
    drill.eventually(lambda: reported(drill))
    cluster, database = drill.stack.odoo.cluster, drill.stack.database
    with drill.stopped("odoo"):
        cluster.drop(f"{database}_backup")
        cluster.create(f"{database}_backup", database, durable=False)
    at = datetime.now(timezone.utc).isoformat()
    a_day(drill, chats, 19, 2)  # two of them are people whom the backup does not know
    a_day(drill, chats[:1], 22, 3)
    drill.eventually(lambda: reported(drill))
    with drill.stopped("bridge", "odoo"):
        cluster.drop(database)
        cluster.create(database, f"{database}_backup", durable=False)
    assert {chats[0].stage, chats[2].stage} == {"Recién Suscrito Pendiente AC"}

    printed = drill.bridge("reconcile", "--odoo-restored-to", at)
    assert "0 of them failed" in printed
    assert [chat.stage for chat in chats] == ["Comienza AE", *["Comienza AC"] * 4]
    assert len(chats[0].stage_changes) == 2
    assert all(row["odoo_sync_status"] == "success" for row in drill.tables()["opportunities"])
    # SQL names the opportunities that Odoo has now.
    known = {row["manychat_id"]: row["lead_id"] for row in drill.sql("SELECT manychat_id, lead_id FROM opportunities")}
    assert {chat.manychat_id: chat.lead["id"] for chat in chats}.items() <= known.items()
    before = [chat.lead["write_date"] for chat in chats]
    drill.bridge("reconcile", "--odoo-restored-to", at)
    assert [chat.lead["write_date"] for chat in chats] == before


def test_sql_restored_from_a_backup_gets_the_events_since(drill: Drill, tmp_path: Path) -> None:
    chats = [drill.chat() for _ in range(4)]
    a_day(drill, chats[:2], 17, 1)
    drill.copy_sql(drill.sql_file, tmp_path / "backup.db")
    at = datetime.now(timezone.utc).isoformat()
    a_day(drill, chats, 19, 2)
    # One comes through the standby. Odoo learns of it when its outcome is reported.
    standby = chats[3].event(21, 3)
    headers = {"X-API-KEY": drill.stack.webhook_key}
    answer = requests.post(
        f"{drill.stack.api_url}/api/v1/manychat/webhook/crm-opportunity", json=standby, headers=headers, timeout=30
    )
    drill.settled(answer.json()["event_id"])
    # What users decide is in the log of Odoo, too.
    moved, lost = chats[0].lead["id"], chats[1].lead["id"]
    drill.odoo("crm.lead", "write", [moved], {"stage_id": stage_id(drill, 24), "expected_revenue": 77})
    drill.odoo("crm.lead", "action_set_lost", [lost])
    drill.eventually(lambda: [row["moved_by"] for row in drill.tables()["moves"]].count("person") == 2)
    drill.eventually(lambda: reported(drill))
    before = drill.tables()
    leads = [chat.lead["write_date"] for chat in chats]
    with drill.stopped(*PROGRAMS):
        for suffix in ("", "-wal", "-shm"):
            Path(f"{drill.sql_file}{suffix}").unlink(missing_ok=True)
        shutil.copy(tmp_path / "backup.db", drill.sql_file)
    assert len(drill.tables()["audit"]) < len(before["audit"])

    printed = drill.bridge("reconcile", "--sql-restored-to", at)
    assert "0 of them failed" in printed
    assert drill.tables() == before
    assert [chat.lead["write_date"] for chat in chats] == leads
    drill.bridge("reconcile", "--sql-restored-to", at)
    assert drill.tables() == before


def test_a_queue_that_was_emptied_loses_nothing(drill: Drill) -> None:
    chats = [drill.chat() for _ in range(3)]
    # Stopped, because a pause takes a second, in which the bridge would receive them.
    with drill.stopped("bridge"):
        events = [chat.enters(17, 1) for chat in chats]
        drill.eventually(lambda: not drill.odoo("manychat.event", "search_count", [["state", "=", "pending"]]))
        sdk(Queue(drill.stack.connection_string, OPPORTUNITY_QUEUE)).clear_messages()
    drill.odoo("ir.config_parameter", "set_param", "miasalud_crm.overdue_minutes", "1")
    queued = [["event_id", "in", events]]
    ids = drill.odoo("manychat.event", "search", queued)
    with drill.stack.odoo.cluster.connect(drill.stack.database) as connection:
        connection.execute(
            "UPDATE manychat_event SET queued_at = queued_at - interval '1 hour' WHERE id = ANY(%s)", [ids]
        )
    printed = drill.bridge("reconcile", "--older-than", "1s")
    assert "3 cases, 3 repaired" in printed
    assert drill.settled(*events) == ["created"] * 3


def test_a_dry_run_after_a_restore_is_refused_with_a_sentence(drill: Drill) -> None:
    command = [sys.executable, "-m", "bridge", "reconcile", "--dry-run", "--odoo-restored-to", "2h"]
    environment = own_environment() | drill.stack.bridge_environment()
    done = subprocess.run(command, cwd=drill.stack.folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "cannot say what that changes" in done.stderr

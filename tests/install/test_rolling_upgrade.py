"""An upgrade while events arrive: every pair of old and new parts works together, in either order.

The old parts are the code of the release before, run as it was. One story in five steps; each leaves the system to the
next one. The order of docs/containers.md is among the pairs: addon, tables, bridges; the API takes events meanwhile.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bridge.store import migrate, schema
from bridge.store.engine import create_engine
from deploy.local import azurite, ports
from deploy.local.odoo import Odoo
from deploy.local.paths import ROOT
from deploy.local.ports import HOST

from .conftest import database_name
from .releases import Release, Sender, answers, freeze, stop, thaw, wait

#: The last commit of release 0.6.0. It knows nothing of what users decide.
RELEASE_BEFORE = "c7b8e04"
pytestmark = pytest.mark.timeout(1200, func_only=False)

KEYS = """
keys = env["manychat.api.key"]
print("KEYS", keys._generate("Rolling"), keys._generate_bridge_key("Rolling"))
env.cr.commit()
"""
#: Whom a user moves, and whereto.
DECIDED, DECIDED_STAGE = "MC-ROLL-1", 25
DECIDE = """
lead = env["crm.lead"].search([("x_manychat_id", "=", "{person}")])
row = env["manychat.stage.map"].search([("manychat_stage_id", "=", {stage})])
lead.with_user(env.ref("base.user_admin")).stage_id = row.stage_id
env.cr.commit()
[decision] = env["manychat.event"].search([("type", "=", "decision"), ("manychat_id", "=", "{person}")])
print("SEEN", json.dumps(decision.event_id))
"""
LOOK_AT_BRIDGE = """
rule = env.ref("miasalud_crm.manychat_event_rule_builder").domain_force
[step] = [each for each in env["manychat.setup"].checklist() if each["name"] == "bridge"]
print("SEEN " + json.dumps([step["state"], step["text"], rule]))
"""


@dataclass
class System:
    """The running parts, and what has become of the events."""

    before: Release
    now: Release
    odoo: Odoo
    database: str
    store: Any
    sender: Sender
    configurations: dict[str, Path]
    odoo_port: int
    api_port: int
    parts: dict[str, subprocess.Popen[bytes]]

    def sent_events_are_applied(self, at_least: int = 12) -> None:
        """Let that many new events come, then wait until all events so far are done in Odoo and in SQL."""
        begin = len(self.sender.accepted)
        wait(lambda: len(self.sender.accepted) >= begin + at_least, "new events")
        assert self.sender.refused == []
        wanted = set(self.sender.accepted)
        wait(lambda: wanted <= self.done_in_odoo() and wanted <= self.done_in_sql(), f"{len(wanted)} events done")

    def quiet(self) -> None:
        """Send nothing more for now, and wait until the queues are empty."""
        self.sender.pause()
        wanted = set(self.sender.accepted)
        wait(lambda: wanted <= self.done_in_odoo() and wanted <= self.done_in_sql(), "quiet")

    def done_in_odoo(self) -> set[str]:
        # Events of the standby get their row there by the first report of a bridge.
        return self._ids(self.database, "SELECT event_id FROM manychat_event WHERE state = 'done'")

    def done_in_sql(self) -> set[str]:
        return self._ids(self.store.url.database, "SELECT event_id FROM audit WHERE outcome IS NOT NULL")

    def _ids(self, database: str, query: str) -> set[str]:
        with self.odoo.cluster.connect(database) as connection:
            return {row[0] for row in connection.execute(query)}

    def ask_odoo(self, script: str) -> Any:
        """What a script prints in the shell of this release's Odoo."""
        shell = ["shell", "-c", self.configurations["now"], "-d", self.database, "--no-http", "--log-level=warn"]
        printed = self.now.run_odoo(*shell, script="import json\n" + script)
        return json.loads(next(line for line in printed.splitlines() if line.startswith("SEEN "))[5:])

    def is_on_the_queue(self, event_id: str) -> bool:
        query = f"SELECT event_id FROM manychat_event WHERE state = 'queued' AND event_id = '{event_id}'"
        return bool(self._ids(self.database, query))

    def alter_tables_as_a_later_release(self) -> None:
        """This release may add little to the tables. Here each one gets what a migration may add."""
        with psycopg.connect(self.odoo.cluster.url(self.store.url.database)) as connection:
            for table in schema.metadata.tables:
                connection.execute(f"ALTER TABLE {table} ADD COLUMN later_text TEXT")
                connection.execute(f"ALTER TABLE {table} ADD COLUMN later_number INTEGER NOT NULL DEFAULT 7")


@pytest.fixture(scope="module")
def code_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release-before")
    archive = ["git", "archive", RELEASE_BEFORE, "miasalud_crm", "bridge"]
    packed = subprocess.run(archive, cwd=ROOT, capture_output=True, check=False)
    if packed.returncode:
        pytest.skip(f"this checkout doesn't have the release before: {packed.stderr.decode()}")
    subprocess.run(["tar", "-x", "-C", folder], input=packed.stdout, check=True)
    return folder


@pytest.fixture(scope="module")
def system(odoo: Odoo, code_before: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    database, tables = database_name("rolling", odoo), database_name("rolling_store", odoo)
    odoo.create(database, durable=False)
    odoo.cluster.drop(tables)
    odoo.cluster.create(tables, durable=False)
    odoo_port, api_port, logs = ports.choose(), ports.choose(), tmp_path_factory.mktemp("logs")
    with azurite.serving() as queues:
        settings = {
            "BRIDGE_QUEUE_CONNECTION_STRING": queues,
            "BRIDGE_DATABASE_URL": odoo.cluster.sqlalchemy_url(tables),
            "BRIDGE_ODOO_URL": f"http://{HOST}:{odoo_port}",
            "BRIDGE_ODOO_DATABASE": database,
            "BRIDGE_API_PORT": str(api_port),
            "BRIDGE_API_KEYS_FILE": str(logs / "api-keys.json"),
            "BRIDGE_LOG_FORMAT": "json",
        }
        before, now = Release(code_before, logs, odoo, settings), Release(ROOT, logs, odoo, settings)
        configurations = {}
        for name, release in (("before", before), ("now", now)):
            configurations[name] = logs / f"{name}.conf"
            places = ",".join(map(str, [*odoo.source.addons, release.folder]))
            options = {"addons_path": places, "http_port": odoo_port, "max_cron_threads": 2}
            odoo.write_configuration(
                configurations[name], database, **options, **{"miasalud_crm.queue_connection_string": queues}
            )
        before.run_odoo("-c", configurations["before"], "-i", "miasalud_crm", "--stop-after-init", "--no-http")
        shell = ["shell", "-c", configurations["before"], "-d", database, "--no-http", "--log-level=warn"]
        printed = before.run_odoo(*shell, script=KEYS)
        key, settings["BRIDGE_ODOO_API_KEY"] = next(
            line for line in printed.splitlines() if line.startswith("KEYS ")
        ).split()[1:]
        done = before.bridge("db", "upgrade")
        assert done.returncode == 0, done.stderr
        store = create_engine(settings["BRIDGE_DATABASE_URL"])
        sender = Sender(settings["BRIDGE_ODOO_URL"], f"http://{HOST}:{api_port}", key)
        made = System(before, now, odoo, database, store, sender, configurations, odoo_port, api_port, {})
        try:
            yield made
        finally:
            sender.end()
            before.stop_all()
            now.stop_all()
            store.dispose()
    odoo.drop(database)
    odoo.cluster.drop(tables)


def test_the_release_before_is_in_use(system: System) -> None:
    system.parts["odoo"] = system.before.start_odoo(system.configurations["before"])
    system.parts["bridge before"] = system.before.start_bridge("run")
    system.parts["api"] = system.before.start_bridge("api")
    wait(lambda: answers(system.odoo_port, "/health"), "Odoo")
    wait(lambda: answers(system.api_port, "/health"), "the API")
    system.sender.start()
    system.sent_events_are_applied()


def test_bridge_and_api_of_the_release_before_work_on_upgraded_tables(system: System) -> None:
    done = system.now.bridge("db", "upgrade")
    assert done.returncode == 0, done.stderr
    assert migrate.current(system.store) == migrate.head()
    system.alter_tables_as_a_later_release()
    system.sent_events_are_applied()


def test_this_releases_bridge_works_with_the_addon_of_the_release_before(system: System) -> None:
    system.quiet()
    # It has nothing in hand, and takes nothing: what happens now is the other one's work.
    freeze(system.parts["bridge before"])
    bridge = system.now.start_bridge("run")
    system.sender.go_on()
    system.sent_events_are_applied()
    system.quiet()
    stop(bridge)
    assert bridge.returncode == 0
    thaw(system.parts["bridge before"])
    system.sender.go_on()
    system.sent_events_are_applied()


def test_the_bridge_of_the_release_before_works_with_this_releases_addon(system: System) -> None:
    """The API of the release before takes what bots send while the addon is upgraded."""
    stop(system.parts["odoo"])
    begin = system.sender.by_api
    configuration = system.configurations["now"]
    system.now.run_odoo("-c", configuration, "-u", "miasalud_crm", "--stop-after-init", "--no-http")
    assert system.sender.by_api > begin
    system.parts["odoo"] = system.now.start_odoo(configuration)
    wait(lambda: answers(system.odoo_port, "/health"), "Odoo")
    system.sent_events_are_applied()


@pytest.fixture(scope="module")
def decision(system: System) -> str:
    """What a user decides while only a bridge of the release before runs."""
    system.quiet()
    # To a stage that no event names. The events' own dates are earlier.
    decided = str(system.ask_odoo(DECIDE.format(person=DECIDED, stage=DECIDED_STAGE)))
    wait(lambda: system.is_on_the_queue(decided), "the decision is on its queue")
    system.sender.go_on()
    return decided


def test_a_decision_waits_for_a_bridge_that_knows_it_and_users_see_that(system: System, decision: str) -> None:
    system.sent_events_are_applied()
    # That bridge also looks for what queues have lost.
    with system.odoo.cluster.connect(system.database) as connection:
        connection.execute("UPDATE manychat_event SET queued_at = queued_at - interval '1 day' WHERE state = 'queued'")
    searched = system.before.bridge("reconcile", "--older-than", "0s")
    assert "Traceback" not in searched.stderr, searched.stderr
    assert system.is_on_the_queue(decision)
    state, text, rule = system.ask_odoo(LOOK_AT_BRIDGE)
    assert state == "warning"
    assert "(version 0.6.0)" in text
    assert "none is lost" in text
    assert "('type', '!=', 'decision')" in rule  # of bot builders


def test_this_release_takes_over_and_nothing_was_lost_doubled_or_dead_lettered(system: System, decision: str) -> None:
    system.parts["bridge"] = system.now.start_bridge("run")
    stop(system.parts["bridge before"])
    stop(system.parts["api"])
    system.parts["api"] = system.now.start_bridge("api")
    wait(lambda: answers(system.api_port, "/health"), "the API")
    system.sent_events_are_applied()
    system.quiet()
    wait(lambda: {decision} <= system.done_in_odoo() & system.done_in_sql(), "the decision")

    assert system.sender.refused == []
    with system.odoo.cluster.connect(system.store.url.database) as connection:
        assert connection.execute("SELECT * FROM dead_letters").fetchall() == []
        outcomes = dict(connection.execute("SELECT outcome, count(*) FROM audit GROUP BY outcome").fetchall())
    assert not outcomes.keys() & {"dead_lettered", "discarded"}
    assert sum(outcomes.values()) == len(system.sender.accepted) + 1  # and the decision
    with system.odoo.cluster.connect(system.database) as connection:
        query = (
            "SELECT lead.x_manychat_id, map.manychat_stage_id FROM crm_lead lead "
            "JOIN manychat_stage_map map ON map.stage_id = lead.stage_id WHERE lead.x_manychat_id LIKE 'MC-ROLL-%%'"
        )
        rows = connection.execute(query).fetchall()
    assert len(rows) == len(system.sender.newest)
    assert dict(rows) == system.sender.newest | {DECIDED: DECIDED_STAGE}


def test_a_back_fill_brings_sql_what_is_in_odoo(system: System) -> None:
    """The tables had rows of the release before, of which no decision tells."""
    done = system.now.bridge("reconcile", "--from-odoo")
    assert done.returncode == 0, done.stderr
    with system.odoo.cluster.connect(system.store.url.database) as connection:
        query = "SELECT manychat_id, lead_id, stage_id, status FROM opportunities WHERE odoo_as_of IS NOT NULL"
        in_sql = sorted(connection.execute(query).fetchall())
    with system.odoo.cluster.connect(system.database) as connection:
        query = (
            "SELECT manychat_id, lead.id, stage_id, 'open' FROM manychat_identity identity "
            "JOIN crm_lead lead ON lead.id = identity.lead_id"
        )
        in_odoo = sorted(connection.execute(query).fetchall())
    assert in_sql == in_odoo
    assert len(in_sql) == len(system.sender.newest)

"""Upgrading from the first release: its real code, with data, then `-u` to this one."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.odoo import Odoo
from deploy.local.paths import ROOT
from deploy.local.supervision import own_environment

from .conftest import database_name

#: The commit that was release 0.1.0.
FIRST_RELEASE = "8eb8da5"

#: What the scripts in both releases begin with. The moment from which minutes count stays the same.
EVENTS = """
import json
from datetime import datetime, timedelta, timezone
try:
    from bridge.contract.event import accept
    from bridge.contract.payloads import EventType
except ModuleNotFoundError:  # the first release
    from bridge.events import EventType, accept
parameters = env["ir.config_parameter"]
if not parameters.get_param("prueba.began"):
    parameters.set_param("prueba.began", (datetime.now(timezone.utc) - timedelta(hours=2)).isoformat())
began = datetime.fromisoformat(parameters.get_param("prueba.began"))
def event(person, minute, **state):
    moment = began + timedelta(minutes=minute)
    payload = dict(manychat_id=person, first_name="Prueba", commercial_advisor_id=700, channel="Facebook",
                   state=dict(state, date=moment.isoformat()))
    return accept(EventType.OPPORTUNITY, payload, received_at=moment, source="odoo").envelope()
def apply(*events):
    results = env["crm.lead"].with_user(env.ref("miasalud_crm.user_bridge")).manychat_apply(list(events))
    env.cr.commit()
    return [[row["status"], row["code"]] for row in results]
"""
FILL = """
env["manychat.api.key"]._generate("Before")
apply(event("MC-UP-1", 0, stage_id=17), event("MC-UP-2", 0, stage_id=19))
apply(event("MC-UP-1", 5, stage_id=22), event("MC-UP-3", 6, stage="Sin Mapa"))
"""
LOOK = """
def table(model, *fields):
    rows = env[model].with_context(active_test=False).search([], order="id")
    return [[str(getattr(row[name], "ids", row[name])) for name in ("id", *fields)] for row in rows]
print("SEEN " + json.dumps({
    "stages": table("crm.stage", "name", "sequence", "fold", "is_won"),
    "opportunities": table("crm.lead", "name", "stage_id", "x_manychat_id", "user_id", "date_last_stage_update"),
    "identities": table("manychat.identity", "manychat_id", "lead_id"),
    "events": table("manychat.event", "event_id", "state", "outcome", "lead_id"),
    "stage map": table("manychat.stage.map", "manychat_stage_id", "stage_id"),
    "aliases": table("manychat.stage.alias", "name"),
    "advisers": table("manychat.advisor", "external_id", "role", "name"),
    "keys": table("manychat.api.key", "prefix", "active"),
    "chatter": table("mail.tracking.value", "old_value_char", "new_value_char"),
}))
"""
GO_ON = """
print("SEEN " + json.dumps(apply(event("MC-UP-1", 5, stage_id=22), event("MC-UP-1", 9, stage_id=23))))
"""


class Upgraded:
    """A database of the first release, before and after its upgrade."""

    def __init__(self, odoo: Any, database: str, old: Path) -> None:
        self.odoo, self.database, self._old = odoo, database, old
        configuration = old / "odoo.conf"
        addons = ",".join(map(str, [*odoo.source.addons, old]))
        odoo.write_configuration(configuration, database, addons_path=addons)
        self._run("-i", "miasalud_crm", "-c", str(configuration), "--stop-after-init", "--no-http")
        shell = ["shell", "-c", str(configuration), "-d", database, "--no-http", "--log-level=warn"]
        self.before = seen(self._run(*shell, script=EVENTS + FILL + LOOK))
        odoo.install_modules(database, ["miasalud_crm"], upgrade=True)
        self.after = seen(odoo.run_script(database, EVENTS + LOOK))

    def _run(self, *arguments: str, script: str = "") -> str:
        environment = {**own_environment(), "PYTHONPATH": str(self._old)}
        command = self.odoo.command(*arguments)
        done = subprocess.run(
            command, input=script, capture_output=True, text=True, check=False, cwd=self._old, env=environment
        )
        assert not done.returncode, done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def upgraded(odoo: Odoo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgraded]:
    old = tmp_path_factory.mktemp("first-release")
    archive = ["git", "archive", FIRST_RELEASE, "miasalud_crm", "bridge"]
    packed = subprocess.run(archive, cwd=ROOT, capture_output=True, check=False)
    if packed.returncode:
        pytest.skip(f"this checkout doesn't have the first release: {packed.stderr.decode()}")
    subprocess.run(["tar", "-x", "-C", old], input=packed.stdout, check=True)
    database = database_name("upgrade", odoo)
    odoo.create(database, durable=False)
    yield Upgraded(odoo, database, old)
    odoo.drop(database)


def test_the_first_release_was_in_use(upgraded: Upgraded) -> None:
    before = upgraded.before
    assert [row[3] for row in before["opportunities"]] == ["MC-UP-1", "MC-UP-2"]
    assert sorted(row[3] for row in before["events"]) == ["created", "created", "error", "moved"]
    assert len(before["stage map"]) == 11


@pytest.mark.parametrize(
    "table",
    ["stages", "opportunities", "identities", "events", "stage map", "aliases", "advisers", "keys", "chatter"],
)
def test_an_upgrade_changes_none_of_the_data(upgraded: Upgraded, table: str) -> None:
    assert upgraded.after[table] == upgraded.before[table]


def test_conversations_go_on_where_they_were(upgraded: Upgraded) -> None:
    again, next_one = seen(upgraded.odoo.run_script(upgraded.database, EVENTS + GO_ON))
    assert again == ["moved", "duplicate"]
    assert next_one == ["moved", False]


def test_opportunities_from_before_have_their_history(upgraded: Upgraded) -> None:
    script = """
rows = env["manychat.stage.history"].search([], order="id")
print("SEEN " + json.dumps([[row.lead_id.x_manychat_id, row.stage_id.name, bool(row.left_at)] for row in rows]))
"""
    stays = seen(upgraded.odoo.run_script(upgraded.database, EVENTS + script))
    of_first = [stay[1:] for stay in stays if stay[0] == "MC-UP-1"]
    assert of_first[:2] == [["Recién Suscrito Pendiente AC", True], ["Comienza AE", True]]
    assert [stay[1:] for stay in stays if stay[0] == "MC-UP-2"] == [["Comienza AC", False]]


SCRIPT = """
def migrate(cr, version):
    cr.execute("INSERT INTO ir_config_parameter (key, value) VALUES ('prueba.migrated', %s)", [version])
"""


def test_a_script_of_a_later_release_runs_when_its_version_comes(upgraded: Upgraded, tmp_path: Path) -> None:
    later = tmp_path / "miasalud_crm"
    shutil.copytree(ROOT / "miasalud_crm", later)
    manifest = (later / "__manifest__.py").read_text()
    (later / "__manifest__.py").write_text(manifest.replace('"version": "0.7.0"', '"version": "0.7.1"'))
    (later / "migrations" / "0.7.1").mkdir()
    (later / "migrations" / "0.7.1" / "post-probe.py").write_text(SCRIPT)
    odoo, database = upgraded.odoo, upgraded.database
    configuration = tmp_path / "odoo.conf"
    odoo.write_configuration(configuration, database, addons_path=",".join(map(str, [*odoo.source.addons, tmp_path])))
    for _time in range(2):  # the second time it is there already, and inserting again would fail
        command = odoo.command("-u", "miasalud_crm", "-c", configuration, "--stop-after-init", "--no-http")
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=own_environment())
        assert not done.returncode, done.stderr
    printed = odoo.run_script(
        database,
        """
import json
print("SEEN " + json.dumps([env["ir.config_parameter"].get_param("prueba.migrated"),
                            env.ref("base.module_miasalud_crm").latest_version]))
""",
    )
    series = odoo.source.version
    assert seen(printed) == [f"{series}.0.7.0", f"{series}.0.7.1"]


def seen(printed: str) -> Any:
    return json.loads(next(line for line in printed.splitlines() if line.startswith("SEEN "))[5:])

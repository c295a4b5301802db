"""Upgrading a database of release 0.4.0 that is in use: rows of every kind, settings, and customers who wait."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.odoo import Odoo
from deploy.local.paths import ROOT
from deploy.local.supervision import own_environment

from .conftest import database_name
from .test_upgrade import EVENTS, seen

#: The last commit of release 0.4.0.
RELEASE_BEFORE = "5621843"

#: As an operator, a sales manager and the bots left it.
FILL = """
from datetime import datetime, timedelta, timezone
Key = env["manychat.api.key"]
now = datetime.now(timezone.utc).replace(tzinfo=None, microsecond=0)
for name in ("In use", "Revoked", "Expired", "Never used", "Ends soon"):
    Key._generate(name, expiration_date=now + timedelta(days=5) if name == "Ends soon" else False)
by_name = {key.name: key for key in Key.search([])}
by_name["In use"].last_used = now - timedelta(hours=1)
by_name["Revoked"].write({"last_used": now - timedelta(days=3), "active": False})
by_name["Expired"].write({"last_used": now - timedelta(days=3), "expiration_date": now - timedelta(days=1)})
manager = env["res.users"].with_context(no_reset_password=True).create({
    "name": "Jefa", "login": "jefa", "lang": "en_US",
    ("group_ids" if "group_ids" in env["res.users"]._fields else "groups_id"):
        [(6, 0, [env.ref("base.group_user").id, env.ref("sales_team.group_sale_manager").id])]})
seller = manager.copy({"name": "Vendedora", "login": "vendedora"})
for key, value in {
    "event_retention_days": "400", "chat_url": "https://app.manychat.com/fb1/chat/{manychat_id}",
    "alert_user_id": manager.id, "bridge_silent_minutes": "0", "overdue_minutes": "45",
    "default_team_id": env["crm.team"].search([], limit=1).id, "webhook_base_url": "https://crm.example.com",
}.items():
    env["ir.config_parameter"].set_param("miasalud_crm." + key, value)
# What users have changed: the order of the map, an adviser's user, a job's name and interval, a rule's name.
map_rows = env["manychat.stage.map"].search([], order="sequence, id")
for position, row in enumerate(reversed(map_rows)):
    row.sequence = 3 + position
map_rows[3].active = False
env["manychat.stage.alias"].create({"name": "Otra cotización", "map_id": map_rows[9].id})
env["manychat.stage.alias"].create({"manychat_stage_id": 77, "name": "Etapa 77", "map_id": map_rows[1].id})
env.ref("miasalud_crm.cron_retention").write({"name": "Borrar lo viejo", "interval_number": 6})
env.ref("miasalud_crm.manychat_event_rule_own").name = "Mis eventos"
for minute, person in enumerate(("MC-A", "MC-B", "MC-C", "MC-D")):
    apply(event(person, minute, stage_id=17, summary="Quiere una cita " + person))
apply(event("MC-A", 8, stage_id=22), event("MC-E", 9, stage="Sin Mapa"), event("MC-F", 10, stage_id=99))
adviser = env["manychat.advisor"].search([("external_id", "=", 700)])
adviser.user_id = seller
env["manychat.advisor"].create({"external_id": 701, "role": "medical", "name": "Dra. Prueba"})
env["crm.lead"].search([("x_manychat_id", "!=", False)]).user_id = seller
lost = env["crm.lead"].search([("x_manychat_id", "=", "MC-C")])
lost.action_set_lost()
called = env["crm.lead"].search([("x_manychat_id", "=", "MC-A")])
called.activity_schedule("mail.mail_activity_data_todo", summary="Llamar")
Rejection = env["manychat.rejection"]
bot = by_name["In use"]
Rejection._record("/api/v1/manychat/crm-opportunity", "not_json", "The body is not JSON.",
                  b'{"manychat_id": "MC-A", "x": "a"b"}', bot)
Rejection._record("/api/v1/manychat/crm-opportunity", "invalid", "manychat_id is missing.", b'{"state": {}}', bot,
                  [{"field": "manychat_id", "message": "Field required"}, {"field": "", "message": "a: b"}])
Rejection._record("/api/v1/manychat/contact", "too_large", "Too large.", b"x" * 9000, bot)
env.flush_all()
env.cr.execute("UPDATE manychat_rejection SET create_date = create_date - interval '40 days' WHERE code = 'too_large'")
owner = {"user_ids": manager.ids} if "user_ids" in env["ir.filters"]._fields else {"user_id": manager.id}
env["ir.filters"].create({"name": "Mine", "model_id": "manychat.rejection", **owner})
for number in range(400):
    env["manychat.event"].create({"event_id": f"{number:064x}", "type": "contact", "state": "done", "outcome": "stored",
        "manychat_id": f"MC-{number}", "received_at": now - timedelta(hours=2), "key_name": bot.name,
        "payload": {"manychat_id": f"MC-{number}"}, "source": "odoo"})
env.cr.commit()
"""
SAME = """
def table(model, *names):
    rows = env[model].with_context(active_test=False).search([], order="id")
    return [[str(getattr(row[name], "ids", row[name])) for name in ("id", *names)] for row in rows]
same = {
    "stages": table("crm.stage", "name", "sequence", "fold", "is_won"),
    "opportunities": table("crm.lead", "name", "stage_id", "x_manychat_id", "user_id", "active", "manychat_summary",
                           "date_last_stage_update", "write_date"),
    "identities": table("manychat.identity", "manychat_id", "lead_id"),
    "stage map": table("manychat.stage.map", "manychat_stage_id", "stage_id", "sequence", "active", "name"),
    "aliases": table("manychat.stage.alias", "name", "map_id", "is_open"),
    "advisers": table("manychat.advisor", "external_id", "role", "name", "user_id", "to_complete"),
    "keys": table("manychat.api.key", "name", "prefix", "active", "last_used", "expiration_date"),
    # On 19, Odoo itself notes new jobs and their server actions.
    "chatter": [row for row in table("mail.message", "model", "res_id", "body")
                if row[1] not in ("ir.cron", "ir.actions.server")],
    "activities": table("mail.activity", "summary"),
    "parameters": [[row.key, row.value] for row in env["ir.config_parameter"].search(
        [("key", "=like", "miasalud_crm.%"), ("key", "!=", "miasalud_crm.decisions_since")], order="key")],
}
env.cr.execute("SELECT event_id, state, outcome, lead_id FROM manychat_event WHERE state <> 'refused' ORDER BY id")
same["events"] = [list(map(str, row)) for row in env.cr.fetchall()]
print("SEEN " + json.dumps(same))
"""


class InUse:
    def __init__(self, odoo: Odoo, database: str, old: Path) -> None:
        self.odoo, self.database, self._old = odoo, database, old
        configuration = old / "odoo.conf"
        odoo.write_configuration(configuration, database, addons_path=",".join(map(str, [*odoo.source.addons, old])))
        self._run("-i", "miasalud_crm", "-c", configuration, "--stop-after-init", "--no-http")
        shell = ["shell", "-c", configuration, "-d", database, "--no-http", "--log-level=warn"]
        self.before = seen(self._run(*shell, script=EVENTS + FILL + SAME))
        odoo.install_modules(database, ["miasalud_crm"], upgrade=True)
        self.after = self.look(SAME)

    def look(self, script: str) -> Any:
        return seen(self.odoo.run_script(self.database, EVENTS + script))

    def _run(self, *arguments: Any, script: str = "") -> str:
        environment = {**own_environment(), "PYTHONPATH": str(self._old)}
        command = self.odoo.command(*arguments)
        done = subprocess.run(
            command, input=script, capture_output=True, text=True, check=False, cwd=self._old, env=environment
        )
        assert not done.returncode, done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def in_use(odoo: Odoo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InUse]:
    old = tmp_path_factory.mktemp("release-before")
    archive = ["git", "archive", RELEASE_BEFORE, "miasalud_crm", "bridge"]
    packed = subprocess.run(archive, cwd=ROOT, capture_output=True, check=False)
    if packed.returncode:
        pytest.skip(f"this checkout doesn't have the release before: {packed.stderr.decode()}")
    subprocess.run(["tar", "-x", "-C", old], input=packed.stdout, check=True)
    database = database_name("upgrade_in_use", odoo)
    odoo.create(database, durable=False)
    yield InUse(odoo, database, old)
    odoo.drop(database)


@pytest.mark.parametrize(
    "table",
    [
        *("stages", "opportunities", "identities", "stage map", "aliases", "advisers", "keys", "chatter"),
        *("activities", "parameters", "events"),
    ],
)
def test_an_upgrade_changes_nothing_of_what_is_in_use(in_use: InUse, table: str) -> None:
    assert in_use.before[table]
    assert in_use.after[table] == in_use.before[table]


def test_refused_requests_are_in_the_one_list(in_use: InUse) -> None:
    rows = in_use.look(
        """
rows = env["manychat.event"].search([("state", "=", "refused")], order="received_at")
print("SEEN " + json.dumps([[row.code, row.manychat_id, row.key_name, row.problems, row.request["body"][:40],
                             bool(row.answer)] for row in rows]))
"""
    )
    assert [row[0] for row in rows] == ["too_large", "not_json", "invalid"]
    too_large, not_json, invalid = rows
    assert too_large[1] is False
    assert "Field required" not in json.dumps(not_json)
    assert not_json[4] == '{"manychat_id": "MC-A", "x": "a"b"}'
    assert invalid[3] == [{"field": "manychat_id", "message": "Field required"}, {"field": "", "message": "a: b"}]
    assert all(row[2] == "In use" and row[5] for row in rows)


def test_the_list_has_them_where_their_time_is(in_use: InUse) -> None:
    """They have new ids, and may be weeks old."""
    states = in_use.look(
        """
from lxml import etree
orders = [etree.fromstring(env["manychat.event"].get_view(view_type=kind)["arch"]).get("default_order")
          for kind in ("list", "kanban")]
assert orders[0] == orders[1], orders
print("SEEN " + json.dumps(env["manychat.event"].search([], order=orders[0]).mapped("state")))
"""
    )
    assert states[-1] == "refused"
    assert states[:2] == ["refused", "refused"]


def test_the_old_model_is_gone(in_use: InUse) -> None:
    left = in_use.look(
        """
env.cr.execute("SELECT to_regclass('manychat_rejection')")
table = env.cr.fetchall()[0][0]
print("SEEN " + json.dumps([
    table, env["ir.model"].search_count([("model", "=", "manychat.rejection")]),
    env["ir.model.access"].search_count([("name", "ilike", "rejection")]),
    env["ir.ui.view"].search_count([("model", "=", "manychat.rejection")]),
    env["ir.actions.act_window"].search_count([("res_model", "=", "manychat.rejection")]),
    env["ir.ui.menu"].with_context(active_test=False, **{"ir.ui.menu.full_list": True}).search_count(
        [("name", "ilike", "refused requests")]),
    env["ir.filters"].search_count([("model_id", "=", "manychat.rejection")]),
    env["ir.model.data"].search_count([("module", "=", "miasalud_crm"), ("name", "ilike", "rejection")]),
]))
"""
    )
    assert left == [None, 0, 0, 0, 0, 0, 0, 0]


def test_settings_are_those_of_before(in_use: InUse) -> None:
    shown = in_use.look(
        """
manager = env["res.users"].search([("login", "=", "jefa")])
form = env["manychat.settings"].with_user(manager)
values = form.default_get(list(form._fields))
print("SEEN " + json.dumps([values[name] for name in ("retention_days", "chat_url", "silent_minutes",
      "overdue_minutes", "webhook_base_url")]
      + [values["alert_user_id"] == manager.id, bool(values["default_team_id"])]))
"""
    )
    assert shown == [
        *(400, "https://app.manychat.com/fb1/chat/{manychat_id}", 0, 45, "https://crm.example.com", True, True)
    ]


def test_what_users_may_change_stays_and_what_is_new_is_there(in_use: InUse) -> None:
    """Scheduled actions, record rules, and the menus of a sales manager."""
    job, new, seen_by_manager, rules = in_use.look(
        """
job = env.ref("miasalud_crm.cron_retention")
new = [env.ref(f"miasalud_crm.{name}").active for name in ("cron_waiting", "cron_resend", "cron_fields")]
manager = env["res.users"].search([("login", "=", "jefa")])
visible = env["ir.ui.menu"].with_user(manager)._visible_menu_ids()
names = ("manychat_api_key_menu", "manychat_settings_menu", "manychat_event_menu", "manychat_field_map_menu",
         "manychat_delivery_report_menu", "manychat_same_person_menu", "manychat_wrong_key_menu")
rules = ("manychat_event_rule_own", "manychat_event_rule_builder", "manychat_api_key_rule_builder",
         "manychat_api_key_rule_all")
print("SEEN " + json.dumps([[job.name, job.interval_number], new,
      [env.ref("miasalud_crm." + name).id in visible for name in names],
      [env.ref("miasalud_crm." + name).name for name in rules]]))
"""
    )
    assert job == ["Borrar lo viejo", 6]
    assert new == [True, True, True]
    assert seen_by_manager == [True] * 7
    assert rules[0] == "Mis eventos"


def test_nothing_old_becomes_an_activity(in_use: InUse) -> None:
    """The new jobs run for the first time, twice: alerts are one activity for each kind, and customers make none."""
    made, waiting = in_use.look(
        """
def activities():
    return [[row.id, row.res_model, row.res_id] for row in env["mail.activity"].search([], order="id")]
before = activities()
for _time in range(2):
    env["manychat.waiting"]._cron_waiting()
    env["manychat.field.map"]._cron_fields()
    env["manychat.resend"]._cron_resend()
    env.ref("miasalud_crm.cron_alerts").method_direct_trigger()
waiting = env["crm.lead"].search([("manychat_waits_since", "!=", False)], order="id")
print("SEEN " + json.dumps([[row[1:] for row in activities() if row not in before], waiting.mapped("x_manychat_id")]))
"""
    )
    assert waiting == ["MC-A", "MC-B", "MC-D"]
    assert {model for model, _row in made} <= {"manychat.alert"}
    assert len({row for _model, row in made}) == len(made)

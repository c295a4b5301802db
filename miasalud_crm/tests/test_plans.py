"""What is asked of the event log and of the stage history is answered by an index: PostgreSQL's own plans are read.

A year has millions of events. Each statement that these actions send is caught and explained, on tables that are filled
a little; so this needs no time and no year. `make year` measures the same actions on a full system.
"""

import ast
import json
import re
import sys
from datetime import datetime, timedelta, timezone
from unittest.mock import patch

from lxml import etree

from odoo import fields, sql_db
from odoo.tests import new_test_user, tagged
from odoo.tools import SQL

from bridge.contract.event import accept
from bridge.contract.payloads import EventType

from .. import private_sql
from .common import ManychatCase, let_jobs_run, opportunity

#: Tables that grow with the events.
GROWING = ("manychat_event", "manychat_stage_history")
ROWS = 3000
#: Indices of only those opportunities whose customers wait (``btree_not_null``).
OF_FEW = ("manychat_waits_since_index", "manychat_answer_due_index")


class Witness:
    """Catches the statements on growing tables that run while it is open."""

    def __init__(self, cr):
        self.cr = cr
        self.statements = {}

    def __enter__(self):
        execute, send = sql_db.Cursor.execute, private_sql._send

        def see_plain(cr, query, params=None, log_exceptions=True):
            self._see(query, params)
            return execute(cr, query, params, log_exceptions)

        def see_private(cr, query, params):
            self._see(query, params)
            return send(cr, query, params)

        self._patches = [
            patch.object(sql_db.Cursor, "execute", see_plain),
            patch.object(private_sql, "_send", see_private),
        ]
        for each in self._patches:
            each.start()
        return self

    def __exit__(self, *_error):
        for each in self._patches:
            each.stop()

    def _see(self, query, params):
        code, params = (query.code, query.params) if isinstance(query, SQL) else (str(query), params)
        is_change = re.match(r"\s*(SELECT|WITH|UPDATE|DELETE)\b", code, re.IGNORECASE)
        if is_change and any(re.search(rf'\b"?{table}\b"?', code) for table in GROWING):
            self.statements.setdefault(code, self.cr.mogrify(code, params or None).decode())


@tagged("post_install", "-at_install")
class TestPlans(ManychatCase):
    def setUp(self):
        super().setUp()
        for name in ("commit", "rollback"):
            self.patch(self.env.cr, name, lambda: None)
        let_jobs_run(self.env)
        self.manager = new_test_user(self.env, "jefa", "base.group_user,sales_team.group_sale_manager")
        self.apply(*(opportunity(f"MC-{number % 40}", 16 + number % 5, number) for number in range(200)))
        self.env.flush_all()
        columns = "type, manychat_id, state, payload, source, occurred_at, outcome, lead_id, create_date"
        self.env.cr.execute(
            f"INSERT INTO manychat_event (event_id, received_at, {columns}) "
            f"SELECT md5(n::text) || md5(event_id), received_at - n * interval '5 hours', {columns} "
            "FROM manychat_event, generate_series(1, 15) AS n"
        )
        self.env.cr.execute("UPDATE manychat_event SET state = 'failed', code = 'refused' WHERE id % 500 = 0")
        self.env.cr.execute(
            "INSERT INTO manychat_stage_history (lead_id, stage_id, entered_at, left_at, moved_by) "
            "SELECT lead_id, stage_id, entered_at - n * interval '1 day', entered_at, moved_by "
            "FROM manychat_stage_history, generate_series(1, 15) AS n"
        )
        self.env.cr.execute("UPDATE manychat_stage_history SET left_at = entered_at WHERE left_at IS NULL")
        for table in GROWING:
            self.env.cr.execute(f"ANALYZE {table}")
        self.env.invalidate_all()

    def assertFindsByIndex(self, name, action, allowed=()):
        """:param allowed: growing tables that the action may read as a whole"""
        with Witness(self.env.cr) as witness:
            action()
            self.env.flush_all()
        self.assertTrue(witness.statements, f"{name} asked nothing")
        for statement in witness.statements.values():
            self.env.cr.execute("SAVEPOINT plan")
            self.env.cr.execute("SET LOCAL enable_seqscan = off")
            self.env.cr.execute("EXPLAIN (FORMAT JSON) " + statement.replace("%", "%%"), ())
            plan = self.env.cr.fetchone()[0]
            self.env.cr.execute("ROLLBACK TO SAVEPOINT plan")
            plan = json.loads(plan) if isinstance(plan, str) else plan
            whole = set(_read_as_a_whole(plan[0]["Plan"])) - set(allowed)
            self.assertFalse(whole, f"{name} reads all of {whole}:\n{statement}\n{json.dumps(plan, indent=1)}")

    def test_bots_and_the_relay(self):
        events = self.env["manychat.event"]
        event = accept(
            EventType.CONTACT, {"manychat_id": "MC-1"}, received_at=datetime.now(timezone.utc), source="odoo"
        )
        self.assertFindsByIndex(
            "relay", lambda: (events._enqueue(event, self.env["manychat.api.key"]), events._claim(9))
        )

    def test_bridges(self):
        row = self.env["manychat.event"].search([], limit=1)
        as_bridge = self.env["manychat.event"].with_user(self.bridge_user)
        outcome = {"event_id": row.event_id, "state": "done", "outcome": "stored"}
        for name, action in {
            "apply": lambda: self.apply(opportunity("MC-1", 18, 999), opportunity("MC-new", 18, 999)),
            "record_outcomes": lambda: as_bridge.record_outcomes([outcome]),
            "get_history of an event": lambda: as_bridge.get_history(event_id=row.event_id[:12]),
            "get_history of a person": lambda: as_bridge.get_history(manychat_id="MC-1"),
            "get_overdue": as_bridge.get_overdue,
            "send_again": lambda: as_bridge.send_again([row.event_id]),
            "erase": lambda: as_bridge.erase("MC-2"),
            "heartbeat": lambda: self.env["manychat.bridge"].with_user(self.bridge_user).heartbeat("b/1", "1"),
        }.items():
            self.assertFindsByIndex(name, action)

    def test_jobs(self):
        events = self.env["manychat.event"]
        for name, action in {
            "retention": events._cron_retention,
            "alerts": self.env["manychat.alert"]._cron_check,
            "release": self.env["manychat.stage.alias"]._cron_release,
            "test event": self.env["manychat.test.event"]._delete_leftovers,
        }.items():
            self.assertFindsByIndex(name, action)

    def test_waiting_customers(self):
        self.patch(sys.modules[__name__], "GROWING", (*GROWING, "crm_lead", "mail_activity"))
        rows = self.env["manychat.stage.map"].search([])
        rows.write({"answer_hours": 1, "tells_since": "2020-01-01", "limited_since": "2020-01-01"})
        leads = [self.lead(f"MC-{number}") for number in range(9)]
        for lead in leads:
            lead.sudo().write({"user_id": self.manager.id, "manychat_waits_since": "2026-03-02 09:00:00"})
            lead.sudo().manychat_words_at = "2026-03-02 09:00:00"
        self.env["mail.activity"].search([]).unlink()
        lead.activity_schedule("mail.mail_activity_data_todo", user_id=self.manager.id)
        self.env.flush_all()
        columns = "res_model_id, res_model, activity_type_id, user_id, date_deadline, active, automated"
        self.env.cr.execute(
            f"INSERT INTO mail_activity (res_id, {columns}) "
            f"SELECT n, {columns} FROM mail_activity, generate_series(1, %s) AS n",
            [ROWS],
        )
        columns = "name, type, active, stage_id, user_id, team_id"
        self.env.cr.execute(
            f"INSERT INTO crm_lead ({columns}) SELECT {columns} FROM crm_lead, generate_series(1, 200) AS n "
            "WHERE x_manychat_id IS NOT NULL"
        )
        for table in ("crm_lead", "mail_activity"):
            self.env.cr.execute(f"ANALYZE {table}")
        # The table of those who wait now is small.
        for name in ("first run", "second run"):
            self.assertFindsByIndex(name, self.env["manychat.waiting"]._cron_waiting)
        self.assertEqual(self.env["manychat.waiting"].search_count([("salesperson_notified", "=", True)]), 9)
        for lead in leads:
            lead.with_user(self.manager).action_manychat_answered()
        self.assertFindsByIndex("after the answers", self.env["manychat.waiting"]._cron_waiting)
        self.assertFalse(self.env["manychat.waiting"].search_count([]))
        domain = [("manychat_answer_overdue", "=", True)]
        self.assertFindsByIndex("the filter", lambda: self.env["crm.lead"].search_count(domain))

    def test_screens(self):
        lead, alias = self.lead("MC-1"), self.env["manychat.stage.alias"].create({"name": "Desconocida"})
        for name, action in {
            "checklist": self.env["manychat.setup"].with_user(self.manager)._event_step,
            "form": lambda: lead.read(["manychat_event_count", "manychat_stage_count"]),
            "stage map": self.env["manychat.stage.map"]._events_on_their_way,
            "aliases": lambda: alias.read(["waiting_count"]),
            "unknown fields": self.env["manychat.field.map"]._collect,
            "unknown fields, not converted": self.env["manychat.field.map"]._warnings_of_events,
            "kept events of a field": self.env["manychat.field.map"]._kept_page,
            "move by hand": lambda: lead.write({"stage_id": self.stages[20].id}),
        }.items():
            self.assertFindsByIndex(name, action)

    def test_each_filter_of_the_event_log_that_finds_few_rows(self):
        events = self.env["manychat.event"]
        view = etree.fromstring(events.get_view(view_type="search")["arch"])
        week = (fields.Datetime.now() - timedelta(days=7)).strftime("%Y-%m-%d")
        # These find many rows: the newest come first, in the order of the ids.
        many = {"done", "opportunities", "contacts", "mine", "today", "received_at", "from_chat", "decisions"}
        domains = {
            node.get("name"): ast.literal_eval(node.get("domain"))
            for node in view.iter("filter")
            if node.get("domain") and node.get("name") not in {*many, "last_week"}
        }
        self.assertGreater(len(domains), 6)
        domains["last_week"] = [("received_at", ">=", week)]
        for field, text in (("manychat_id", "MC-1"), ("event_id", "0a1b2c")):
            node = next(node for node in view.iter("field") if node.get("name") == field)
            typed = (node.get("filter_domain") or "").replace("self + 'g'", repr(f"{text}g"))
            typed = typed.replace("self", repr(text))
            domains[field] = ast.literal_eval(typed) if typed else [(field, node.get("operator"), text)]
        for name, domain in domains.items():
            self.assertFindsByIndex(name, lambda domain=domain: events.search_count(domain))

    def test_the_first_page_of_the_event_log(self):
        events = self.env["manychat.event"]
        for kind in ("list", "kanban"):
            order = etree.fromstring(events.get_view(view_type=kind)["arch"]).get("default_order")
            self.assertEqual(order, "received_at desc, id desc")
            self.assertFindsByIndex(kind, lambda order=order: events.search([], order=order, limit=80))

    def test_the_funnel_reads_only_the_opportunities_that_it_is_asked_for(self):
        funnel, lead = self.env["manychat.funnel"], self.lead("MC-1")
        self.env.cr.execute(
            "UPDATE manychat_stage_history SET entered_at = entered_at + (now() - newest) "
            "FROM (SELECT max(entered_at) AS newest FROM manychat_stage_history) AS dates"
        )
        since = fields.Datetime.to_string(fields.Datetime.now() - timedelta(hours=1))
        measures = ["entered:count_distinct", "advanced:count_distinct", "conversion:avg", "hours:avg"]
        measures += ["answered_in_time:avg", "overdue_hours:sum", "overdue_now:count_distinct"]
        row = funnel.search([("lead_id", "=", lead.id)], limit=1)
        self.env.invalidate_all()
        for name, action in {
            "a period": lambda: funnel._read_group([("entered_at", ">=", since)], ["map_id"], measures),
            "a period and more": lambda: funnel._read_group(
                ["&", ("entered_at", ">", since), "|", ("status", "=", "open"), ("status", "=", "won")],
                ["map_id"],
                measures,
            ),
            "an opportunity": lambda: funnel._read_group([("lead_id", "=", lead.id)], ["map_id"], measures),
            "a row": lambda: row.read(["lead_id", "stage_id", "advanced"]),
        }.items():
            self.assertFindsByIndex(name, action)

    def test_the_funnel_finds_its_groups_without_sorting_the_stage_periods(self):
        funnel = self.env["manychat.funnel"]
        measures = ["__count", "entered:count_distinct", "left:count_distinct", "conversion:avg", "hours:avg"]
        groupings = [["map_id"], ["channel", "map_id"], ["entered_at:month"], ["moved_by"]]
        for groupby in (*groupings, ["previous_stage_id", "next_stage_id"]):
            with Witness(self.env.cr) as witness:
                funnel._read_group([], groupby, measures, order=",".join(groupby))
            [statement] = (each for each in witness.statements.values() if "furthest_later" in each)
            # The groups are sorted at the end.
            statement = statement[: statement.rindex("ORDER BY")]
            self.env.cr.execute("SET LOCAL enable_sort = off")
            self.env.cr.execute("EXPLAIN (FORMAT JSON) " + statement.replace("%", "%%"), ())
            way = _way_to_periods(self.env.cr.fetchone()[0][0]["Plan"])
            self.assertEqual(way[-1]["Node Type"], "Index Only Scan")
            self.assertFalse([node["Node Type"] for node in way if "Sort" in node["Node Type"]], groupby)
            self.assertEqual([node["Strategy"] for node in way if node["Node Type"] == "Aggregate"], ["Hashed"])

    def test_the_funnel_is_not_compiled_and_leaves_the_setting_as_it_was(self):
        funnel, settings = self.env["manychat.funnel"], []

        def setting():
            self.env.cr.execute("SHOW jit")
            return self.env.cr.fetchone()[0]

        def see(funnel, *args):
            settings.append(setting())
            return select(funnel, *args)

        select = type(funnel)._read_group_select
        self.patch(type(funnel), "_read_group_select", see)
        for before in ("on", "off"):
            self.env.cr.execute("SELECT set_config('jit', %s, true)", [before])
            settings.clear()
            funnel.read_group([], ["entered"], ["map_id"])
            with self.assertRaises(ValueError):
                funnel.read_group([], ["entered:no_such_aggregate"], ["map_id"])
            self.assertEqual(set(settings), {"off"})
            self.assertEqual(setting(), before)

    def test_the_funnel_reads_the_waiting_customers_only_for_their_measures(self):
        for measure, is_read in (("hours:avg", False), ("answers:sum", False), ("overdue_hours:sum", True)):
            with Witness(self.env.cr) as witness:
                self.env["manychat.funnel"]._read_group([], ["map_id"], [measure])
            [statement] = (each for each in witness.statements.values() if "furthest_later" in each)
            self.env.cr.execute("EXPLAIN " + statement.replace("%", "%%"), ())
            plan = str(self.env.cr.fetchall())
            self.assertEqual("manychat_waiting" in plan, is_read, measure)


def _way_to_periods(node):
    """The nodes of a plan from its root to the stage periods; none if it does not read them."""
    if node.get("Relation Name") == "manychat_stage_history":
        return [node]
    ways = (_way_to_periods(child) for child in node.get("Plans", []))
    return next(([node, *way] for way in ways if way), [])


def _read_as_a_whole(node):
    """The growing tables that a plan reads from end to end. An index over few rows may be read as a whole."""
    table, index = node.get("Relation Name", ""), node.get("Index Name", "")
    is_plain = index.endswith(("_pkey", "_index", "_unique")) and "Index Cond" not in node
    is_plain = is_plain and not index.endswith(OF_FEW)
    if table in GROWING and (node["Node Type"] == "Seq Scan" or is_plain):
        yield table
    # The first page in the order of an index ends soon.
    if not (node["Node Type"] == "Limit" and not _sorts(node)):
        for child in node.get("Plans", []):
            yield from _read_as_a_whole(child)


def _sorts(node):
    return node["Node Type"] in ("Sort", "Aggregate") or any(map(_sorts, node.get("Plans", [])))

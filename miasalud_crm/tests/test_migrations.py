import importlib.util
from pathlib import Path

from odoo import fields
from odoo.tests import tagged
from odoo.tools import SQL
from odoo.tools.sql import column_exists, table_exists

from bridge.contract.fields import normalize_label
from bridge.contract.payloads import EventType

from ..deliveries import REFUSALS
from ..models.manychat_event_refused import KEPT
from .common import ManychatCase, opportunity

MIGRATIONS = Path(__file__).parents[1] / "migrations"


def script(name):
    """The upgrade script ``name`` as a module. Python cannot import a file of that name."""
    spec = importlib.util.spec_from_file_location("miasalud_crm_upgrade_script", MIGRATIONS / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@tagged("post_install", "-at_install")
class TestRename(ManychatCase):
    """0.2.0 renames fields. The database before the upgrade is made here by renaming them back."""

    def setUp(self):
        super().setUp()
        self.rename = script("0.2.0/pre-rename.py")

    def test_columns_keep_their_values(self):
        self.apply(opportunity())
        event = self.env["manychat.event"].search([("manychat_id", "=", "MC-TEST-1")])
        event.write({"attempt_count": 3, "discard_to_report": True})
        self.env.flush_all()
        for old, new in self.rename.COLUMNS:
            self.env.cr.execute(
                SQL("ALTER TABLE manychat_event RENAME COLUMN %s TO %s", SQL.identifier(new), SQL.identifier(old))
            )
        for _time in range(2):  # an upgrade that was interrupted begins again
            self.rename.migrate(self.env.cr, "0.1.0")
        self.env.invalidate_all()
        self.assertEqual((event.attempt_count, event.discard_to_report), (3, True))
        self.assertFalse(any(column_exists(self.env.cr, "manychat_event", old) for old, _new in self.rename.COLUMNS))

    def test_favourites_of_the_funnel_name_the_new_measures(self):
        measures = "{'graph_measure': 'losing', 'pivot_measures': ['entered', 'staying', \"leaving\", 'advancing']}"
        values = {"name": "Perdidas", "context": measures}
        of_funnel = self.env["ir.filters"].create({**values, "model_id": "manychat.funnel"})
        of_leads = self.env["ir.filters"].create({**values, "model_id": "crm.lead"})
        self.env.flush_all()
        self.rename.migrate(self.env.cr, "0.1.0")
        self.env.invalidate_all()
        self.assertEqual(
            of_funnel.context,
            "{'graph_measure': 'lost', 'pivot_measures': ['entered', 'in_stage', \"left\", 'advanced']}",
        )
        self.assertEqual(of_leads.context, measures)


@tagged("post_install", "-at_install")
class TestDecided(ManychatCase):
    """0.7.0 notes when a user last decided about each conversation. The stage history knows it of the time before."""

    def test_the_moment_is_that_of_the_last_move_by_a_user_and_a_later_one_stays(self):
        self.apply(opportunity("MC-MOVED"), opportunity("MC-CHAT"), opportunity("MC-SINCE"))
        leads = {name: self.lead(name) for name in ("MC-MOVED", "MC-CHAT", "MC-SINCE")}
        for stage in (20, 22):
            (leads["MC-MOVED"] | leads["MC-SINCE"]).write({"stage_id": self.stages[stage].id})
            self.env.flush_all()
        history = self.env["manychat.stage.history"].search(
            [("lead_id", "=", leads["MC-MOVED"].id), ("moved_by", "=", "person")]
        )
        self.assertEqual(len(history), 2)
        now = max(history.mapped("entered_at"))
        later = fields.Datetime.add(now, days=1)
        identities = self.env["manychat.identity"].search([("manychat_id", "in", list(leads))])
        before = dict.fromkeys(leads, None) | {"MC-SINCE": later}
        for identity in identities:
            self.env.cr.execute(
                "UPDATE manychat_identity SET decided_at = %s WHERE id = %s",
                [before[identity.manychat_id], identity.id],
            )
        for _time in range(2):
            script("0.7.0/post-decided.py").migrate(self.env.cr, "0.6.0")
        self.env.cr.execute(
            "SELECT manychat_id, decided_at FROM manychat_identity WHERE id = ANY(%s)", [identities.ids]
        )
        self.assertEqual(dict(self.env.cr.fetchall()), {"MC-MOVED": now, "MC-CHAT": None, "MC-SINCE": later})


@tagged("post_install", "-at_install")
class TestManychatIdColumn(ManychatCase):
    """0.3.0 stores the ManyChat ID. Until then, the column could be that of a field that people had had."""

    def migrate(self, column_type, value):
        """Upgrade a database whose column has this type, and this value on an opportunity of another id."""
        self.apply(opportunity("MC-A"), opportunity("MC-B"))
        self.env.flush_all()
        table = SQL("ALTER TABLE crm_lead")
        column = SQL("x_manychat_id %s", SQL(column_type))
        self.env.cr.execute(SQL("%s DROP COLUMN x_manychat_id", table))
        self.env.cr.execute(SQL("%s ADD COLUMN %s DEFAULT %s", table, column, value))
        script("0.3.0/pre-manychat_id.py").migrate(self.env.cr, "0.2.0")
        for _time in range(2):
            script("0.3.0/post-manychat_id.py").migrate(self.env.cr, "0.2.0")
        self.env.invalidate_all()
        self.env.cr.execute(
            "SELECT DISTINCT x_manychat_id FROM crm_lead WHERE x_manychat_id ~ '^MC-(A|B|VIEJO)$' ORDER BY 1"
        )
        return [row[0] for row in self.env.cr.fetchall()]

    def test_a_column_of_text_gets_the_ids_that_conversations_have_now(self):
        self.assertEqual(self.migrate("varchar", "MC-VIEJO"), ["MC-A", "MC-B"])

    def test_a_column_of_numbers_is_set_aside(self):
        self.assertEqual(self.migrate("int4", 5), ["MC-A", "MC-B"])
        self.env.cr.execute("SELECT DISTINCT x_manychat_id_old FROM crm_lead")
        self.assertEqual(self.env.cr.fetchall(), [(5,)])

    def test_the_field_is_remembered_as_one_that_people_had(self):
        self.migrate("varchar", "MC-VIEJO")
        self.assertTrue(self.env["ir.config_parameter"].get_param("miasalud_crm.earlier_field"))


@tagged("post_install", "-at_install")
class TestLabels(ManychatCase):
    """0.3.0: invisible characters no longer count in labels. The keys of before are written past the model."""

    def setUp(self):
        super().setUp()
        self.labels = script("0.3.0/post-labels.py")

    def alias(self, name, key):
        alias = self.env["manychat.stage.alias"].create({"name": f"{key} vieja"})
        self.env.flush_all()
        self.env.cr.execute(
            "UPDATE manychat_stage_alias SET name = %s, label_key = %s WHERE id = %s", [name, key, alias.id]
        )
        self.env.invalidate_all()
        return alias

    def waiting_for(self, alias, manychat_id):
        event = opportunity(manychat_id, 99)
        self.apply(event)
        row = self.env["manychat.event"].search([("event_id", "=", event["id"])])
        row.alias_id = alias
        return row

    def test_an_alias_that_looks_like_a_stage_is_that_stage(self):
        row = self.env["manychat.stage.map"].search([], limit=1)
        alias = self.alias(f"{row.name}\u200b", f"{row.label_key}\u200b")
        event = self.waiting_for(alias, "MC-A")
        for _time in range(2):  # an upgrade that was interrupted begins again
            self.labels.migrate(self.env.cr, "0.2.0")
        self.assertFalse(alias.exists())
        self.assertEqual(event.state, "pending")

    def test_aliases_that_look_the_same_become_one(self):
        first = self.alias("Pensativo", "pensativo")
        second = self.alias("Pensativo\u200b", "pensativo\u200b")
        event = self.waiting_for(second, "MC-A")
        self.labels.migrate(self.env.cr, "0.2.0")
        self.assertFalse(second.exists())
        self.assertEqual((event.alias_id, event.state), (first, "failed"))

    def test_another_key_is_computed_anew(self):
        alias = self.alias("Pensa\u200btivo", "pensa\u200btivo")
        row = self.env["manychat.stage.map"].search([], limit=1)
        self.env.cr.execute("UPDATE manychat_stage_map SET label_key = 'x\u200b' WHERE id = %s", [row.id])
        self.env.invalidate_all()
        self.labels.migrate(self.env.cr, "0.2.0")
        self.env.invalidate_all()
        self.assertEqual(alias.label_key, "pensativo")
        self.assertEqual(row.label_key, normalize_label(row.name))


@tagged("post_install", "-at_install")
class TestRules(ManychatCase):
    """0.4.0 gives the rules of companies another form."""

    def test_the_former_rules_are_replaced_and_changed_ones_stay(self):
        rules = script("0.4.0/post-rules.py")
        event, identity = (self.env.ref(name) for name in rules.RULES)
        self.assertEqual({event.domain_force, identity.domain_force}, {rules.NEW})
        event.domain_force = rules.RULES["miasalud_crm.manychat_event_rule_company"]
        identity.domain_force = "[(1, '=', 1)]"
        for _time in range(2):
            rules.migrate(self.env.cr, "0.3.0")
        self.assertEqual((event.domain_force, identity.domain_force), (rules.NEW, "[(1, '=', 1)]"))


@tagged("post_install", "-at_install")
class TestRuleOfBotBuilders(ManychatCase):
    """0.7.0 hides what users decide from bot builders."""

    def test_the_former_rule_is_replaced_and_a_changed_one_stays(self):
        rules = script("0.7.0/post-rules.py")
        rule = self.env.ref("miasalud_crm.manychat_event_rule_builder")
        self.assertEqual(rule.domain_force, rules.NEW)
        for before, after in ((rules.FORMER, rules.NEW), ("[(1, '=', 1)]", "[(1, '=', 1)]")):
            rule.domain_force = before
            for _time in range(2):
                rules.migrate(self.env.cr, "0.6.0")
            self.assertEqual(rule.domain_force, after)


@tagged("post_install", "-at_install")
class TestRefused(ManychatCase):
    """0.5.0 makes refused requests rows of the list of deliveries. Their table of before is made here."""

    def setUp(self):
        super().setUp()
        self.upgrade = script("0.5.0/post-refused.py")
        self.env.cr.execute(
            "CREATE TABLE manychat_rejection (id serial PRIMARY KEY, path varchar, code varchar, message varchar, "
            "problems text, body text, manychat_id varchar, key_name varchar, create_uid int, create_date timestamp, "
            "write_uid int, write_date timestamp)"
        )

    def before(self, path, body, manychat_id=None, problems=None):
        self.env.cr.execute(
            "INSERT INTO manychat_rejection (path, code, message, problems, body, manychat_id, key_name, create_date) "
            "VALUES (%s, 'invalid', 'It is wrong.', %s, %s, %s, 'Bot', '2026-03-02 09:00:00')",
            [path, problems, body, manychat_id],
        )

    def upgraded(self):
        for _time in range(2):  # an upgrade that was interrupted begins again
            self.upgrade.migrate(self.env.cr, "0.4.0")
        self.env.invalidate_all()
        return self.env["manychat.event"].search(REFUSALS, order="id")

    def test_each_refused_request_is_a_row_of_the_log(self):
        path = EventType.CONTACT.spec.path
        self.before(path, '{"manychat_id": "712"}', "712", "state: is required\nmanychat_id: must be a text: no list")
        event = self.upgraded()
        self.assertRecordValues(
            event,
            [
                {
                    "state": "refused",
                    "type": "contact",
                    "manychat_id": "712",
                    "code": "invalid",
                    "message": "It is wrong.",
                    "key_name": "Bot",
                    "received_at": fields.Datetime.to_datetime("2026-03-02 09:00:00"),
                    "problems": [
                        {"field": "state", "message": "is required"},
                        {"field": "manychat_id", "message": "must be a text: no list"},
                    ],
                }
            ],
        )
        sent = {"method": "POST", "path": path, "headers": [], "body": '{"manychat_id": "712"}'}
        self.assertEqual(event.request, sent)
        self.assertFalse(table_exists(self.env.cr, "manychat_rejection"))

    def test_rows_of_before_people_were_noted_get_theirs_or_lose_their_words(self):
        self.before("/somewhere", '{"manychat_id": "0712"}')
        self.before("/somewhere", "Ana llamó")
        self.before("/somewhere", None)
        found, unknown, _empty = self.upgraded()
        self.assertEqual((found.manychat_id, found.request["body"]), ("712", '{"manychat_id": "0712"}'))
        self.assertEqual((unknown.manychat_id, unknown.request["body"]), (False, "xxx xxxxx"))
        self.assertEqual(self.env["manychat.event"].with_user(self.bridge_user).erase("712")["rejections"], 1)

    def test_of_very_many_the_newest_stay(self):
        self.env.cr.execute(
            "INSERT INTO manychat_rejection (path, body, message) "
            "SELECT '/x', '{}', n::text FROM generate_series(1, %s) AS n",
            [KEPT + 50],
        )
        left = self.upgraded()
        self.assertEqual((len(left), left[:1].message, left[-1:].message), (KEPT, "51", str(KEPT + 50)))

    def test_the_table_of_the_first_release_has_fewer_columns(self):
        self.env.cr.execute("ALTER TABLE manychat_rejection DROP COLUMN problems, DROP COLUMN manychat_id")
        self.env.cr.execute("INSERT INTO manychat_rejection (path, body) VALUES ('/x', '{\"manychat_id\": \"712\"}')")
        event = self.upgraded()
        self.assertEqual((event.manychat_id, event.problems), ("712", False))

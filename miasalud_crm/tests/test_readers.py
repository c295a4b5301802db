import ast

from lxml import etree

from odoo.tests import new_test_user, tagged

from .common import ManychatCase, opportunity


@tagged("post_install", "-at_install")
class TestReaders(ManychatCase):
    """Users without a Sales group who may read opportunities: nothing of ours may keep them from it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        groups_field = "user_ids" if "user_ids" in cls.env["res.groups"]._fields else "users"
        cls.doctor = new_test_user(cls.env, "medica", "base.group_user,base.group_allow_export")
        cls.doctors = cls.env["res.groups"].create({"name": "Médicos", groups_field: cls.doctor.ids})
        cls.allow("crm.lead", read=True)
        for model in ("crm.stage", "crm.team", "crm.tag", "crm.lost.reason", "crm.recurring.plan"):
            cls.allow(model, read=True)
        cls.env["ir.model.access"].call_cache_clearing_methods()

    @classmethod
    def allow(cls, model, **rights):
        names = {f"perm_{name}": rights.get(name, False) for name in ("read", "write", "create", "unlink")}
        values = {"name": f"{model} médicos", "model_id": cls.env["ir.model"]._get(model).id, **names}
        cls.env["ir.model.access"].create({**values, "group_id": cls.doctors.id})

    def setUp(self):
        super().setUp()
        self.apply(
            opportunity("MC-A", 17, first_name="Ana", phone="+520000000001", channel="Facebook", summary="Hola"),
            opportunity("MC-B", 18, commercial_advisor_id=700, medical_advisor_id=101),
        )
        self.env["ir.config_parameter"].set_param("miasalud_crm.chat_url", "https://example.com/{manychat_id}")
        self.leads = self.env["crm.lead"].with_user(self.doctor)
        self.mine = self.leads.browse((self.lead("MC-A") | self.lead("MC-B")).ids)
        self.env.invalidate_all()

    def our_fields(self):
        """Our fields that the user may know of, as any client asks for them."""
        known = self.leads.fields_get(attributes=["searchable", "sortable", "groupable", "exportable"])
        ours = {name: about for name, about in known.items() if "manychat" in name}
        self.assertIn("x_manychat_id", ours)
        return ours

    def test_each_of_our_fields_can_be_read_alone_and_together_with_all_others(self):
        for name in self.our_fields():
            self.env.invalidate_all()
            self.mine.read([name])
            self.env.invalidate_all()
            self.mine.web_read({name: {}})
        self.env.invalidate_all()
        # Not those of other apps, which may ask for rights of their own.
        names = [name for name, field in self.leads._fields.items() if field._module in ("crm", "miasalud_crm")]
        values = self.mine.read([name for name in names if self.leads.fields_get([name])])
        self.assertEqual(values[0]["x_manychat_id"], "MC-A")
        self.assertEqual(values[1]["manychat_commercial_advisor_id"][1], "700")

    def test_each_of_our_fields_can_be_searched_sorted_grouped_and_exported(self):
        for name, about in self.our_fields().items():
            field = self.leads._fields[name]
            if about["searchable"]:
                for operator, value in (("!=", False), ("=", False), ("=", "1" if field.type == "char" else 1)):
                    if field.type not in ("datetime",) or value is False:
                        self.leads.search([(name, operator, value)])
            if about.get("sortable") and field.store:
                self.leads.search([("id", "in", self.mine.ids)], order=name)
            if about.get("groupable"):
                groupby = f"{name}:day" if field.type == "datetime" else name
                self.leads._read_group([("id", "in", self.mine.ids)], [groupby], ["__count"])
            self.mine.export_data(["id", name])
        many2ones = [name for name in self.our_fields() if self.leads._fields[name].type == "many2one"]
        for name in many2ones:
            self.assertEqual(len(self.leads.search([(name, "ilike", "")], limit=1)), 1)

    def test_every_view_opens_with_what_it_shows(self):
        views = [
            (False, kind) for kind in ("form", "list", "kanban", "search", "pivot", "graph", "calendar", "activity")
        ]
        answer = self.leads.get_views(views)
        for kind, view in answer["views"].items():
            names = {node.get("name") for node in etree.fromstring(view["arch"]).iter("field")}
            shown = names & self.leads._fields.keys()
            specification = {name: {} for name in shown if "manychat" in name}
            self.env.invalidate_all()
            self.mine.web_read(specification)
            if kind in ("form", "list", "kanban"):
                self.assertIn("x_manychat_id", specification)

    def test_every_filter_of_ours_answers(self):
        arch = etree.fromstring(self.leads.get_views([(False, "search")])["views"]["search"]["arch"])
        filters = [node for node in arch.iter("filter") if "manychat" in (node.get("name") or "")]
        self.assertGreater(len(filters), 4)
        [from_chat] = [node for node in filters if node.get("name") == "manychat"]
        self.assertLessEqual(self.mine, self.leads.search(ast.literal_eval(from_chat.get("domain"))))

    def test_who_may_also_write_and_create_does_so(self):
        self.allow("crm.lead", read=True, write=True, create=True)
        self.mine[0].write({"stage_id": self.stages[21].id})
        self.assertEqual(self.lead("MC-A").stage_id, self.stages[21])
        created = self.leads.create({"name": "A mano", "type": "opportunity", "stage_id": self.stages[22].id})
        self.assertFalse(created.x_manychat_id)
        with_id = self.leads.create({"name": "A mano", "type": "opportunity", "x_manychat_id": "MC-C"})
        with_id.x_manychat_id = "MC-D"
        self.assertEqual(self.lead("MC-D").id, with_id.id)

    def test_a_colleague_whom_a_rule_of_their_own_admits_sees_the_id_that_they_find(self):
        vera, omar = (new_test_user(self.env, login, "sales_team.group_sale_salesman") for login in ("vera", "omar"))
        self.lead("MC-A").user_id = omar
        self.env["ir.rule"].create(
            {
                "name": "Compañeros",
                "model_id": self.env["ir.model"]._get("crm.lead").id,
                "domain_force": "[('user_id.login', '=', 'omar')]",
                "groups": self.env.ref("sales_team.group_sale_salesman").ids,
            }
        )
        self.env.invalidate_all()
        found = self.env["crm.lead"].with_user(vera).search([("x_manychat_id", "=", "MC-A")])
        self.assertEqual(found.x_manychat_id, "MC-A")
        self.assertEqual(found.manychat_event_count, 1)
        self.assertEqual(found.read(["x_manychat_id", "manychat_chat_url"])[0]["x_manychat_id"], "MC-A")
        for name in found.fields_get():
            if "manychat" in name:
                self.env.invalidate_all()
                found.read([name])

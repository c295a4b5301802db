import json

from odoo.tests import HttpCase, new_test_user, tagged

from ..deliveries import REFUSED_PREFIX
from .common import ManychatCase, opportunity

#: The fields of a delivery that tell nothing of a person, an opportunity or a stage.
SHOWN = {
    *("id", "display_name", "create_uid", "create_date", "write_uid", "write_date"),
    *("event_id", "type", "state", "status", "outcome", "code", "reason", "advice", "source", "key_name", "key_prefix"),
    *("received_at", "queued_at", "applied_at", "seconds", "claimed_until", "claimed_by", "next_try_at"),
    *(
        "retries",
        "attempt_count",
        "resends",
        "discard_to_report",
        "correction_id",
        "corrected_ids",
        "is_refusal",
        "is_my_bot",
    ),
    *("my_person", "my_payload", "my_request", "my_answer", "my_message", "my_warnings"),
}
PASSWORD = "prueba-de-permisos"
#: What a bot builder must not find anywhere: a person, words of a conversation, a stage, an opportunity, a salesperson.
SECRETS = ("MC-SECRETO", "Ana Reservada", "me duele la cabeza", "Etapa Confidencial", "Vera Vendedora")


@tagged("post_install", "-at_install")
class TestBotBuilder(HttpCase, ManychatCase):
    """Over RPC, as a program of the bot builder would try it."""

    def setUp(self):
        super().setUp()
        groups = "miasalud_crm.group_bot_builder,base.group_allow_export"
        self.builder = new_test_user(self.env, "construye", groups, password=PASSWORD)
        keys = self.env["manychat.api.key"]
        self.mine = keys._authenticate(keys._generate("Mi bot"))
        self.theirs = keys._authenticate(keys._generate("Bot ajeno"))
        self.mine.builder_ids = self.builder
        self.seller = new_test_user(self.env, "vera", "sales_team.group_sale_salesman", name="Vera Vendedora")
        self.stages[17].name = "Etapa Confidencial"
        self.apply(opportunity("MC-SECRETO", 17, first_name="Ana Reservada", summary="me duele la cabeza"))
        self.lead_of_chat = self.lead("MC-SECRETO")
        self.lead_of_chat.user_id = self.seller
        self.event = self.env["manychat.event"].search([("manychat_id", "=", "MC-SECRETO")])
        self.event.write({"key_prefix": self.theirs.prefix, "key_name": "Bot ajeno", **self.personal("MC-SECRETO")})
        self.refused = self.delivery("a", self.theirs, "MC-SECRETO")
        self.own = self.delivery("b", self.mine, "MC-PROPIA")
        self.env.flush_all()
        self.authenticate("construye", PASSWORD)

    def personal(self, person):
        words = "me duele la cabeza"
        return {
            "warnings": [{"field": "summary", "message": words}],
            "message": words,
            "problems": [{"field": "first_name", "message": f"Ana Reservada: {words}"}],
            "attempts": [{"at": "2026-01-01", "code": "refused", "message": words}],
            "extra": {"x": words},
            "request": {"method": "POST", "path": "/x", "headers": [["X-Name", person]], "body": f"{person} {words}"},
        }

    def delivery(self, number, key, person):
        return self.env["manychat.event"].create(
            {
                "event_id": REFUSED_PREFIX + number * 32,
                "type": "opportunity",
                "state": "refused",
                "code": "invalid",
                "manychat_id": person,
                "source": "odoo",
                "received_at": "2026-03-01 10:00:00",
                "key_name": key.name,
                "key_prefix": key.prefix,
                "payload": {"manychat_id": person, "first_name": "Ana Reservada"},
                **self.personal(person),
            }
        )

    def rpc(self, model, method, *arguments, **keywords):
        """The answer to a call of the web client, or the name of the error."""
        params = {"model": model, "method": method, "args": list(arguments), "kwargs": keywords}
        answer = self.url_open(
            f"/web/dataset/call_kw/{model}/{method}",
            data=json.dumps({"jsonrpc": "2.0", "params": params}),
            headers={"Content-Type": "application/json"},
        ).json()
        if "error" in answer:
            return answer["error"]["data"]["name"]
        return answer["result"]

    def assertRefused(self, answer):
        self.assertIn(answer, ("odoo.exceptions.AccessError",), answer)

    def assertTellsNothing(self, answer):
        for secret in SECRETS:
            self.assertNotIn(secret, json.dumps(answer, ensure_ascii=False), answer)

    def hidden_fields(self):
        """The fields of a delivery that say something about a person, an opportunity or a stage."""
        shown = self.rpc("manychat.event", "fields_get", [], ["type"])
        return sorted(set(self.env["manychat.event"]._fields) - set(shown))

    def test_the_fields_that_tell_are_none_of_theirs(self):
        hidden = self.hidden_fields()
        for name in (
            *("lead_id", "stage_before_id", "stage_after_id", "alias_id", "migration_id", "manychat_id", "payload"),
            *("payload_text", "extra", "extra_text", "request", "message", "problems", "warnings", "warning_text"),
            *("attempts", "occurred_at"),
        ):
            self.assertIn(name, hidden)

    def test_a_field_that_is_added_to_deliveries_is_hidden_until_it_was_thought_of(self):
        shown = set(self.env["manychat.event"]._fields) - set(self.hidden_fields())
        self.assertFalse(
            shown - SHOWN, "does it tell of a person, an opportunity or a stage? See manychat_event_builder.py"
        )

    def test_they_read_every_field_they_have_of_every_delivery_and_learn_nothing_of_other_bots(self):
        names = list(self.rpc("manychat.event", "fields_get", [], ["type"]))
        ids = (self.event | self.refused).ids
        for row in (
            self.rpc("manychat.event", "read", ids, names),
            self.rpc("manychat.event", "search_read", [["id", "in", ids]], names),
            self.rpc("manychat.event", "web_search_read", [["id", "in", ids]], {name: {} for name in names}),
            self.rpc("manychat.event", "web_read", ids, {name: {"fields": {"display_name": {}}} for name in names}),
            self.rpc("manychat.event", "export_data", ids, names),
            self.rpc("manychat.event", "name_search", ""),
        ):
            self.assertNotIsInstance(row, str, row)
            self.assertTellsNothing(row)

    def test_no_hidden_field_is_read_searched_grouped_ordered_or_exported(self):
        for name in self.hidden_fields():
            with self.subTest(field=name):
                ids = self.event.ids
                for answer in (
                    self.rpc("manychat.event", "read", ids, [name]),
                    self.rpc("manychat.event", "web_read", ids, {name: {"fields": {"display_name": {}}}}),
                    self.rpc("manychat.event", "export_data", ids, [name]),
                    self.rpc("manychat.event", "export_data", ids, [f"{name}/name"]),
                ):
                    self.assertTellsNothing(answer)
                    self.assertIsInstance(answer, str)
                if not self.env["manychat.event"]._fields[name].store:
                    continue
                for answer in (
                    self.rpc("manychat.event", "search_count", [[name, "!=", False]]),
                    self.rpc("manychat.event", "search", [[name, "ilike", "a"]]),
                    self.rpc("manychat.event", "search", [], order=name),
                    self.rpc("manychat.event", "read_group", [], [name], [name]),
                    self.rpc("manychat.event", "web_read_group", [], fields=[name], groupby=[name]),
                ):
                    self.assertIsInstance(answer, str, answer)

    def test_no_path_through_the_opportunity_is_open(self):
        for path in ("lead_id.name", "lead_id.user_id.name", "stage_after_id.name", "alias_id.name"):
            answer = self.rpc("manychat.event", "search_count", [[path, "ilike", "a"]])
            self.assertIsInstance(answer, str, path)
            self.assertTellsNothing(self.rpc("manychat.event", "export_data", self.event.ids, [path.replace(".", "/")]))
        for model in ("crm.lead", "manychat.identity", "manychat.stage.map", "manychat.stage.alias", "manychat.funnel"):
            self.assertRefused(self.rpc(model, "search_read", [], ["display_name"]))
        for model in ("manychat.stage.history", "manychat.migration.line", "manychat.wrong.key", "manychat.bridge"):
            self.assertRefused(self.rpc(model, "search_read", [], ["display_name"]))
        self.assertRefused(self.rpc("crm.lead", "name_search", ""))
        self.assertRefused(self.rpc("crm.lead", "web_read", self.lead_of_chat.ids, {"name": {}}))

    def test_of_their_own_bot_they_see_what_was_sent_and_what_is_wrong(self):
        names = [
            "display_name",
            "is_my_bot",
            "my_person",
            "my_payload",
            "my_request",
            "my_message",
            "my_warnings",
            "my_answer",
        ]
        [own] = self.rpc("manychat.event", "read", self.own.ids, names)
        self.assertTrue(own["is_my_bot"])
        self.assertEqual(own["my_person"], "MC-PROPIA")
        self.assertIn("MC-PROPIA", own["display_name"])
        for words in ("POST", "X-Name", "MC-PROPIA me duele la cabeza"):
            self.assertIn(words, own["my_request"])
        self.assertIn("HTTP 422", own["my_answer"])
        self.assertIn("Ana Reservada", own["my_payload"])
        self.assertIn("first_name: Ana Reservada", own["my_message"])
        [other] = self.rpc("manychat.event", "read", self.refused.ids, names)
        self.assertFalse(any(other[name] for name in names[1:]))

    def test_what_is_theirs_cannot_be_searched(self):
        for name in ("my_person", "my_payload", "my_request", "my_message"):
            found, nonsense = (self.rpc("manychat.event", "search", [[name, "ilike", x]]) for x in ("Ana", "zzz"))
            self.assertEqual(found, nonsense, "the answer does not depend on what is sought")
            self.assertIsInstance(self.rpc("manychat.event", "read_group", [], [name], [name]), str)

    def test_they_find_the_deliveries_of_their_bots(self):
        for value, ids in ((True, self.own.ids), (False, (self.event | self.refused).ids)):
            found = self.rpc("manychat.event", "search", [["is_my_bot", "=", value]])
            self.assertEqual(set(found) & set((self.own | self.event | self.refused).ids), set(ids))

    def test_they_write_nothing(self):
        for model, ids in (("manychat.event", self.own.ids), ("manychat.api.key", self.mine.ids)):
            self.assertRefused(self.rpc(model, "write", ids, {"name": "x", "state": "done"}))
            self.assertRefused(self.rpc(model, "unlink", ids))
            self.assertRefused(self.rpc(model, "create", [{}]))
        public = [name for name in dir(type(self.env["manychat.event"])) if name.startswith("action_")]
        self.assertIn("action_retry", public)
        for name in public:
            self.assertIsInstance(self.rpc("manychat.event", name, self.own.ids), str, name)
        for name in ("action_revoke", "action_replace"):
            self.assertRefused(self.rpc("manychat.api.key", name, self.mine.ids))
        for model in ("manychat.api.key.create", "manychat.api.key.replace"):
            self.assertRefused(self.rpc(model, "create", [{}]))
        self.assertRefused(self.rpc("manychat.setup", "checklist"))
        self.assertRefused(self.rpc("manychat.alert", "open_problems"))
        self.env.invalidate_all()
        self.assertEqual(self.own.state, "refused")

    def test_of_keys_they_see_their_own_and_no_secret(self):
        rows = self.rpc(
            "manychat.api.key", "search_read", [], ["name", "state_text", "accepted_today", "refused_today"]
        )
        self.assertEqual([row["name"] for row in rows], ["Mi bot"])
        self.assertIsInstance(self.rpc("manychat.api.key", "read", self.mine.ids, ["digest"]), str)
        self.assertRefused(self.rpc("manychat.api.key", "read", self.theirs.ids, ["name"]))

    def test_they_get_the_requests_to_paste_without_names_of_the_pipeline(self):
        answer = self.rpc("manychat.request", "requests")
        self.assertTellsNothing(answer)
        self.assertFalse(answer["can_create_key"])
        bodies = next(each["bodies"] for each in answer["webhooks"] if each["name"] == "opportunity")
        self.assertEqual(len(bodies), 11)

    def test_a_request_that_they_try_says_nothing_of_the_pipeline(self):
        body = json.dumps({"manychat_id": "MC-1", "state": {"stage_id": 17}})
        result = self.rpc("manychat.request", "try_request", "opportunity", body)
        self.assertEqual(result["status"], 200)
        self.assertTrue(result["answer"]["message"])
        self.assertTellsNothing(result)

    def test_stages_of_another_company_are_not_theirs(self):
        there = self.env["res.company"].create({"name": "Otra Empresa"})
        team = self.env["crm.team"].create({"name": "Lejos", "company_id": there.id})
        self.env["manychat.stage.map"].search([("manychat_stage_id", "=", 18)]).team_id = team
        self.env.flush_all()
        answer = self.rpc("manychat.request", "requests")
        bodies = next(each["bodies"] for each in answer["webhooks"] if each["name"] == "opportunity")
        self.assertEqual(len(bodies), 10)

    def test_their_menu_has_what_is_theirs_and_crm_is_not_in_it(self):
        menus = self.env["ir.ui.menu"].with_user(self.builder).load_menus(False)
        names = {menu["name"] for menu in menus.values()}
        self.assertIn(self.env.ref("miasalud_crm.manychat_builder_menu").id, menus)
        self.assertNotIn(self.env.ref("crm.crm_menu_root").id, menus)
        self.assertIn("Deliveries", names)
        manager = new_test_user(self.env, "jefa", "sales_team.group_sale_manager")
        self.assertNotIn(
            self.env.ref("miasalud_crm.manychat_builder_menu").id,
            self.env["ir.ui.menu"].with_user(manager).load_menus(False),
        )

    def test_every_view_of_theirs_opens(self):
        for name in ("manychat_event_builder_action", "manychat_api_key_builder_action"):
            action = self.env["ir.actions.act_window"].with_user(self.builder)._for_xml_id(f"miasalud_crm.{name}")
            views = [*action["views"], [(action["search_view_id"] or [False])[0], "search"]]
            answer = self.rpc(action["res_model"], "get_views", views)
            self.assertEqual(set(answer["views"]), {kind for _view, kind in views})
        # Whoever opens a delivery by its address gets the form of salespeople, less what is not theirs.
        self.assertNotIn("lead_id", self.rpc("manychat.event", "get_views", [[False, "form"]])["views"]["form"]["arch"])

    def test_the_form_of_a_user_offers_the_role(self):
        group = self.env.ref("miasalud_crm.group_bot_builder")
        place = group.category_id if "category_id" in group._fields else group.privilege_id
        self.assertEqual(place.name, "ManyChat")

    def test_a_salesperson_who_also_builds_bots_sees_no_more_opportunities(self):
        both = new_test_user(
            self.env, "ambos", "miasalud_crm.group_bot_builder,sales_team.group_sale_salesman", password=PASSWORD
        )
        self.assertNotIn(self.event, self.env["manychat.event"].with_user(both).search([]))
        both_keys = self.env["manychat.api.key"].with_user(both).search([])
        self.assertFalse(both_keys)

    def test_a_manager_who_also_builds_bots_keeps_all_keys(self):
        both = new_test_user(self.env, "ambas", "miasalud_crm.group_bot_builder,sales_team.group_sale_manager")
        self.assertLessEqual(self.mine | self.theirs, self.env["manychat.api.key"].with_user(both).search([]))
        self.assertIn(self.event, self.env["manychat.event"].with_user(both).search([]))

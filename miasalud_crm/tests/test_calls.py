import inspect
from contextlib import suppress

from odoo import release
from odoo.addons.web.controllers import dataset
from odoo.exceptions import AccessDenied, AccessError
from odoo.service.model import get_public_method
from odoo.tests import HttpCase, new_test_user, tagged

from .. import rights
from .common import ManychatCase, opportunity

#: Calls that Odoo's own access rights do not refuse: they write as superuser, or (in 18) check no right at all.
HARMFUL = [
    (
        "mail.mail",
        "onchange",
        [[], {"mail_message_id": 1}, ["mail_message_id"], {"mail_message_id": {}, "body_html": {}}],
    ),
    ("res.users", "onchange", [[], {"partner_id": 1}, ["partner_id"], {"partner_id": {}, "email": {}}]),
    ("calendar.attendee", "onchange", [[], {"partner_id": 1}, ["partner_id"], {"partner_id": {}, "email": {}}]),
    ("res.users", "has_group", ["base.group_user"]),
    ("res.users", "context_get", []),
    ("res.config.settings", "get_values", []),
    ("crm.lead", "fields_get", []),
]


def public_methods(registry):
    """Pairs of model and name of all methods that Odoo lets users call from outside."""
    for model_name, cls in registry.items():
        for name, method in inspect.getmembers(cls, callable):
            private = any(getattr(vars(each).get(name), "_api_private", False) for each in cls.mro())
            if not name.startswith("_") and not inspect.isclass(method) and not private:
                yield model_name, name


@tagged("post_install", "-at_install")
class TestMachineCalls(ManychatCase):
    """The machine users' calls: the listed ones, and no other of all that Odoo and its modules offer."""

    def listed(self):
        return rights.LISTED_CALLS["miasalud_crm.group_bridge"]

    def test_of_every_public_method_of_every_model_only_the_listed_ones_may_be_called(self):
        webhook_user = self.env.ref("miasalud_crm.user_webhook")
        for user, expected in ((self.bridge_user, self.listed()), (webhook_user, set())):
            env = self.env(user=user)
            tried, allowed = 0, set()
            for model_name, name in public_methods(self.registry):
                tried += 1
                with suppress(AccessError):
                    get_public_method(env[model_name], name)
                    allowed.add((model_name, name))
                if (model_name, name) not in expected:
                    # With nothing to work on: any other error would come from the method itself.
                    with self.assertRaisesRegex(AccessError, "only make the calls of the ManyChat bridge"):
                        dataset.call_kw(env[model_name], name, [[]], {})
            self.assertGreater(tried, 10_000)
            self.assertEqual(allowed, expected)

    def test_the_list_names_the_methods_that_are_made_for_the_bridge(self):
        made = {
            (model_name, name)
            for model_name, name in public_methods(self.registry)
            if getattr(getattr(self.registry[model_name], name), "is_bridge_only", False)
        }
        self.assertEqual(made, self.listed())
        for model_name, name in made:
            with self.assertRaises(AccessError):
                getattr(self.env[model_name], name)()

    def test_everyone_else_calls_what_they_did(self):
        portal = new_test_user(self.env, "portal", "base.group_portal")
        seller = new_test_user(self.env, "seller", "sales_team.group_sale_salesman")
        # A person may be in the bridge's group, for a trial.
        both = new_test_user(self.env, "both", "base.group_user,miasalud_crm.group_bridge")
        for user in (portal, seller, both, self.env.ref("base.user_root")):
            env = self.env(user=user)
            self.assertIsNone(rights.machine_calls(env))
            get_public_method(env["res.partner"], "onchange")
        self.assertIsNone(rights.machine_calls(self.env(user=self.bridge_user, su=True)))

    def test_a_machine_stays_a_machine_whatever_an_administrator_adds(self):
        groups = self.bridge_user._fields.get("group_ids") or self.bridge_user._fields["groups_id"]
        self.bridge_user[groups.name] |= self.env.ref("base.group_user")
        self.assertEqual(rights.machine_calls(self.env(user=self.bridge_user)), self.listed())

    def test_a_machine_user_opens_no_session(self):
        self.bridge_user.password = "a-password-that-an-administrator-set"
        credential = {
            "login": "manychat_bridge",
            "password": "a-password-that-an-administrator-set",
            "type": "password",
        }
        with self.assertRaises(AccessDenied):
            self.bridge_user.with_user(self.bridge_user)._check_credentials(credential, {"interactive": True})


@tagged("post_install", "-at_install")
class TestMachineRequests(HttpCase):
    """The same over HTTP, with the bridge's key."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.bridge_user = cls.env.ref("miasalud_crm.user_bridge")
        cls.key = cls.env["manychat.api.key"]._generate_bridge_key("Test")

    def jsonrpc(self, model, method, arguments):
        parameters = [self.env.cr.dbname, self.bridge_user.id, self.key, model, method, arguments]
        body = {"jsonrpc": "2.0", "params": {"service": "object", "method": "execute_kw", "args": parameters}}
        return self.opener.post(f"{self.base_url()}/jsonrpc", json=body, timeout=30).json()

    def bearer(self, method, path, **options):
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        return self.opener.request(method, f"{self.base_url()}{path}", headers=headers, timeout=30, **options)

    def test_jsonrpc_and_xmlrpc(self):
        self.assertEqual(self.jsonrpc("crm.lead", "manychat_apply", [[]])["result"], [])
        arguments = [self.env.cr.dbname, self.bridge_user.id, self.key]
        self.assertEqual(self.xmlrpc_object.execute_kw(*arguments, "crm.lead", "manychat_apply", [[]]), [])
        for model, method, parameters in HARMFUL:
            with self.subTest(model=model, method=method):
                error = self.jsonrpc(model, method, parameters)["error"]
                self.assertEqual(error["data"]["name"], "odoo.exceptions.AccessError")
                with self.assertRaisesRegex(Exception, "only make the calls of the ManyChat bridge"):
                    self.xmlrpc_object.execute_kw(*arguments, model, method, parameters)

    def test_routes_that_take_a_key(self):
        for path in ("/json/1/crm.lead", "/json/1/action-base.action_res_users", "/doc-bearer/index.json"):
            self.assertGreaterEqual(self.bearer("GET", path).status_code, 400, path)
        if release.version_info >= (19,):
            allowed = self.bearer("POST", "/json/2/crm.lead/manychat_apply", json={"events": []})
            self.assertEqual((allowed.status_code, allowed.json()), (200, []))
            for model, method, _parameters in HARMFUL:
                self.assertEqual(self.bearer("POST", f"/json/2/{model}/{method}", json={}).status_code, 403)

    def test_a_session_of_a_machine_user_reaches_nothing(self):
        """As a module that lets administrators act as another user would make it."""
        session = self.authenticate(None, None)
        session.update(uid=self.bridge_user.id, login=self.bridge_user.login, db=self.env.cr.dbname)
        session.session_token = self.bridge_user.with_user(self.bridge_user)._compute_session_token(session.sid)
        self.opener.cookies["session_id"] = session.sid
        from odoo.http import root  # pylint: disable=import-outside-toplevel

        root.session_store.save(session)
        body = {"jsonrpc": "2.0", "params": {"model": "res.users", "method": "context_get", "args": [], "kwargs": {}}}
        answer = self.opener.post(f"{self.base_url()}/web/dataset/call_kw", json=body, timeout=30).json()
        self.assertIn("error", answer)
        for path in ("/odoo", "/web/image/res.partner/1/image_128", "/report/html/base.report_irmodeloverview/1"):
            answer = self.opener.get(f"{self.base_url()}{path}", allow_redirects=False, timeout=30)
            self.assertNotEqual(answer.status_code, 200, path)


@tagged("post_install", "-at_install")
class TestOwnMethods(ManychatCase):
    """Each public method of ours, called by users who have nothing to do with it."""

    def own_methods(self):
        prefix = "odoo.addons.miasalud_crm."
        # Guarded by access rights, private, or Odoo's for everybody; ours add what only the right users may see.
        inherited = {"create", "write", "unlink", "default_get", "init", "fields_get", "session_info"}
        # Odoo's, which checks the rights on each record. An id that exists tells nothing.
        inherited |= {"action_unarchive", "message_post", "exists", "load", "run"}
        for model_name, cls in self.registry.items():
            for each in cls.mro():
                for name, method in vars(each).items():
                    own = each.__module__.startswith(prefix) and not each.__module__.startswith(prefix + "tests")
                    if own and inspect.isfunction(method) and not name.startswith("_") and name not in inherited:
                        yield model_name, name, method

    def answers(self, records, name, arguments):
        """Whether the call gets beyond a check of rights: it returns, or fails in another way."""
        try:
            with self.env.cr.savepoint(flush=False):
                answer = getattr(records, name)(*arguments)
        except AccessError:
            return False
        except Exception:  # pylint: disable=broad-except
            return True
        return name != "get_values" or "manychat" in str(answer)  # Odoo's own values are Odoo's matter

    def test_users_without_a_group_get_no_answer(self):
        self.apply(opportunity("MC-A"), opportunity("MC-B", 99))
        self.env.flush_all()
        users = [
            new_test_user(self.env, "portal", "base.group_portal"),
            new_test_user(self.env, "visitor", "base.group_public"),
            new_test_user(self.env, "internal", "base.group_user"),
        ]
        answered, tried = set(), 0
        for user in users:
            for model_name, name, method in self.own_methods():
                model = self.env(user=user)[model_name]
                ids = [] if model._abstract else self.env[model_name].sudo().search([], limit=1).ids
                required = list(inspect.signature(method).parameters.values())[1:]
                arguments = [None for parameter in required if parameter.default is parameter.empty]
                for records in {model, model.browse(ids)}:
                    tried += 1
                    if self.answers(records, name, arguments):
                        answered.add((user.login, model_name, name))
        self.assertGreater(tried, 100)
        # An alert's activity may be anyone's, and internal users may read alerts. They may read advisers too, who stand
        # on opportunities; these two only name a list, whose records have rules of their own.
        expected = {("manychat.alert", "action_view_events")}
        expected |= {("manychat.advisor", name) for name in ("action_open", "action_view_leads")}
        self.assertEqual(answered, {("internal", *method) for method in expected})

    def test_methods_that_make_tables_are_private(self):
        for model_name in ("manychat.event", "manychat.bridge", "manychat.alert", "manychat.api.key"):
            with self.assertRaises(AccessError):
                get_public_method(self.env[model_name], "init")

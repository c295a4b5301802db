from odoo.exceptions import AccessError
from odoo.tests import tagged

from .common import ManychatCase, opportunity


@tagged("post_install", "-at_install")
class TestEventHistory(ManychatCase):
    def get_history(self, **wanted):
        return self.env["manychat.event"].with_user(self.bridge_user).get_history(**wanted)

    def test_the_history_goes_from_its_receipt_to_its_stage_and_where_the_opportunity_is_now(self):
        first, second = opportunity("MC-S", 17), opportunity("MC-S", 18, minutes=1)
        self.apply(first)
        self.apply(second)
        [history] = self.get_history(event_id=first["id"])
        self.assertEqual(
            (history["event_id"], history["type"], history["manychat_id"], history["state"], history["outcome"]),
            (first["id"], "opportunity", "MC-S", "done", "created"),
        )
        self.assertEqual(history["occurred_at"], "2026-03-02T09:00:00+00:00")
        self.assertEqual(history["lead_id"], self.lead("MC-S").id)
        self.assertEqual((history["stage_after"], history["lead_stage"]), (self.stages[17].name, self.stages[18].name))
        self.assertTrue(history["applied_at"])
        self.assertTrue(history["lead_active"])

    def test_the_beginning_of_an_id_finds_it_and_nothing_else(self):
        event = opportunity("MC-S")
        self.apply(event, opportunity("MC-T"))
        self.assertEqual([row["event_id"] for row in self.get_history(event_id=event["id"][:12])], [event["id"]])
        self.assertEqual(self.get_history(event_id="0" * 64), [])
        self.assertEqual(self.get_history(), [])

    def test_the_whole_id_of_a_trace_finds_its_events(self):
        trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        named, own = opportunity("MC-S"), opportunity("MC-T")
        self.apply({**named, "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}, own)
        for trace_id, event in ((trace, named), (own["id"][:32], own)):
            found = [(row["event_id"], row["trace_id"]) for row in self.get_history(event_id=trace_id)]
            self.assertEqual(found, [(event["id"], trace_id)])
        self.assertEqual(self.get_history(event_id=trace[:31]), [])

    def test_a_persons_events_come_newest_first(self):
        events = [opportunity("MC-S", stage, minutes=stage) for stage in (17, 18, 19)]
        for event in events:
            self.apply(event)
        history = self.get_history(manychat_id="MC-S")
        self.assertEqual([each["event_id"] for each in history], [event["id"] for event in reversed(events)])

    def test_personal_data_stays_out(self):
        event = opportunity("MC-S", first_name="Anastasia", phone="+520000000001", summary="Algo privado")
        self.apply(event)
        for text in ("Anastasia", "520000000001", "privado"):
            self.assertNotIn(text, str(self.get_history(event_id=event["id"])))

    def test_bridges_that_showed_themselves_lately_are_alive(self):
        bridges = self.env["manychat.bridge"].with_user(self.bridge_user)
        bridges.heartbeat("lately/1", "1.2.3")
        bridges.heartbeat("long ago/2", "1.2.3")
        gone = bridges.sudo().search([("name", "=", "long ago/2")])
        gone.last_seen = "2026-01-01 00:00:00"
        self.env.flush_all()
        alive = {bridge["name"]: bridge for bridge in bridges.get_active()}
        self.assertNotIn("long ago/2", alive)
        self.assertEqual(alive["lately/1"]["version"], "1.2.3")
        self.assertLess(alive["lately/1"]["seconds"], 60)

    def test_a_bridge_that_signs_off_ends_at_once_and_a_killed_one_when_it_has_been_silent(self):
        bridges = self.env["manychat.bridge"].with_user(self.bridge_user)
        bridges.sudo().search([]).unlink()
        for name in ("stays/1", "stops/2", "killed/3"):
            bridges.heartbeat(name, "1.2.3")
        bridges.sudo().search([("name", "=", "killed/3")]).last_seen = "2026-01-01 00:00:00"
        bridges.sign_off("stops/2")
        bridges.sign_off("unknown/4")
        self.env.flush_all()
        self.assertEqual([bridge["name"] for bridge in bridges.get_active()], ["stays/1"])
        ended = [(bridge["name"], bridge["stopped"]) for bridge in bridges.get_ended()]
        self.assertEqual(ended, [("stops/2", True), ("killed/3", False)])
        # A process in a container has the same name after its restart.
        bridges.heartbeat("stops/2", "1.2.4")
        self.env.invalidate_all()
        self.assertEqual({bridge["name"] for bridge in bridges.get_active()}, {"stays/1", "stops/2"})
        self.assertEqual([bridge["name"] for bridge in bridges.get_ended()], ["killed/3"])

    def test_only_the_bridge_may_ask(self):
        for model, method, *arguments in (
            ("manychat.event", "get_history"),
            ("manychat.bridge", "get_active"),
            ("manychat.bridge", "get_ended"),
            ("manychat.bridge", "sign_off", "host/1"),
        ):
            with self.subTest(method), self.assertRaises(AccessError):
                getattr(self.env[model].with_user(self.env.ref("base.user_admin")), method)(*arguments)

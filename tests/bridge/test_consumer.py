"""Events on a real queue through a real bridge process into a real database; only Odoo is a stand-in."""

from __future__ import annotations

import base64
import signal

import pytest

from bridge.circuit_breaker import CircuitBreaker
from bridge.contract.payloads import CONTACT_QUEUE, OPPORTUNITY_QUEUE, EventType

from .conftest import World, contact, eventually, make, stage


def test_contact_event_is_stored_and_audited_and_odoo_is_not_called(world: World) -> None:
    event = contact("MC99999", canal_entrada="Facebook", datetime_actual="2025-06-10T10:05:00Z")
    world.send(event)
    world.start_bridge()

    assert world.settle(event) == ["stored"]
    [row] = world.rows("contacts")
    assert (row.manychat_id, row.first_name, row.last_state) == ("MC99999", "Ana", "Nuevo Lead")
    assert [state.state for state in world.rows("contact_states")] == ["Nuevo Lead"]
    assert [channel.name for channel in world.rows("channels")] == ["Facebook"]
    [audit] = world.rows("audit")
    assert audit.received_at <= audit.started_at <= audit.finished_at
    assert audit.attempts == 1
    assert audit.queue == CONTACT_QUEUE
    assert world.odoo.calls == []


def test_campaign_events_for_an_unknown_contact_are_kept(world: World) -> None:
    assignment = make(EventType.CAMPAIGN_ASSIGNMENT, "MC1", campaign_id=85, comercial_id="700", medico_id="101")
    update = make(EventType.CAMPAIGN_CONTACT, "MC1", last_state="Asignado a médico")
    world.send(assignment, update)
    world.start_bridge()

    assert world.settle(assignment, update) == ["stored", "stored"]
    [row] = world.rows("campaign_contacts")
    assert (row.campaign_id, row.commercial_advisor_id, row.medical_advisor_id) == (85, 700, 101)
    assert row.last_state == "Asignado a médico"


@pytest.mark.parametrize("odoo", [18, 19], indirect=True, ids=["Odoo 18 by jsonrpc", "Odoo 19 by json/2"])
def test_opportunity_event_creates_then_moves_and_both_outcomes_are_written_back(world: World) -> None:
    first, second = stage(stage_id=16, minute=1), stage(stage_id=17, minute=2)
    world.start_bridge()
    world.send(first)
    world.settle(first)
    world.send(second)

    assert world.settle(first, second) == ["created", "moved"]
    [row] = world.rows("opportunities")
    assert (row.odoo_sync_status, row.lead_id, row.last_error) == ("success", 1, None)
    assert row.stage == "Recién Suscrito Pendiente AC"
    history = [(move.stage_from, move.stage_to) for move in world.rows("opportunity_stages")]
    assert history == [(None, "Recién Suscrito Sin Asignar"), ("Recién Suscrito Sin Asignar", row.stage)]
    [_, audit] = world.rows("audit")
    assert (audit.lead_id, audit.stage_before, audit.stage_after) == (1, history[0][1], row.stage)


def test_a_batch_is_one_call_to_odoo(world: World) -> None:
    events = [stage(f"MC{number}") for number in range(20)]
    world.send(*events)
    world.start_bridge()

    assert world.settle(*events) == ["created"] * 20
    assert [len(call) for call in world.odoo.calls] == [20]


def test_the_same_event_twice_has_one_effect_and_one_audit_row(world: World) -> None:
    event = stage()
    world.send(event, event)
    world.start_bridge()
    world.settle(event)
    world.send(event)
    eventually(lambda: world.bridges[0].lines("event_duplicate"))
    world.settle(event)

    assert world.odoo.moves == [("MC1", "Recién Suscrito Sin Asignar")]
    assert len(world.rows("audit")) == len(world.rows("opportunity_stages")) == 1
    assert world.rows("audit")[0].attempts == 1


def test_an_older_event_that_comes_late_leaves_the_newer_ones_data(world: World) -> None:
    newer, older = stage(stage_id=25, minute=9), stage(stage_id=16, minute=1)
    world.start_bridge()
    world.send(newer)
    world.settle(newer)
    world.send(older)

    assert world.settle(newer, older) == ["created", "stale"]
    [row] = world.rows("opportunities")
    assert (row.stage, row.manychat_stage_id, row.event_id) == ("Comienza Cotización", 25, newer.id)


def test_an_old_producers_bare_payload_is_accepted(world: World) -> None:
    world.queues[CONTACT_QUEUE].send(
        '{"manychat_id": 42, "nombre_lead": "Ana", "datetime_actual": "2025-06-10T10:05:00Z"}'
    )
    world.start_bridge()

    eventually(lambda: [row.outcome for row in world.rows("audit")] == ["stored"])
    assert [row.manychat_id for row in world.rows("contacts")] == ["42"]
    assert [row.source for row in world.rows("audit")] == ["queue"]


def test_only_the_queues_asked_for_are_consumed(world: World) -> None:
    taken, left = contact(), stage()
    world.send(taken, left)
    # Contacts need no Odoo, not even a configured one.
    world.start_bridge("--queue", "contact", odoo_url="")
    eventually(lambda: world.outcomes(taken) == ["stored"])

    assert world.bridges[0].terminate() == 0
    assert world.queues[OPPORTUNITY_QUEUE].depth() == 1


def test_what_another_transaction_kept_from_being_applied_is_called_again_uncounted(world: World) -> None:
    world.odoo.troubles["MC1"] = "retry once"
    event, neighbour = stage("MC1"), stage("MC2")
    world.send(event, neighbour)
    world.start_bridge()

    assert world.settle(event, neighbour) == ["created", "created"]
    assert {row.attempts for row in world.rows("audit")} == {1}


def test_what_stays_contended_comes_again_and_no_attempt_is_counted(world: World) -> None:
    world.odoo.troubles["MC1"] = "retry"
    event = stage("MC1")
    world.send(event)
    world.start_bridge(max_attempts=1)
    eventually(lambda: world.bridges[0].lines("event_conflict"))
    world.odoo.troubles.clear()

    assert world.settle(event) == ["created"]
    assert [row.attempts for row in world.rows("audit")] == [1]


def test_sigterm_finishes_the_batch_in_hand_and_exits_0(world: World) -> None:
    world.odoo.troubles["MC0"] = "slow"
    events = [stage(f"MC{number}") for number in range(5)]
    world.send(*events)
    bridge = world.start_bridge()
    eventually(lambda: world.odoo.calls, "Odoo is called")

    assert bridge.terminate() == 0
    assert world.settle(*events) == ["created"] * 5
    assert [line["code"] for line in bridge.lines("stopped")] == ["asked"]


def test_ctrl_c_stops_an_idle_bridge(world: World) -> None:
    bridge = world.start_bridge()
    eventually(lambda: world.odoo.heartbeats)
    bridge.process.send_signal(signal.SIGINT)

    assert bridge.process.wait(30) == 0


def test_a_batch_slower_than_its_visibility_timeout_keeps_its_lease(world: World) -> None:
    world.odoo.troubles["MC0"] = "slow"  # 4 seconds
    event = stage("MC0")
    world.send(event)
    first = world.start_bridge(visibility_timeout=2)
    second = world.start_bridge(visibility_timeout=2)

    assert world.settle(event) == ["created"]
    assert [len(bridge.lines("event_applied")) for bridge in (first, second)] in ([1, 0], [0, 1])
    assert len(world.odoo.calls) == 1


def test_the_bridge_shows_odoo_that_it_is_alive(world: World) -> None:
    world.start_bridge()

    assert eventually(lambda: world.odoo.heartbeats)[0].keys() == {"name", "version"}


def test_no_personal_data_and_no_secret_in_the_log(world: World) -> None:
    person = {"first_name": "Anastasia", "last_name": "Garcíalonso", "phone": "+34611222333"}
    world.odoo.troubles["MC2"] = "fault"
    world.odoo.troubles["MC3"] = "refused"
    events = [
        make(EventType.OPPORTUNITY, f"MC{number}", state={"stage_id": 16, "summary": "Tiene fiebre"}, **person)
        for number in range(1, 4)
    ]
    events.append(contact("MC4", nombre_lead="Anastasia", email_lead="anastasia@example.com"))
    world.send(*events)
    world.queues[CONTACT_QUEUE].send(base64.b64encode(b'{"manychat_id": {}, "whatsapp": "+34611222333"}').decode())
    bridge = world.start_bridge(max_attempts=1, log_level="DEBUG")
    world.settle(*events)
    eventually(lambda: bridge.lines("message_unreadable"))
    bridge.terminate()

    log = bridge.log.read_text()
    assert {line["event"] for line in bridge.lines()} >= {"event_applied", "event_dead_lettered", "message_unreadable"}
    for secret in (
        "Anastasia",
        "García",
        "611222333",
        "example.com",
        "fiebre",
        "600 000 000",
        world.odoo.key,
        "AccountKey",
    ):
        assert secret not in log
    assert not [line for line in bridge.lines() if "dropped" in line]


def test_lines_about_an_event_name_it(world: World) -> None:
    event = stage("MC7")
    world.send(event)
    bridge = world.start_bridge()
    world.settle(event)

    [line] = bridge.lines("event_applied")
    assert (line["event_id"], line["manychat_id"], line["outcome"], line["lead_id"]) == (event.id, "MC7", "created", 1)


def test_a_dependency_that_fails_right_after_a_good_probe_is_probed_less_often() -> None:
    import threading

    from bridge.errors import Outage

    class Waits(threading.Event):
        def __init__(self) -> None:
            super().__init__()
            self.waited: list[float] = []

        def wait(self, timeout: float | None = None) -> bool:
            self.waited.append(timeout or 0)
            return False

    stop = Waits()
    dependency = CircuitBreaker("SQL", lambda: None)
    for _ in range(5):
        assert dependency.wait_until_closed(stop)
        dependency.trip(Outage("full"))
    assert dependency.wait_until_closed(stop)
    assert stop.waited == sorted(stop.waited)
    assert stop.waited[-1] > stop.waited[0] > 0

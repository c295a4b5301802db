"""What /metrics of a real bridge tells after real events; only Odoo is a stand-in."""

from __future__ import annotations

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from bridge.contract.payloads import CONTACT_QUEUE, DEAD_LETTER_QUEUE, OPPORTUNITY_QUEUE
from bridge.store import pauses

from .conftest import Bridge, World, contact, eventually, free_port, stage


class Scraped:
    """One answer of /metrics."""

    def __init__(self, bridge: Bridge):
        self.port = eventually(lambda: bridge.lines("metrics_served"))[0]["port"]
        answer = requests.get(f"http://127.0.0.1:{self.port}/metrics", timeout=10)
        assert answer.status_code == 200
        self.text = answer.text
        self.samples = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples of that name that have these labels."""
        found = [each.value for each in self.samples if each.name == name and labels.items() <= each.labels.items()]
        assert found, (name, labels)
        return sum(found)


def start(world: World, **settings: object) -> Bridge:
    return world.start_bridge(metrics_port=free_port(), **settings)


def test_events_are_counted_by_type_and_outcome_and_timed_to_the_end(world: World) -> None:
    first, second, person = stage(stage_id=16, minute=1), stage(stage_id=17, minute=2), contact("MC2")
    bridge = start(world)
    world.send(first, person)
    world.settle(first, person)
    world.send(second)
    world.settle(second)
    scraped = Scraped(bridge)

    assert scraped.value("miasalud_events_total", type="opportunity", outcome="created") == 1
    assert scraped.value("miasalud_events_total", type="opportunity", outcome="moved") == 1
    assert scraped.value("miasalud_events_total", type="contact", outcome="stored") == 1
    assert scraped.value("miasalud_event_latency_seconds_count", type="opportunity") == 2
    assert 0 < scraped.value("miasalud_event_latency_seconds_sum", type="opportunity") < 60
    for hop in ("outbox", "queue", "bridge"):
        assert scraped.value("miasalud_event_hop_seconds_count", queue=OPPORTUNITY_QUEUE, hop=hop) == 2
    assert scraped.value("miasalud_batch_messages_sum", queue=OPPORTUNITY_QUEUE) == 2
    assert scraped.value("miasalud_odoo_request_seconds_count", method="manychat_apply", result="ok") == 2
    assert scraped.value("miasalud_sql_transaction_seconds_count", result="ok") > 0
    assert scraped.value("miasalud_last_success_timestamp_seconds", queue=CONTACT_QUEUE) > 1e9
    assert [scraped.value("miasalud_dependency_up", dependency=name) for name in ("sql", "queue", "odoo")] == [1, 1, 1]
    assert scraped.value("miasalud_bridge_info") == 1


@pytest.mark.parametrize("batch_size", [32, 1], ids=["copies in one batch", "copies in batches of their own"])
def test_failures_are_counted_by_reasons_of_ours_only(world: World, batch_size: int) -> None:
    world.odoo.troubles["MC2"] = "refused"
    unmapped, refused = stage("MC1", stage_id=99), stage("MC2")
    # Copies of one message are one failure, whichever batches they come in.
    world.send(unmapped, unmapped, refused, refused)
    world.queues[CONTACT_QUEUE].send("no event")
    bridge = start(world, max_attempts=2, batch_size=batch_size)
    world.settle(unmapped, refused)
    eventually(lambda: len(world.rows("dead_letters")) == 3)
    scraped = eventually(
        lambda: (got := Scraped(bridge)).value("miasalud_dead_letters_open") == 3 and got, "the look is renewed"
    )

    for reason in ("unmapped_stage", "refused", "not_json"):
        assert scraped.value("miasalud_dead_lettered_total", reason=reason) == 1
        assert scraped.value("miasalud_dead_letters_open", reason=reason) == 1
    # So that an alert on its rise has a value to rise from.
    assert scraped.value("miasalud_dead_letters_open", reason="crashed") == 0
    assert scraped.value("miasalud_event_retries_total", type="opportunity", reason="refused") == 1
    assert scraped.value("miasalud_events_total", type="unreadable", outcome="dead_lettered") == 1
    assert scraped.value("miasalud_queue_messages", queue=DEAD_LETTER_QUEUE) == 3


def test_an_event_that_comes_again_is_counted_apart(world: World) -> None:
    event = stage()
    bridge = start(world)
    world.send(event)
    world.settle(event)
    world.send(event)
    eventually(lambda: bridge.lines("event_duplicate"))
    assert Scraped(bridge).value("miasalud_events_total", type="opportunity", outcome="duplicate") == 1


def test_depth_age_lag_and_pause_are_looked_up_at_the_scrape(world: World) -> None:
    with world.engine.begin() as connection:
        pauses.pause(connection, [OPPORTUNITY_QUEUE])
    world.send(stage("MC1"), stage("MC2"))
    bridge = start(world)
    eventually(lambda: bridge.lines("queue_paused"))
    scraped = eventually(
        lambda: (got := Scraped(bridge)).value("miasalud_path_lag_seconds", queue=OPPORTUNITY_QUEUE) > 0 and got
    )
    assert scraped.value("miasalud_queue_messages", queue=OPPORTUNITY_QUEUE) == 2
    assert scraped.value("miasalud_queue_oldest_message_age_seconds", queue=OPPORTUNITY_QUEUE) > 0
    assert scraped.value("miasalud_queue_oldest_message_age_seconds", queue=CONTACT_QUEUE) == 0
    assert scraped.value("miasalud_queue_paused", queue=OPPORTUNITY_QUEUE) == 1
    assert scraped.value("miasalud_queue_paused", queue=CONTACT_QUEUE) == 0
    assert scraped.value("miasalud_probe_success", dependency="queue") == 1


def test_an_outage_shows_and_the_scrape_still_answers(world: World) -> None:
    event = stage()
    bridge = start(world)
    world.send(event)
    world.settle(event)
    world.odoo.stop()
    world.send(stage(stage_id=17, minute=1))
    eventually(lambda: bridge.lines("dependency_down"))
    scraped = Scraped(bridge)
    assert scraped.value("miasalud_dependency_up", dependency="odoo") == 0
    assert scraped.value("miasalud_dependency_up", dependency="sql") == 1
    assert scraped.value("miasalud_outages_total", dependency="odoo") == 1
    world.odoo.start()
    eventually(lambda: bridge.lines("dependency_up"))
    assert Scraped(bridge).value("miasalud_outage_seconds_total", dependency="odoo") > 0


def test_the_scrape_answers_while_the_queue_hangs(world: World, hanging_server: str) -> None:
    """The bridge cannot start its consumers, and yet tells what it does know."""
    bridge = start(world, queue_connection_string=hanging_server)
    scraped = Scraped(bridge)
    assert scraped.value("miasalud_probe_success", dependency="queue") == 0
    assert scraped.value("miasalud_probe_success", dependency="sql") == 1
    assert "miasalud_queue_messages{" not in scraped.text


def test_health_answers_and_other_paths_do_not(world: World) -> None:
    bridge = start(world)
    address = f"http://127.0.0.1:{Scraped(bridge).port}"
    assert requests.get(f"{address}/health", timeout=10).json() == {"status": "ok"}
    assert requests.get(f"{address}/anything", timeout=10).status_code == 404


@pytest.mark.parametrize("host", ["nonsense.invalid", "192.0.2.1"], ids=["no host", "of another machine"])
def test_a_wrong_address_for_the_metrics_is_not_blamed_on_the_port(world: World, host: str) -> None:
    bridge = world.start_bridge(metrics_port=free_port(), metrics_host=host)
    (line,) = eventually(lambda: bridge.lines("metrics_not_served"))
    assert "BRIDGE_METRICS_HOST" in line["reason"]
    assert bridge.terminate() == 0


def test_two_bridges_on_one_machine_take_two_ports(world: World) -> None:
    port = free_port()
    bridges = [world.start_bridge(metrics_port=port) for _ in range(2)]
    ports = {Scraped(bridge).port for bridge in bridges}
    assert len(ports) == 2
    assert port in ports
    assert [bridge.terminate() for bridge in bridges] == [0, 0]


def test_no_personal_data_becomes_a_label(world: World) -> None:
    world.odoo.troubles["MC-77"] = "fault"
    events = [stage("MC-77", phone="+34611222333"), contact("MC-78", nombre_lead="Anastasia")]
    world.send(*events)
    bridge = start(world, max_attempts=1)
    world.settle(*events)
    scraped = Scraped(bridge)
    for secret in ("MC-77", "MC-78", "611222333", "Anastasia", "600 000 000", events[0].id[:12], world.odoo.key):
        assert secret not in scraped.text


@pytest.mark.parametrize("port", ["", "0"])
def test_metrics_are_off_unless_asked_for(world: World, port: str) -> None:
    bridge = world.start_bridge(metrics_port=port)
    eventually(lambda: world.odoo.heartbeats)
    assert not bridge.lines("metrics_served")

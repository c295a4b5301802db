"""Spans: the real SDK, and a collector that decodes what it sends. Only Odoo is a stand-in."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from bridge import spans
from bridge.contract.event import Event

from ..collector import Collector, collecting
from .api import Api
from .conftest import ROOT, World, contact, eventually, stage

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
NAMED = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


def switch_on(world: World, collector: Collector) -> None:
    # Quick: the SDK's own five seconds are no part of what is tested.
    world.environment.update(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="50")


def named(event: Event) -> Event:
    return replace(event, traceparent=NAMED)


def test_an_event_is_one_trace_from_its_queue_to_odoo(world: World, collector: Collector) -> None:
    switch_on(world, collector)
    event = named(stage("MC1", phone="+34611222333"))
    world.send(event)
    bridge = world.start_bridge()
    world.settle(event)
    eventually(lambda: "bridge" in {span.name for span in collector.spans(TRACE)})

    found = collector.spans()
    assert {span.trace_id for span in found} == {TRACE}
    assert {span.parent_id for span in found} == {SPAN}
    assert {span.service for span in found} == {"miasalud-bridge"}
    assert [span.name for span in found if span.name != "SQL"] == ["queue", "bridge", "RPC"]
    assert len([span for span in found if span.name == "SQL"]) >= 3
    assert {span.attributes["miasalud.event_id"] for span in found} == {event.id}
    by_name = {span.name: span for span in found}
    assert by_name["RPC"].attributes["miasalud.method"] == "manychat_apply"
    assert by_name["bridge"].attributes["miasalud.outcome"] == "created"
    assert not any(span.failed for span in found)
    assert all(span.started <= span.ended for span in found)
    for personal in ("MC1", "611222333", "Ana", "INSERT", "SELECT"):
        assert personal not in str([span.attributes for span in found])

    lines = [line for line in bridge.lines() if line.get("event_id") == event.id]
    assert {line["trace_id"] for line in lines} == {TRACE}


def test_a_batch_is_part_of_the_trace_of_each_of_its_events(world: World, collector: Collector) -> None:
    switch_on(world, collector)
    events = [contact(f"MC{number}") for number in range(5)]
    world.send(*events)
    world.start_bridge("--queue", "contact")
    world.settle(*events)
    for event in events:
        eventually(lambda: "bridge" in {span.name for span in collector.spans(event.id[:32])})  # noqa: B023
        own = collector.spans(event.id[:32])
        assert {span.attributes["miasalud.event_id"] for span in own} == {event.id}
        assert {"queue", "SQL", "bridge"} == {span.name for span in own}


def test_a_call_that_odoo_refuses_is_a_failed_span(world: World, collector: Collector) -> None:
    switch_on(world, collector)
    world.odoo.troubles["MC1"] = "fault"
    event = named(stage("MC1"))
    world.send(event)
    world.start_bridge(max_attempts=1)
    world.settle(event)
    eventually(lambda: "RPC" in {span.name for span in collector.spans(TRACE)})
    calls = [span for span in collector.spans(TRACE) if span.name == "RPC"]
    assert all(span.failed and span.attributes["miasalud.result"] == "refused" for span in calls)


def test_a_collector_that_is_away_delays_no_event(world: World, collector: Collector) -> None:
    world.environment.update(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    events = [contact(f"MC{number}") for number in range(40)]
    world.send(*events)
    bridge = world.start_bridge("--queue", "contact")
    assert world.settle(*events) == ["stored"] * 40
    assert bridge.terminate() == 0


@pytest.mark.parametrize(
    ("modules", "what"),
    [
        ("bridge.worker.process, bridge.cli.app", "opentelemetry"),
        # FastAPI itself imports OpenTelemetry's interface, which does nothing without the SDK.
        ("bridge.api.app", "opentelemetry.sdk"),
        ("bridge.api.app", "opentelemetry.exporter"),
    ],
)
def test_off_nothing_of_opentelemetry_is_imported(modules: str, what: str) -> None:
    program = (
        f"import sys; import {modules}; from bridge import spans; assert not spans.are_on(); "
        f"print([name for name in sys.modules if name.startswith({what!r})])"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize("more", [{}, {"OTEL_SDK_DISABLED": "true", spans.ADDRESSES[0]: "http://127.0.0.1:9"}])
def test_spans_are_on_only_if_the_environment_names_a_collector(
    more: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in spans.ADDRESSES:
        monkeypatch.delenv(name, raising=False)
    for name, value in more.items():
        monkeypatch.setenv(name, value)
    spans._exporter.cache_clear()
    try:
        assert not spans.are_on()
    finally:
        spans._exporter.cache_clear()


def test_the_standby_begins_the_trace_of_an_event(
    api: Api, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(spans.ADDRESSES[0], collector.url)
    spans._exporter.cache_clear()
    try:
        body = {"manychat_id": "MC1", "nombre_lead": "Ana"}
        answer = api("POST", "/api/v1/manychat/webhook/contact", body, key="webhook")
        event_id = answer.json()["event_id"]
        assert answer.headers["X-Request-Id"] == event_id[:32]
        spans.flush()
        [span] = [span for span in collector.spans(event_id[:32]) if span.name == "webhook"]
        assert span.parent_id == ""
        # Of a sender that is traced, the request is part of the sender's trace.
        body["nombre_lead"] = "Eva"
        api("POST", "/api/v1/manychat/webhook/contact", body, key="webhook", headers={"traceparent": NAMED})
        spans.flush()
        [span] = [span for span in collector.spans(TRACE) if span.name == "webhook"]
        assert span.parent_id == SPAN
        # A sender that records nothing is respected.
        body["nombre_lead"] = "Lea"
        unrecorded = f"00-{TRACE[::-1]}-{SPAN}-00"
        api("POST", "/api/v1/manychat/webhook/contact", body, key="webhook", headers={"traceparent": unrecorded})
        spans.flush()
        assert collector.spans(TRACE[::-1]) == []
    finally:
        spans._exporter.cache_clear()

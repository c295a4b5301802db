"""Spans: the real SDK, and a collector that decodes what it sends. Only Odoo is a stand-in."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bridge import spans
from bridge.contract.event import Event

from ..collector import Collector, collecting, tree
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
    event = named(stage("MC1", phone="+34611222333", channel="Fuente-Reservada", ad_id="Anuncio-9"))
    world.send(event)
    bridge = world.start_bridge()
    world.settle(event)
    eventually(lambda: "bridge" in {span.name for span in collector.spans(TRACE)})

    found = collector.spans()
    assert {span.trace_id for span in found} == {TRACE}
    assert {span.service for span in found} == {"miasalud-bridge"}
    grown = tree(found)
    # The queue is told apart from the program, and what the program asks of others is below it.
    assert {span.parent_id for span in found if span.name in grown[""]} == {SPAN}
    assert grown.keys() == {"", "bridge"}
    assert grown[""] == ["bridge", "queue"]
    assert [name for name in grown["bridge"] if name != "SQL"] == ["RPC"]
    assert grown["bridge"].count("SQL") >= 3
    assert {span.attributes["miasalud.event_id"] for span in found} == {event.id}
    by_name = {span.name: span for span in found}
    assert by_name["RPC"].attributes["miasalud.method"] == "manychat_apply"
    assert by_name["bridge"].attributes["miasalud.outcome"] == "created"
    assert not any(span.failed for span in found)
    assert all(span.started <= span.ended for span in found)
    # Nothing of it is in what was sent, wherever in it a span could have it.
    sent = b"".join(collector.bodies)
    secret = [world.environment["BRIDGE_ODOO_API_KEY"], world.environment["BRIDGE_QUEUE_CONNECTION_STRING"]]
    for personal in ("MC1", "611222333", "Ana", "Fuente-Reservada", "Anuncio-9", "INSERT", "SELECT", "http:", *secret):
        assert personal.encode() not in sent

    lines = [line for line in bridge.lines() if line.get("event_id") == event.id]
    assert {line["trace_id"] for line in lines} == {TRACE}


def test_a_batch_is_in_the_trace_of_each_of_its_events_and_links_them(world: World, collector: Collector) -> None:
    switch_on(world, collector)
    events = [stage(f"MC{number}") for number in range(32)]
    world.send(*events)
    bridge = world.start_bridge("--queue", "opportunity")
    world.settle(*events)
    eventually(lambda: len([span for span in collector.spans() if span.name == "bridge"]) == 32)
    assert bridge.terminate() == 0
    own = {event.id: collector.spans(event.id[:32]) for event in events}
    for event_id, spans_of_it in own.items():
        assert {span.attributes["miasalud.event_id"] for span in spans_of_it} == {event_id}
        grown = tree(spans_of_it)
        # Its sender named no trace, and exported nothing: the trace begins at the queue.
        assert (grown[""], grown["queue"]) == (["queue"], ["bridge"])
        assert set(grown["bridge"]) == {"SQL", "RPC"}
        [queue] = [span for span in spans_of_it if span.name == "queue"]
        assert (queue.parent_id, queue.span_id) == ("", event_id[32:48])
    assert sum(len(each) for each in own.values()) == len(collector.spans()), "and there is nothing else"

    shared = [span for span in collector.spans() if span.name == "RPC" and span.attributes["miasalud.events"] == 32]
    assert len(shared) == 32
    assert len({(span.started, span.attributes["miasalud.method"]) for span in shared}) == 1
    [first] = [span for span in shared if len(span.links) == 31]
    bridges = {(span.trace_id, span.span_id) for span in collector.spans() if span.name == "bridge"}
    assert set(first.links) == {each for each in bridges if each[0] != first.trace_id}
    assert all(span.links == [(first.trace_id, first.span_id)] for span in shared if span is not first)


def test_a_message_that_comes_again_is_in_the_same_trace(world: World, collector: Collector) -> None:
    switch_on(world, collector)
    event = named(stage("MC1"))
    world.send(event)
    bridge = world.start_bridge()
    world.settle(event)
    world.send(event)
    eventually(lambda: len([span for span in collector.spans() if span.name == "bridge"]) == 2)
    assert bridge.terminate() == 0
    assert {span.trace_id for span in collector.spans()} == {TRACE}
    grown = tree(collector.spans())
    assert grown[""] == ["bridge", "bridge", "queue"]
    first, again = [span for span in collector.spans() if span.name == "bridge"]
    assert (first.attributes["miasalud.outcome"], again.attributes["miasalud.outcome"]) == ("created", "duplicate")
    assert "RPC" not in [span.name for span in collector.spans() if span.parent_id == again.span_id]


def test_each_attempt_is_a_span_of_its_own(world: World, collector: Collector) -> None:
    switch_on(world, collector)
    world.odoo.troubles["MC1"] = "fault"
    event = named(stage("MC1"))
    world.send(event)
    bridge = world.start_bridge()
    eventually(lambda: bridge.lines("event_retried"))
    world.odoo.troubles.clear()
    world.settle(event)
    eventually(lambda: "created" in {span.attributes.get("miasalud.outcome") for span in collector.spans(TRACE)})
    assert bridge.terminate() == 0
    attempts = [span for span in collector.spans(TRACE) if span.name == "bridge"]
    assert [(span.failed, span.attributes.get("miasalud.code")) for span in attempts[:-1]] == [(True, "refused")] * (
        len(attempts) - 1
    )
    assert (attempts[-1].failed, attempts[-1].attributes["miasalud.outcome"]) == (False, "created")
    assert attempts[-1].attributes["miasalud.attempts"] == len(attempts) > 1


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


def test_without_the_extra_nothing_is_exported_and_every_event_is_applied(
    world: World, collector: Collector, tmp_path: Path
) -> None:
    switch_on(world, collector)
    # Python takes this package for the one that is not installed.
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").write_text("raise ImportError('not installed')")
    environment = {**os.environ, **world.environment, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    event = named(stage("MC1"))
    world.send(event)
    with open(tmp_path / "log", "wb") as log:
        # A start from nothing: the other bridges here are copies of a process that has imported everything.
        command = [sys.executable, "-m", "bridge", "run"]
        bridge = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=log, stderr=log)
        try:
            assert world.settle(event) == ["created"]
        finally:
            bridge.terminate()
            assert bridge.wait(60) == 0
    assert "install the extra miasalud-bridge[otel]" in (tmp_path / "log").read_text()
    assert collector.bodies == []


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


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_BSP_SCHEDULE_DELAY", "0"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5000"),
        # The SDK reads it with the first tracer only.
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many"),
    ],
)
def test_a_variable_that_opentelemetry_does_not_take_fails_no_event_and_is_named_in_the_log(
    api: Api, variable: str, value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(spans.ADDRESSES[0], "http://127.0.0.1:9")
    monkeypatch.setenv(variable, value)
    spans._exporter.cache_clear()
    try:
        for number in range(2):
            body = {"manychat_id": f"MC{number}", "nombre_lead": "Ana"}
            api("POST", "/api/v1/manychat/webhook/contact", body, key="webhook", status=200)
        assert not spans.are_on()
    finally:
        spans._exporter.cache_clear()
    [said] = [record.getMessage() for record in caplog.records if record.name == "bridge.spans"]
    assert said.startswith("No spans are exported: OpenTelemetry does not take one of its variables OTEL_…: ")


def test_a_collector_that_does_not_answer_keeps_no_process_from_its_end() -> None:
    program = (
        "from datetime import datetime, timezone; from bridge import spans; "
        "subject = spans.Subject('1' * 64, '00-' + '1' * 32 + '-' + '1' * 16 + '-01'); "
        "spans.waited(subject, 'queue', datetime.now(timezone.utc)); print('done', flush=True)"
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        environment = {**os.environ, spans.ADDRESSES[0]: address, "OTEL_EXPORTER_OTLP_TIMEOUT": "60"}
        command = [sys.executable, "-c", program]
        with subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE) as process:
            assert process.stdout
            assert process.stdout.readline() == b"done\n"
            # The SDK alone waits half a minute.
            assert process.wait(20) == 0
            silent.settimeout(1)
            silent.accept()[0].close()  # it did try


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

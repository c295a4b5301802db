"""Dashboard and alert rules in deploy/monitoring ask for metrics that there are, and a real Prometheus answers."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

import bridge.api.request_metrics  # noqa: F401 (its metrics join the others)
from bridge.contract.payloads import EventType
from bridge.metrics import REGISTRY
from bridge.monitoring.exporter import HealthCollector
from bridge.monitoring.probes import ALL_QUEUES, CheckResult, HealthSnapshot, QueueHealth, SqlHealth
from bridge.store.snapshot import StoreSnapshot

from ..manychat_stand_in import TOKEN, ManyChatStandIn
from ..webhook_cases import CONTACT
from .conftest import ROOT, Cli, World, contact, eventually, free_port, make, stage
from .process import ApiProcess, api_process
from .test_metrics import Scraped
from .write_back import RULES

MONITORING = ROOT / "deploy" / "monitoring"
#: What Prometheus itself adds.
ITS_OWN = {"up": {"job", "instance"}}


@dataclass(frozen=True)
class Query:
    """:ivar expression: with nothing of Grafana's left in it"""

    asked_by: str
    expression: str


def dashboard() -> list[Query]:
    panels = json.loads((MONITORING / "grafana-dashboard.json").read_text())["panels"]
    return [
        Query(panel["title"], target["expr"].replace("$__rate_interval", "1m"))
        for panel in panels
        for target in panel["targets"]
    ]


def rules() -> list[Query]:
    groups = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    return [Query(rule["alert"], rule["expr"]) for group in groups for rule in group["rules"]]


#: The samples of a metric, by its kind.
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",), "info": ("_info",)}


def offered() -> dict[str, set[str]]:
    """The labels of every sample that a bridge exports, by its name."""
    sql = CheckResult("ok", value=SqlHealth("sqlite", "1", StoreSnapshot({}, {}, {}, 0)))
    queues = {name: CheckResult("ok", value=QueueHealth(0, None)) for name in ALL_QUEUES}
    health = HealthCollector(Stub(HealthSnapshot(queues=queues, sql=sql, odoo=None)))  # type: ignore[arg-type]
    names: dict[str, set[str]] = {name: set(labels) for name, labels in ITS_OWN.items()}
    for collector in (*REGISTRY._collector_to_names, health):
        for family in collector.collect():
            labels = {"job", "instance", *getattr(collector, "_labelnames", ())}
            labels |= {label for sample in family.samples for label in sample.labels}
            for suffix in SUFFIXES[family.type]:
                names[family.name + suffix] = labels | {"le"} if suffix == "_bucket" else labels
    return names


class Stub:
    """Stands in for the checks, since only names matter here."""

    def __init__(self, seen: HealthSnapshot):
        self._seen = seen

    def run(self, *_: Any) -> HealthSnapshot:
        return self._seen


@pytest.mark.parametrize("query", [*dashboard(), *rules()], ids=lambda query: query.asked_by)
def test_every_query_asks_for_metrics_and_labels_that_there_are(query: Query) -> None:
    names = offered()
    selectors = re.findall(r"\b((?:miasalud|process|python)_\w+|up)\b(?:\{([^}]*)\})?", query.expression)
    assert selectors
    available: set[str] = set()
    for name, matchers in selectors:
        assert name in names, f"no such metric: {name}"
        assert set(re.findall(r"(\w+)\s*[=!]", matchers)) <= names[name]
        available |= names[name]
    for grouped in re.findall(r"\bby \(([^)]*)\)", query.expression):
        assert {label.strip() for label in grouped.split(",")} <= available


def test_every_metric_of_ours_is_on_the_dashboard_or_left_out_on_purpose() -> None:
    shown = " ".join(query.expression for query in [*dashboard(), *rules()])
    # For people who read /metrics: the version, and what only explains another number.
    left_out = {"miasalud_bridge", "miasalud_outages", "miasalud_reconciled", "miasalud_events_unfinished"}
    metrics = {re.sub(r"_(total|bucket|sum|count|info)$", "", name) for name in offered()}
    assert {name for name in metrics - left_out if name.startswith("miasalud_") and name not in shown} == set()


def _prometheus(program: str) -> str:
    folder = os.environ.get("PROMETHEUS")
    found = str(Path(folder) / program) if folder else shutil.which(program)
    if not found:
        pytest.skip("no Prometheus here: `make test-bridge` fetches Debian's where it can")
    return found


def test_the_rules_fire_when_they_should_and_only_then() -> None:
    promtool = _prometheus("promtool")
    for command in (["check", "config", "prometheus.yml"], ["check", "rules", "alerts.yml"]):
        assert _run(promtool, *command) == ""
    assert _run(promtool, "test", "rules", "alerts_test.yml") == ""
    names = {test["alertname"] for group in _tests() for test in group.get("alert_rule_test", [])}
    names |= set(re.findall(r"Miasalud\w+", (MONITORING / "alerts_test.yml").read_text()))
    assert {query.asked_by for query in rules()} <= names


def _run(*command: str) -> str:
    """What it complains of; empty if nothing."""
    done = subprocess.run(command, cwd=MONITORING, check=False, capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr if done.returncode else ""


def _tests() -> list[dict[str, Any]]:
    return list(yaml.safe_load((MONITORING / "alerts_test.yml").read_text())["tests"])


class Prometheus:
    """A real one, with the configuration of deploy/monitoring, that scrapes each second."""

    def __init__(self, program: str, folder: Path, targets: dict[str, str]):
        """:param targets: host and port, by job"""
        configuration = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
        configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s", "scrape_timeout": "1s"}
        configuration["rule_files"] = [str(MONITORING / name) for name in configuration["rule_files"]]
        for job in configuration["scrape_configs"]:
            job["static_configs"][0]["targets"] = [targets[job["job_name"]]]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        with (folder / "prometheus.log").open("w") as log:
            self.process = subprocess.Popen(
                [
                    program,
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'prometheus'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=log,
                stderr=log,
                cwd=folder,
            )

    def ask(self, expression: str) -> list[float]:
        """The values of its answer; an answer of NaN is none."""
        try:
            answer = requests.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=10)
        except requests.ConnectionError:
            return []
        assert answer.status_code in (200, 503), answer.text
        if answer.status_code == 503:
            return []
        values = [float(sample["value"][1]) for sample in answer.json()["data"]["result"]]
        return [value for value in values if math.isfinite(value)]


@pytest.fixture
def api(world: World) -> Iterator[ApiProcess]:
    with api_process(world.environment, world.folder) as api:
        yield api


@pytest.fixture
def prometheus(world: World, api: ApiProcess, manychat: ManyChatStandIn, tmp_path: Path) -> Iterator[Prometheus]:
    program = _prometheus("prometheus")
    world.odoo.told = {"settings": {"write_back": RULES}}
    settings = {"manychat_api_token": TOKEN, "manychat_api_url": manychat.url}
    bridge = world.start_bridge(metrics_port=free_port(), max_attempts=2, **settings)
    targets = {"miasalud-bridge": Scraped(bridge).port, "miasalud-api": api.port}
    server = Prometheus(program, tmp_path, {job: f"127.0.0.1:{port}" for job, port in targets.items()})
    yield server
    server.process.terminate()
    server.process.wait(30)


def test_a_real_prometheus_answers_every_panel_with_data(
    world: World, cli: Cli, api: ApiProcess, prometheus: Prometheus
) -> None:
    for job in ("miasalud-bridge", "miasalud-api"):
        eventually(lambda job=job: prometheus.ask(f'up{{job="{job}"}} == 1'), f"{job} is scraped")
    headers = {"X-API-KEY": cli("key", "create", "Bot", "--scope", "webhook").stdout.strip()}
    world.odoo.troubles["MC-refused"] = "refused"
    # Twice, with scrapes between: a rate needs two values.
    for minute in (1, 2):
        events = [
            contact("MC1", datetime_actual=f"2025-06-10T10:0{minute}:00Z"),
            make(EventType.CAMPAIGN_ASSIGNMENT, "MC1", campaign_id=85, medico_id=101 + minute),
            stage("MC1", stage_id=15 + minute, minute=minute),
            stage("MC-unmapped", stage_id=99, minute=minute),
            stage("MC-refused", minute=minute),
        ]
        world.send(*events)
        sent = {"manychat_id": "MC2", "datetime_actual": f"2025-06-10T10:0{minute}:00Z"}
        # The first time until the API has read the key.
        eventually(lambda sent=sent: api.request(*CONTACT, json=sent, headers=headers).status_code == 200)
        world.settle(*events)
        ended = (len(events) + 1) * minute
        for counted, number in {
            'miasalud_events_total{job="miasalud-bridge"}': ended,
            'miasalud_webhook_requests_total{answer="accepted"}': minute,
        }.items():
            query = f"sum({counted}) >= {number}"
            eventually(lambda query=query: prometheus.ask(query), query)

    answers = {}
    for query in dashboard():
        answers[query] = eventually(lambda query=query: prometheus.ask(query.expression), str(query))
    for query, values in answers.items():
        print(f"{query.asked_by} | {query.expression} | {', '.join(f'{value:.4g}' for value in values[:6])}")
    loaded = requests.get(f"{prometheus.url}/api/v1/rules", timeout=10).json()["data"]["groups"]
    assert {rule["name"] for group in loaded for rule in group["rules"]} == {query.asked_by for query in rules()}
    assert {rule["health"] for group in loaded for rule in group["rules"]} == {"ok"}

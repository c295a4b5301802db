"""The command line as an operator meets it: real processes, a real queue, a real database."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from bridge import __version__
from bridge.contract.payloads import CONTACT_QUEUE, OPPORTUNITY_QUEUE

from .conftest import Cli, World, eventually, stage
from .process import api_process


def test_help_names_every_command(cli: Cli) -> None:
    result = cli.start("--help")
    assert result.returncode == 0
    for command in (
        *("run", "check", "status", "trace", "send", "pause", "resume", "reconcile", "erase", "purge", "dlq", "db"),
    ):
        assert command in result.stdout
    assert cli("--version").stdout.strip() == __version__


def test_check_has_one_line_per_dependency_and_succeeds_when_all_answer(cli: Cli, world: World) -> None:
    result = cli.start("check")
    assert result.returncode == 0
    lines = [line.split()[:2] for line in result.stdout.splitlines()]
    assert lines == [["ok", "queue"], ["ok", "SQL"], ["ok", "Odoo"], ["ok", "API"]]
    findings = [json.loads(line) for line in cli("check", "--json").stdout.splitlines()]
    assert [(each["dependency"], each["ok"]) for each in findings] == [(name, True) for _, name in lines]
    # A check is not a bridge: Odoo must not think that one is alive.
    assert world.odoo.heartbeats == []


def test_check_says_what_to_do_and_fails(cli: Cli, world: World) -> None:
    world.odoo.stop()
    result = cli("check", database_url="postgresql+psycopg://nobody@127.0.0.1:9/nothing", queue_connection_string="")
    assert result.returncode == 1
    queue, sql, odoo, _api = result.stdout.splitlines()
    assert "FAILED queue" in queue
    assert "BRIDGE_QUEUE_CONNECTION_STRING" in queue
    assert "FAILED SQL" in sql
    assert "BRIDGE_DATABASE_URL" in sql
    assert "FAILED Odoo" in odoo
    assert "BRIDGE_ODOO_URL" in odoo


def test_check_tells_a_wrong_key_from_a_server_that_is_away(cli: Cli, world: World) -> None:
    assert "BRIDGE_ODOO_API_KEY" in cli("check", odoo_api_key="wrong").stdout


def test_check_knows_the_api_from_another_program_at_its_port(cli: Cli) -> None:
    with api_process(cli.environment, cli.folder) as api:
        (line,) = [line for line in cli("check", api_port=str(api.port)).stdout.splitlines() if " API " in line]
    assert line.startswith("ok")
    assert "it answers" in line
    other = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    (line,) = [line for line in cli("check", api_port=str(other.server_port)).stdout.splitlines() if " API " in line]
    other.shutdown()
    other.server_close()
    assert line.startswith("FAILED")
    assert "BRIDGE_API_PORT" in line


def test_run_names_what_is_missing(cli: Cli) -> None:
    result = cli.start("run", queue_connection_string="")
    assert result.returncode == 2
    assert "BRIDGE_QUEUE_CONNECTION_STRING" in result.stderr
    result = cli("run", "--queue", "opportunity", odoo_url="", odoo_api_key="")
    assert result.returncode == 2
    assert "BRIDGE_ODOO_URL" in result.stderr
    assert "BRIDGE_ODOO_API_KEY" in result.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("queue_connection_string", "nonsense"),
        ("database_url", "nonsense"),
        ("database_url", "oracle+nothing://x/y"),
        ("batch_size", "64"),
    ],
)
def test_run_names_what_is_wrong(cli: Cli, name: str, value: str) -> None:
    result = cli("run", **{name: value})
    assert result.returncode == 2
    assert f"BRIDGE_{name.upper()}" in result.stderr


def test_the_embedded_database_is_made_at_the_start_also_by_two_bridges_at_once(cli: Cli, world: World) -> None:
    bridges = [world.start_bridge(database_url="sqlite:///fresh.db") for _ in range(2)]
    eventually(lambda: len(world.odoo.heartbeats) == 2, "both work")
    assert [bridge.terminate() for bridge in bridges] == [0, 0]
    assert cli("db", "current", database_url="sqlite:///fresh.db").returncode == 0


def test_db_upgrade_downgrade_current_and_sql(cli: Cli) -> None:
    url = {"database_url": "sqlite:///own.db"}
    assert cli.start("db", "current", **url).returncode == 1
    assert "from none to revision" in cli.start("db", "upgrade", **url).stdout
    assert cli("db", "current", **url).returncode == 0
    assert "already" in cli("db", "upgrade", **url).stdout
    assert cli("db", "downgrade", "base", stdin="n\n", **url).returncode == 1
    assert cli("db", "current", **url).returncode == 0
    assert cli.start("db", "downgrade", "base", "--yes", **url).returncode == 0
    assert cli("db", "current", **url).returncode == 1
    assert "CREATE TABLE opportunities" in cli.start("db", "sql", **url).stdout


def test_dead_letters_are_listed_and_replayed_by_filter(cli: Cli, world: World) -> None:
    unmapped = [stage(f"MC{number}", stage_id=99) for number in range(3)]
    world.send(*unmapped)
    world.queues[CONTACT_QUEUE].send("no event")
    world.start_bridge()
    world.settle(*unmapped)
    eventually(lambda: len(world.rows("dead_letters")) == 4)

    assert "4 dead letters" in cli.start("dlq", "list").stdout
    assert "1 dead letter." in cli("dlq", "list", "--reason", "not_json").stdout
    assert "3 dead letters" in cli("dlq", "list", "--queue", "opportunity").stdout
    listed = [
        json.loads(line) for line in cli("dlq", "list", "--json", "--reason", "unmapped_stage").stdout.splitlines()
    ]
    assert {letter["event_id"] for letter in listed} == {event.id for event in unmapped}
    first = str(listed[0]["id"])

    world.odoo.stages[99] = "Nueva etapa"
    assert "Would replay 1" in cli("dlq", "replay", "--id", first, "--dry-run").stdout
    assert world.queues[OPPORTUNITY_QUEUE].depth() == 0
    assert "Replayed 1." in cli("dlq", "replay", "--id", first).stdout
    assert "Replayed 2." in cli("dlq", "replay", "--reason", "unmapped_stage").stdout
    eventually(lambda: world.outcomes(*unmapped) == ["created"] * 3)
    assert "1 dead letter." in cli("dlq", "list").stdout
    assert "4 dead letters" in cli("dlq", "list", "--all").stdout
    assert [row.status for row in world.rows("dead_letters")].count("resolved") == 3


@pytest.fixture
def webhook() -> Iterator[Any]:
    """A server that STANDS IN FOR THE WEBHOOK: accepts what has the right key, and keeps what it got."""
    got: list[tuple[str, str, dict[str, Any]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self._answer()

        def do_PUT(self) -> None:
            self._answer()

        def _answer(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            accepted = self.headers["X-API-KEY"] == "right"
            got.append((self.command, self.path, body))
            answer = {"status": "error", "code": "unauthorized"}
            if accepted:
                answer = {"status": "accepted", "event_id": "e1", "warnings": []}
            self.send_response(200 if accepted else 401)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    server.got = got  # type: ignore[attr-defined]
    server.url = f"http://127.0.0.1:{server.server_address[1]}"  # type: ignore[attr-defined]
    yield server
    server.shutdown()
    server.server_close()


def test_send_guesses_the_type_from_the_fields_and_prints_the_answer(cli: Cli, webhook: Any, tmp_path: Path) -> None:
    payloads = {
        ("POST", "/api/v1/manychat/webhook/contact"): {"manychat_id": "1", "nombre_lead": "Ana"},
        ("POST", "/api/v1/manychat/webhook/campaign-assignment"): {
            "manychat_id": "1",
            "campaign_id": 1,
            "medico_id": 2,
        },
        ("PUT", "/api/v1/manychat/campaign-contacts/update-by-manychat-id"): {"manychat_id": "1", "last_state": "x"},
        ("POST", "/api/v1/manychat/webhook/crm-opportunity"): {"manychat_id": "1", "state": {"stage_id": 17}},
    }
    for payload in payloads.values():
        (tmp_path / "payload.json").write_text(json.dumps(payload))
        result = cli("send", "payload.json", "--url", webhook.url, "--key", "right")
        assert result.returncode == 0
        assert json.loads(result.stdout)["event_id"] == "e1"
    assert webhook.got == [(*route, payload) for route, payload in payloads.items()]


def test_send_reads_standard_input_and_the_settings(cli: Cli, webhook: Any) -> None:
    payload = '{"manychat_id": "1", "state": {"stage_id": 17}}'
    assert cli.start("send", "-", stdin=payload, webhook_url=webhook.url, webhook_key="right").returncode == 0
    refused = cli("send", "-", stdin=payload, webhook_url=webhook.url, webhook_key="wrong")
    assert refused.returncode == 1
    assert "unauthorized" in refused.stdout
    assert "BRIDGE_WEBHOOK_KEY" in cli("send", "-", stdin=payload).stderr
    assert "--type" in cli("send", "-", stdin='{"manychat_id": "1"}', webhook_key="right").stderr
    nobody = cli("send", "-", stdin=payload, webhook_url="http://127.0.0.1:9", webhook_key="right")
    assert nobody.returncode == 2
    assert "http://127.0.0.1:9" in nobody.stderr

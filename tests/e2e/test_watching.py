"""What an operator sees of the running system: trace, status and the metrics of a real bridge."""

import json
import subprocess
from typing import Any

import requests

from bridge.contract.payloads import OPPORTUNITY_QUEUE
from deploy.local.stack import PYTHON
from deploy.local.supervision import own_environment
from tests.world import Chat, World


def command(world: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m bridge` as an operator calls it in the stack's folder, where its .env is."""
    words = [str(PYTHON), "-m", "bridge", *arguments]
    environment = own_environment() | {"COLUMNS": "80"}
    done = subprocess.run(
        words, check=False, cwd=world.stack.folder, env=environment, capture_output=True, text=True, timeout=120
    )
    print(done.stdout, done.stderr)
    return done


def trace(world: World, event_id: str) -> dict[str, Any]:
    done = command(world, "trace", event_id, "--json")
    assert done.returncode == 0
    return json.loads(done.stdout)


def test_an_events_story_goes_from_the_webhook_to_the_opportunity(world: World, chat: Chat) -> None:
    first, second = chat.enters(17), chat.enters(18, 1)
    world.settled(first, second)
    story = trace(world, second)
    assert next(step["where"] for step in story["timeline"]) == "webhook"
    assert {"queue", "bridge", "Odoo", "SQL"} <= {step["where"] for step in story["timeline"]}
    assert story["conclusion"].startswith("Done: ")
    assert story["odoo"]["lead_id"] == story["opportunity"]["lead_id"] == chat.lead["id"]
    assert story["odoo"]["lead_stage"] == chat.stage
    assert story["unreachable"] == {}

    told = command(world, "trace", second[:12])
    assert told.returncode == 0
    assert second in told.stdout
    assert chat.stage in told.stdout
    assert "Prueba" not in told.stdout
    listed = command(world, "trace", chat.manychat_id)
    assert listed.returncode == 0
    assert {first[:12], second[:12]} <= set(listed.stdout.split())


def test_an_event_that_was_given_up_says_why_and_what_to_do(world: World, chat: Chat) -> None:
    event_id = chat.enters(f"Etapa {chat.manychat_id}")
    world.settled(event_id)
    story = trace(world, event_id)
    assert story["dead_letter"]["code"] == "unmapped_stage"
    assert "Stage Aliases" in story["conclusion"]


def test_an_unknown_event_is_said_to_be_unknown(world: World) -> None:
    done = command(world, "trace", "0" * 64)
    assert done.returncode == 1
    assert "Searched: Odoo, SQL, queue" in done.stderr


def test_status_tells_that_all_is_well_and_which_bridges_are_alive(world: World, chat: Chat) -> None:
    world.settled(chat.enters(17))
    world.eventually(lambda: json.loads(command(world, "status", "--json").stdout)["bridges"])
    done = command(world, "status", "--json")
    report = json.loads(done.stdout)
    assert {name: told["status"] for name, told in report["dependencies"].items()} == dict.fromkeys(
        ("queue", "sql", "odoo"), "ok"
    )
    path = next(path for path in report["paths"] if path["queue"] == OPPORTUNITY_QUEUE)
    assert path["latency_seconds"]["p50"] is not None
    assert done.returncode == (report["status"] != "ok")
    shown = command(world, "status")
    # A notice is one line, for grep; a terminal wraps it.
    assert max(len(line) for line in shown.stdout.splitlines() if not line.startswith("! ")) <= 80
    assert "crm-opportunities" in shown.stdout


def test_both_bridges_serve_metrics(world: World, chat: Chat) -> None:
    world.settled(chat.enters(17))
    address = world.stack.metrics_url.removesuffix("/metrics")
    host, port = address.rsplit(":", 1)

    def served() -> list[str]:
        texts = []
        for offset in range(10):
            try:
                texts.append(requests.get(f"{host}:{int(port) + offset}/metrics", timeout=10).text)
            except requests.ConnectionError:
                continue
        return [text for text in texts if "miasalud_bridge_info" in text]

    assert len(world.eventually(lambda: (texts := served()) and len(texts) == 2 and texts)) == 2
    assert any('miasalud_event_latency_seconds_count{type="opportunity"}' in text for text in served())

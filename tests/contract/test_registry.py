"""The registry of event types is the only list of them: a made-up type appears everywhere, or its absence is loud."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.contract import webhook
from bridge.contract.payloads import DEAD_LETTER_QUEUE, QUEUES, WEBHOOKS, EventQueue, EventType
from deploy.proxy.paths import TEMPLATE

ROOT = Path(__file__).parents[2]
PAYLOADS = Path("bridge/contract/payloads.py")
HANDLERS = Path("bridge/worker/handlers/__init__.py")

#: What a developer writes for a new type with a queue of its own: file, text in it, text to put before that.
MODEL = (
    PAYLOADS,
    "\nModel = type[Payload]\n",
    """
class MadeUp(Payload):
    invented: Label = None

    @property
    def date(self) -> datetime | None:
        return None

""",
)
QUEUE = (PAYLOADS, "\n\n#: Names in Azure", '    MADE_UP = "made-up", "made-up-queue"\n')
SPEC = (
    PAYLOADS,
    "\n    @property\n    def queue(self)",
    """
    MADE_UP = EventSpec(
        type="made_up_type",
        queue=EventQueue.MADE_UP,
        model=MadeUp,
        method="POST",
        path="/api/v1/manychat/webhook/made-up",
        title="Something was made up",
        label="Made Up",
        example={"manychat_id": "MC1", "invented": "x"},
    )
""",
)
HANDLER = (HANDLERS, "}\n# A bridge must not", '    QUEUES["made-up"]: QueueHandler(contact.handle),\n')


class Copy:
    """A copy of the product with changes, run in processes of its own."""

    def __init__(self, folder: Path, *changes: tuple[Path, str, str]):
        self.folder = folder
        for name in ("bridge", "deploy/proxy"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for file, before, lines in changes:
            text = (folder / file).read_text()
            assert text.count(before) == 1, (file, before)
            (folder / file).write_text(text.replace(before, lines + before))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder), "COLUMNS": "200", "TERM": "dumb"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    return Copy(tmp_path_factory.mktemp("copy"), MODEL, QUEUE, SPEC, HANDLER)


def test_a_bridge_without_a_handler_for_a_queue_does_not_start(tmp_path: Path) -> None:
    ended = Copy(tmp_path, MODEL, QUEUE, SPEC).run("-m", "bridge", "run")
    assert ended.returncode != 0
    assert "These queues have no handler: made-up" in ended.stderr


def test_a_new_type_is_known_to_the_whole_bridge(copy: Copy) -> None:
    ended = copy.run("-c", _LOOK)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == {
        "watched": ["made-up-queue"],
        "read from its queue": "made_up_type",
        "guessed by `send`": "made_up_type",
        "standby": [["/api/v1/manychat/webhook/made-up", ["POST"], "Something was made up"]],
        "key needed": "webhook",
        "described": ["MadeUpEvent"],
        "counted": True,
        "on the command line": ["run", "pause", "reconcile", "dlq list", "dlq replay", "send"],
    }


_LOOK = """
import json
from datetime import datetime, timezone
from bridge.api import auth, openapi, webhooks
from bridge.cli import app, send
from bridge.contract.event import decode
from bridge.contract.payloads import EventType
from bridge.metrics import REGISTRY
from bridge.monitoring import probes
from fastapi import FastAPI
from typer.testing import CliRunner

api = FastAPI()
api.include_router(webhooks.router)
openapi.describe(api)
path = "/api/v1/manychat/webhook/made-up"
body = '{"manychat_id": "MC1", "invented": "x"}'
event = decode(body, queue="made-up-queue", inserted_at=datetime.now(timezone.utc))
options = {**dict.fromkeys(["run", "pause", "reconcile", "dlq list", "dlq replay"], "made-up"), "send": "made_up_type"}
print(json.dumps({
    "watched": [name for name in probes.PATHS if "made" in name],
    "read from its queue": event.type.value,
    "guessed by `send`": send.guess_type({"manychat_id": "MC1", "invented": "x"}).value,
    "standby": [[r.path, sorted(r.methods), r.summary] for r in webhooks.router.routes if r.path == path],
    "key needed": next(r for r in webhooks.router.routes if r.path == path).scope_for("POST").value,
    "described": [name for name in api.openapi()["components"]["schemas"] if name.startswith("Made")],
    "counted": REGISTRY.get_sample_value(
        "miasalud_events_total", {"type": "made_up_type", "outcome": "dead_lettered"}) == 0.0,
    "on the command line": [
        command for command, word in options.items()
        if word in CliRunner().invoke(app.app, [*command.split(), "--help"]).output],
}))
"""


def test_a_new_type_is_in_the_proxy(copy: Copy) -> None:
    ended = copy.run("-c", "from deploy.proxy.paths import template; print(template(), end='')")
    assert ended.returncode == 0, ended.stderr
    before, path = TEMPLATE.read_text(), "|/api/v1/manychat/webhook/made-up"
    assert path in ended.stdout
    assert ended.stdout.replace(path, "") == before


def test_the_proxy_answers_as_the_webhooks_do() -> None:
    text = TEMPLATE.read_text()
    for error in (webhook.unavailable(), webhook.too_large()):
        assert f"return {error.status} '{json.dumps(error.body)}';" in text


def test_types_queues_and_paths_are_written_nowhere_else() -> None:
    words = [
        *(each.spec.path for each in WEBHOOKS),
        *QUEUES.values(),
        DEAD_LETTER_QUEUE,
        # The other types' names are words of many meanings.
        EventType.CAMPAIGN_ASSIGNMENT.value,
        EventType.CAMPAIGN_CONTACT.value,
    ]
    written = re.compile("|".join(rf"[\"']{re.escape(word)}[\"']" for word in words))
    for folder in ("bridge", "miasalud_crm"):
        for file in (ROOT / folder).rglob("*.py"):
            if file != ROOT / PAYLOADS and "tests" not in file.parts:
                assert not written.search(file.read_text()), file


def test_each_queue_has_a_type_and_types_differ_in_their_paths() -> None:
    assert {each.spec.queue for each in EventType} == set(EventQueue)
    assert len({each.spec.path for each in WEBHOOKS}) == len(WEBHOOKS)
    assert not set(QUEUES.values()) & {DEAD_LETTER_QUEUE}

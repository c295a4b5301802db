"""What bridge and addon agree on: the alert rules say the same, and Odoo can load what it shares with the bridge."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import yaml

from bridge.api.audit import AuditQuery
from bridge.contract import keys
from bridge.contract.agreements import HEARTBEAT_INTERVAL, SILENT_AFTER, STUCK_AFTER
from bridge.contract.outcomes import ErrorCode, EventOutcome
from bridge.results import DESCRIPTIONS

ROOT = Path(__file__).parents[2]


def test_the_alert_rules_have_the_same_times() -> None:
    groups = yaml.safe_load((ROOT / "deploy/monitoring/alerts.yml").read_text())["groups"]
    rules = {rule["alert"]: rule for group in groups for rule in group["rules"]}
    assert rules["MiasaludNoBridge"]["for"] == f"{SILENT_AFTER.total_seconds() / 60:g}m"
    limit = re.search(r"miasalud_path_lag_seconds\) > (\d+) ", rules["MiasaludEventsStuck"]["expr"])
    assert limit
    assert int(limit[1]) == STUCK_AFTER.total_seconds()


def test_one_lost_heartbeat_is_no_silence() -> None:
    assert SILENT_AFTER > 2 * HEARTBEAT_INTERVAL


def test_every_code_of_a_dead_letter_is_described() -> None:
    only_in_odoo = {ErrorCode.DISCARDED, ErrorCode.ERASED}
    assert DESCRIPTIONS.keys() == set(ErrorCode) - only_in_odoo - {ErrorCode.WRONG_ENDPOINT}


def test_the_api_filters_by_every_outcome() -> None:
    outcomes, _none = get_args(AuditQuery.model_fields["outcome"].annotation)
    assert set(get_args(outcomes)) == {"open", *EventOutcome}


def test_a_key_tells_its_kind_and_hides_its_rest() -> None:
    key = keys.new_key()
    assert key.startswith("mck_")
    assert len(key) > keys.PREFIX_LENGTH + 30
    assert keys.prefix(key) == key[:12]
    # Stored keys must stay valid.
    assert keys.digest("mck_a") == "99a480825fc800b78f8d007e31788ecc29303743d15148efd44e6fac51e10168"


def test_the_queue_client_is_light_enough_for_odoo() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, bridge.queue; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    names = set(loaded.stdout.split())
    light = (
        "queue",
        "queue.account",
        "queue.client",
        "queue.creation",
        "queue.errors",
        "queue.login",
        "queue.messages",
        "queue.requests",
    )
    light += ("errors", "setting_value", "connection_string", "identity")
    light += ("contract", "contract.sentences")
    assert {name for name in names if name.startswith("bridge")} == {"bridge", *(f"bridge.{name}" for name in light)}
    assert not {"azure", "pydantic", "requests", "sqlalchemy"} & names


def test_no_model_of_the_addon_knows_azure() -> None:
    for file in (ROOT / "miasalud_crm").rglob("*.py"):
        if "tests" in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [name.name for name in node.names] if isinstance(node, ast.Import) else []
            assert not any(name.split(".")[0] == "azure" for name in names), file

"""The API's health report and metrics, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from . import api
from .conftest import World, stage


@pytest.fixture
def ask(world: World, database_url: str, environment: dict[str, str]) -> Iterator[api.Api]:
    with api.running(
        queue_connection_string=environment["BRIDGE_QUEUE_CONNECTION_STRING"],
        database_url=database_url,
        odoo_url=world.odoo.url,
        odoo_database=environment["BRIDGE_ODOO_DATABASE"],
        odoo_api_key=world.odoo.key,
    ) as running:
        yield running


def report(ask: api.Api) -> dict[str, Any]:
    return ask("GET", "/api/v1/reports/health", key="read", status=200)


def test_the_report_tells_of_queue_sql_odoo_bridges_and_paths(ask: api.Api, world: World) -> None:
    world.odoo.heartbeats.append({"name": "host/1", "version": "0.1.0"})
    world.send(stage())
    answer = report(ask)
    assert answer["status"] == "ok"
    assert {name: each["status"] for name, each in answer["dependencies"].items()} == dict.fromkeys(
        ("queue", "sql", "odoo"), "ok"
    )
    assert {path["queue"]: path["depth"] for path in answer["paths"]}["manychat-crm-opportunities-queue"] == 1
    assert [bridge["name"] for bridge in answer["bridges"]] == ["host/1"]


def test_the_report_answers_while_odoo_is_away(ask: api.Api, world: World) -> None:
    world.odoo.stop()
    answer = report(ask)
    assert (answer["status"], answer["dependencies"]["odoo"]["status"]) == ("degraded", "unavailable")


@pytest.mark.parametrize(("key", "status"), [(None, 401), ("webhook", 403), ("read", 200), ("write", 200)])
def test_the_report_needs_a_key_that_reads(ask: api.Api, key: str | None, status: int) -> None:
    assert ask("GET", "/api/v1/reports/health", key=key).status_code == status


def test_metrics_and_health_need_no_key(ask: api.Api, world: World) -> None:
    assert ask("GET", "/health", key=None, status=200) == {"status": "ok"}
    world.send(stage("MC-SECRET"))
    answer = ask("GET", "/metrics", key=None)
    assert answer.status_code == 200
    assert 'miasalud_queue_messages{queue="manychat-crm-opportunities-queue"} 1.0' in answer.text
    assert "MC-SECRET" not in answer.text

"""What a migration reads from an old system, and what it makes of it. The whole way is in ``tests/move``."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from bridge.cli import migrate, migrate_report
from bridge.contract.event import from_envelope
from bridge.contract.payloads import CONTACT_QUEUE, DEAD_LETTER_QUEUE, OPPORTUNITY_QUEUE, Opportunity
from bridge.importer import mapping, source
from bridge.legacy import events, plan, states
from bridge.legacy.source import Legacy, open_legacy
from bridge.queue import Queue
from tests.store import legacy
from tests.store.legacy import asignaciones, contactos, estados, person, state

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
EVENING = legacy.EVENING.replace(tzinfo=timezone(timedelta(hours=-5)))
ROWS = {"cotización": 4, "nuevo lead": 1}


@pytest.fixture
def old(tmp_path: Path, engine: sa.Engine) -> Callable[..., Legacy]:
    """An old system with these rows besides those of three people."""

    def make(more: dict[sa.Table, Sequence[dict[str, Any]]] | None = None, people: int = 3) -> Legacy:
        path = tmp_path / "old.db"
        origin = sa.create_engine(f"sqlite:///{path}")
        legacy.metadata.create_all(origin)
        rows = legacy.few(people)
        for table, extra in (more or {}).items():
            rows[table] += extra
        legacy.fill(origin, rows)
        (tmp_path / "mapping.toml").write_text(legacy.MAPPING)
        found = open_legacy(
            source.open_source(f"sqlite:///{path}"),
            engine,
            mapping.load(tmp_path / "mapping.toml"),
            None,
            lambda _: None,
        )
        found.adoption.survey()
        return found

    return make


def test_the_newest_mapped_state_counts_in_whatever_table_it_is(old: Callable[..., Legacy]) -> None:
    later = legacy.EVENING + timedelta(days=3)
    found = states.gather(old({estados: [state(90, 1, estado=" nuevo  LEAD", fecha=later)]}), NOON)
    newest = found.newest("MC1", ROWS)
    assert newest == states.Candidate((None, "Nuevo lead"), EVENING + timedelta(days=3))
    assert found.newest("MC2", ROWS) == states.Candidate((None, "Cotización"), EVENING + timedelta(minutes=2))
    assert found.newest("MC2", {"nuevo lead": 1}) == states.Candidate((None, "Nuevo lead"), EVENING)
    assert found.newest("MC2", {}) is None
    assert found.newest("MC-nobody", ROWS) is None
    assert found.advisers == {"commercial": {7}, "medical": set()}


def test_a_date_in_the_future_is_not_believed(old: Callable[..., Legacy]) -> None:
    future = datetime(2031, 1, 1)  # noqa: DTZ001
    rows = [person(9, **{"Fecha actualización": future})]
    found = states.gather(old({contactos: rows, estados: [state(90, 9, fecha=legacy.EVENING)]}), NOON)
    assert found.in_future == 1
    assert found.newest("MC9", ROWS) == states.Candidate((None, "Nuevo lead"), EVENING)
    assert found.newest("MC9", {"cotización": 4}) == states.Candidate((None, "Cotización"), None)


def test_each_row_of_a_doubled_person_has_a_state_of_its_own_time(old: Callable[..., Legacy]) -> None:
    twice = person(
        9, **{"Manychat ID": "MC1", "Último estado": "Nuevo", "Fecha actualización": legacy.EVENING + timedelta(days=9)}
    )
    found = states.gather(old({contactos: [twice]}), NOON)
    assert found.newest("MC1", ROWS) == states.Candidate((None, "Cotización"), EVENING + timedelta(minutes=1))
    assert found.unmapped(ROWS)["nuevo"] == (1, 1)


def test_a_number_is_a_stage_by_its_number(old: Callable[..., Legacy]) -> None:
    found = states.gather(old({estados: [state(90, 1, estado="22", fecha=legacy.EVENING + timedelta(days=9))]}), NOON)
    assert found.newest("MC1", {"22": 7}) == states.Candidate((22, None), EVENING + timedelta(days=9))


def test_the_event_of_a_state_is_the_same_in_every_run_and_another_for_another_state() -> None:
    contact = {"manychat_id": "MC1", "first_name": "Ana", "phone": None, "subscribed_at": EVENING}
    first = events.make_event(contact, {}, (None, "Cotización"), EVENING, NOON)
    again = events.make_event(
        contact | {"first_name": "Eva"}, {}, (None, " COTIZACIÓN"), EVENING, NOON + timedelta(days=9)
    )
    assert first.id == again.id
    others = [
        events.make_event(contact, {}, (None, "Nuevo"), EVENING, NOON),
        events.make_event(contact, {}, (None, "Cotización"), EVENING + timedelta(seconds=1), NOON),
        events.make_event(contact | {"manychat_id": "MC2"}, {}, (None, "Cotización"), EVENING, NOON),
    ]
    assert len({first.id, *(other.id for other in others)}) == 4
    assert first.occurred_at == EVENING
    assert from_envelope(first.envelope()).id == first.id


def test_what_cannot_be_read_is_left_out_of_the_event() -> None:
    contact = {"manychat_id": "MC1", "first_name": "null", "phone": "undefined", "channel": " Facebook "}
    assignment = {"commercial_advisor_id": 7, "medical_advisor_id": None, "summary": "Hola"}
    event = events.make_event(contact, assignment, (22, None), EVENING, EVENING - timedelta(days=9))
    assert isinstance(event.payload, Opportunity)
    assert (event.payload.first_name, event.payload.phone) == (None, None)
    assert (event.payload.commercial_advisor_id, event.payload.state.summary) == (7, "Hola")
    # Also if the migration began long before.
    assert (event.occurred_at, event.clock_is_wrong) == (EVENING, False)


class KnowsNobody:
    """Odoo's answers about people: nobody is known. The rest of the plan is under test, not the addon."""

    def get_overview(self, states_: Sequence[Any], _advisers: Any) -> dict[str, Any]:
        labels = {"Cotización": 4}
        return {
            "batch": "b",
            "name": "n",
            "started_at": False,
            "stages": [
                {"number": 16, "label": "a", "expected": "A", "same_name": [3, 5], "mapped_to": 4, "mapped_name": "=B"}
            ],
            "map": [{"id": 4, "label": "Cotización", "number": 25, "stage": "B"}],
            "mapped": [labels.get(label, False) for _number, label in states_],
            "advisers": {"commercial": [7], "medical": []},
            "contacts": False,
            "contacts_unreadable": True,
            "writers": [{"user": "sync", "partners": 3, "last": "2026-03-01T11:00:00+00:00"}],
        }

    def get_people(self, _people: Any) -> dict[str, Any]:
        return {}


def made(found: Legacy) -> plan.Plan:
    return plan.make(found, states.gather(found, NOON), KnowsNobody(), NOON, None)  # type: ignore[arg-type]


def test_a_plan_says_what_must_be_decided_and_what_was_accepted(old: Callable[..., Legacy]) -> None:
    found = made(old({estados: [state(90, 1, estado="Cotizacion")]}))
    plan.writers(found)
    is_open = {each.key for each in found.findings if each.is_open([])}
    assert is_open == {
        "labels",
        "stages-renamed",
        "stages-doubled",
        "contacts-field",
        "advisers-commercial",
        "old-workers",
    }
    assert ("Cotizacion", 1, 0, "Cotización") in found.labels
    assert "labels" not in {each.key for each in found.findings if each.is_open(["labels"])}


def test_people_without_any_date_must_be_decided(old: Callable[..., Legacy]) -> None:
    undated = person(9, **{"Fecha actualización": None, "Fecha suscripción": None})
    legacy_ = old({contactos: [undated], estados: []})
    found = made(legacy_)
    [finding] = [each for each in found.findings if each.key == "undated"]
    assert (finding.count, finding.examples, finding.is_open([])) == (1, ("MC9",), True)


def test_the_lists_of_a_plan_are_files_that_a_spreadsheet_reads(
    old: Callable[..., Legacy], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = made(old({estados: [state(90, 1, estado="=cmd|' /C calc'!A0")], asignaciones: []}))
    migrate_report.write_csv(tmp_path / "lists", found, [])
    with (tmp_path / "lists" / "labels.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert "'=cmd|' /C calc'!A0" in {row["label"] for row in rows}
    migrate_report.print_plan_json(found, [])
    assert "labels" in json.loads(capsys.readouterr().out)["open"]
    migrate_report.print_plan(found, ["labels"])
    printed = capsys.readouterr().out
    assert "accepted" in printed
    assert max(map(len, printed.split("\n\n", 1)[0].splitlines())) <= 80


def test_what_waits_on_the_old_queues_is_seen(old: Callable[..., Legacy], queues: dict[str, Queue]) -> None:
    found = made(old())
    contact, opportunity, dead = (queues[name] for name in (CONTACT_QUEUE, OPPORTUNITY_QUEUE, DEAD_LETTER_QUEUE))
    contact.send(json.dumps({"manychat_id": "MC1", "nombre_lead": "Ana"}))
    opportunity.send(events.make_event({"manychat_id": "MC1"}, {}, (22, None), EVENING, NOON).encode())
    dead.send("old")
    opportunity.receive(1, 30)  # another program has it
    plan.queues(found, list(queues.values()), has_bridges=False)
    counts = {each.key: each.count for each in found.findings}
    assert (counts["waiting"], counts["bare-payloads"], counts["dead-letters"]) == (2, 1, 1)
    assert counts["old-workers"] == 1


def test_a_comparison_refuses_a_misspelt_name_to_accept() -> None:
    done = CliRunner().invoke(migrate.app, ["verify", "--mapping", "mapping.toml", "--accept", "writer"])
    assert (done.exit_code, "There is: writers" in done.output) == (2, True)

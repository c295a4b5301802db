"""Dead letters in an operator's hands: found, shown, tried again, done with; and nothing lost in doing so."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys

import pytest

from bridge.cli.dlq import harmless
from bridge.contract.event import Event
from bridge.contract.payloads import CONTACT_QUEUE, OPPORTUNITY_QUEUE

from .conftest import PATIENCE, Cli, World, contact, eventually, stage
from .program import Program


@pytest.fixture
def letters(world: World) -> list[Event]:
    """Three events that were given up (and one message that is none); no bridge runs any more."""
    events = [stage(f"MC{number}", stage_id=99, last_name="=HYPERLINK") for number in range(3)]
    world.send(*events)
    world.queues[CONTACT_QUEUE].send("no event")
    bridge = world.start_bridge()
    world.settle(*events)
    eventually(lambda: len(world.rows("dead_letters")) == 4)
    bridge.terminate()
    return events


def listed(cli: Cli, *arguments: str) -> list[str]:
    """Codes and ManyChat ids of what `dlq list` finds."""
    found = [json.loads(line) for line in cli("dlq", "list", "--json", *arguments).stdout.splitlines()]
    return [letter["manychat_id"] or letter["code"] for letter in found]


def test_each_filter_narrows(cli: Cli, world: World, letters: list[Event]) -> None:
    assert sorted(listed(cli)) == ["MC0", "MC1", "MC2", "not_json"]
    assert listed(cli, "--code", "not_json") == ["not_json"]
    assert listed(cli, "--queue", "contact") == ["not_json"]
    assert listed(cli, "--manychat-id", "MC1") == ["MC1"]
    [first] = world.rows("dead_letters", manychat_id="MC0")
    assert sorted(listed(cli, "--id", letters[2].id, "--id", str(first.id))) == ["MC0", "MC2"]
    assert listed(cli, "--since", "1h", "--manychat-id", "MC1") == ["MC1"]
    assert listed(cli, "--since", "2001-01-01", "--until", "2001-01-02T12:00:00Z") == []


def test_wrong_filters_are_refused_and_change_nothing(cli: Cli, world: World, letters: list[Event]) -> None:
    for arguments in (
        ("replay", "--id", "nonsense"),
        ("discard", "--since", "yesterday"),
        ("replay", "--until", "2025-13-45"),
        ("discard", "--queue", "dlq"),
    ):
        assert cli("dlq", *arguments).returncode == 2
    assert {row.status for row in world.rows("dead_letters")} == {"open"}


def test_show_tells_everything_but_the_body_which_only_body_does(cli: Cli, world: World, letters: list[Event]) -> None:
    [letter] = world.rows("dead_letters", manychat_id="MC0")
    shown = cli.start("dlq", "show", letters[0].id).stdout
    for told in (OPPORTUNITY_QUEUE, "unmapped_stage", "first tried at", "last tried at", "Stage Aliases"):
        assert told in shown
    assert "HYPERLINK" not in shown
    assert "=HYPERLINK" in cli("dlq", "show", str(letter.id), "--body").stdout
    as_json = json.loads(cli("dlq", "show", str(letter.id), "--json", "--body").stdout)
    assert (as_json["event_id"], as_json["attempts"], as_json["body"]) == (letters[0].id, 1, letter.body)
    assert cli("dlq", "show", "999999").returncode == 1


def test_a_raw_body_cannot_play_tricks_on_the_terminal(cli: Cli, world: World) -> None:
    world.queues[CONTACT_QUEUE].send("\x9b31m [red]no[/red] \u202e event")
    world.start_bridge()
    [letter] = eventually(lambda: world.rows("dead_letters"))

    shown = cli("dlq", "show", str(letter.id), "--body").stdout
    assert "[red]no[/red]" in shown
    assert "\x9b" not in shown
    assert "\u202e" not in shown


def test_exported_cells_are_no_formulas(cli: Cli, world: World) -> None:
    event = stage("=1+1", stage_id=99)
    world.send(event)
    world.start_bridge()
    world.settle(event)

    [header, row] = csv.reader(io.StringIO(cli("dlq", "list", "--csv").stdout))
    exported = dict(zip(header, row, strict=True))
    assert (exported["manychat_id"], exported["code"]) == ("'=1+1", "unmapped_stage")
    assert [harmless(cell) for cell in ("@x", "+1", "-1", "\tx", "", "x", 5, None)] == [
        *("'@x", "'+1", "'-1", "'\tx", "", "x", 5, None),
    ]


def test_replaying_twice_applies_once(cli: Cli, world: World, letters: list[Event]) -> None:
    world.odoo.stages[99] = "Nueva etapa"
    first = cli("dlq", "replay")
    assert "Replayed 3." in first.stdout
    assert "Left 1 message" in first.stdout
    again = cli("dlq", "replay")
    assert "Replayed 0." in again.stdout
    world.start_bridge()

    eventually(lambda: world.outcomes(*letters) == ["created"] * 3)
    assert len(world.odoo.moves) == 3
    assert {row.code: row.status for row in world.rows("dead_letters")} == {
        "unmapped_stage": "resolved",
        "not_json": "open",
    }


def test_a_replay_killed_at_any_moment_loses_nothing_and_doubles_nothing(cli: Cli, world: World) -> None:
    events = [stage(f"MC{number}", stage_id=99) for number in range(20)]
    world.send(*events)
    bridge = world.start_bridge()
    world.settle(*events)
    bridge.terminate()
    world.odoo.stages[99] = "Nueva etapa"
    queue = world.queues[OPPORTUNITY_QUEUE]
    for sent in (1, 10):
        process = Program(["dlq", "replay"], cli.environment, cli.folder)
        eventually(lambda: queue.depth() >= sent or process.poll() is not None)  # noqa: B023
        process.kill()
        process.wait(PATIENCE)
    assert cli("dlq", "replay").returncode == 0
    world.start_bridge()

    eventually(lambda: world.outcomes(*events) == ["created"] * 20)
    eventually(lambda: queue.depth() == 0)
    assert len(world.odoo.moves) == 20
    assert {row.status for row in world.rows("dead_letters")} == {"resolved"}


def test_a_replay_puts_an_event_that_came_by_the_wrong_queue_on_its_own(cli: Cli, world: World) -> None:
    event = stage("MC1")
    world.queues[CONTACT_QUEUE].send(event.encode())
    world.start_bridge()
    eventually(lambda: world.outcomes(event) == ["dead_lettered"])
    cli("dlq", "replay")

    eventually(lambda: world.outcomes(event) == ["created"])


def test_a_bare_payload_on_the_wrong_queue_says_so_and_a_replay_puts_it_on_its_own(cli: Cli, world: World) -> None:
    body = {
        "manychat_id": "MC1",
        "first_name": "Ana",
        "state": {"stage_id": 17},
        "ad_id": 7,
        "entry_date": "9999-12-31",
    }
    world.queues[CONTACT_QUEUE].send(json.dumps(body))
    world.start_bridge()
    [letter] = eventually(lambda: world.rows("dead_letters"))
    assert (letter.code, letter.event_id) == ("wrong_queue", None)
    assert OPPORTUNITY_QUEUE in letter.message
    assert "Replayed 1." in cli("dlq", "replay").stdout

    [row] = eventually(lambda: [row for row in world.rows("audit") if row.outcome == "created"])
    assert (row.manychat_id, row.queue, json.loads(row.extra)) == ("MC1", OPPORTUNITY_QUEUE, {"ad_id": 7})
    assert [each["field"] for each in json.loads(row.warnings)] == ["entry_date"]
    assert json.loads(world.rows("opportunities")[0].extra) == {"ad_id": 7}


def test_what_was_discarded_stays_so_whatever_brings_it_again(cli: Cli, world: World, letters: list[Event]) -> None:
    assert cli("dlq", "discard").returncode == 2
    assert "Would discard 4" in cli("dlq", "discard", "--all", "--dry-run").stdout
    assert {row.status for row in world.rows("dead_letters")} == {"open"}
    assert "Discarded 1." in cli.start("dlq", "discard", "--manychat-id", "MC0").stdout
    assert "Discarded 0." in cli("dlq", "discard", "--manychat-id", "MC0").stdout
    assert "Replayed 0." in cli("dlq", "replay", "--manychat-id", "MC0").stdout
    [row] = world.rows("dead_letters", manychat_id="MC0")
    assert row.status == "discarded"
    assert row.discarded_at
    assert row.body

    world.odoo.stages[99] = "Nueva etapa"
    neighbour = contact("MC9")
    world.send(letters[0], neighbour)
    bridge = world.start_bridge()
    world.settle(neighbour)
    eventually(lambda: bridge.lines("event_duplicate"))
    assert world.outcomes(letters[0]) == ["discarded"]
    assert world.odoo.moves == []
    assert "Discarded 3." in cli("dlq", "discard", "--all").stdout
    assert len(world.rows("dead_letters")) == 4


def test_on_a_terminal_many_are_replayed_only_after_a_yes(cli: Cli, world: World, letters: list[Event]) -> None:
    def on_a_terminal(answer: bytes, *arguments: str) -> int:
        ours, theirs = pty.openpty()
        os.write(ours, answer)
        try:
            return subprocess.run(
                [sys.executable, "-m", "bridge", "dlq", "replay", *arguments],
                env=cli.environment,
                cwd=cli.folder,
                stdin=theirs,
                capture_output=True,
                check=False,
                timeout=PATIENCE,
            ).returncode
        finally:
            os.close(ours)
            os.close(theirs)

    queue = world.queues[OPPORTUNITY_QUEUE]
    assert on_a_terminal(b"n\n") != 0
    assert queue.depth() == 0
    # One is not many.
    assert on_a_terminal(b"n\n", "--manychat-id", "MC0") == 0
    assert queue.depth() == 1
    assert on_a_terminal(b"n\n", "--yes") == 0
    assert queue.depth() == 3

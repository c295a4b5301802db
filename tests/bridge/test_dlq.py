"""Dead letters in an operator's hands: found, shown, tried again, done with; and nothing lost in doing so."""

from __future__ import annotations

import csv
import io
import json
import threading
from datetime import datetime, timedelta, timezone

import pytest

from bridge.cli.dlq import harmless
from bridge.contract.event import Event
from bridge.contract.payloads import CONTACT_QUEUE, DEAD_LETTER_QUEUE, OPPORTUNITY_QUEUE
from bridge.store import dead_letters, schema
from bridge.store.dead_letters import DeadLetter
from bridge.worker import dead_lettering, process

from ..queue_sdk import sdk
from .conftest import PATIENCE, Cli, World, contact, eventually, stage
from .program import Program
from .terminal import on_a_terminal


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


def test_a_letter_is_named_by_the_beginning_of_its_events_id_everywhere(
    cli: Cli, world: World, letters: list[Event]
) -> None:
    event = letters[1]
    short = event.id[:12]
    assert event.id in cli("trace", short).stdout
    for spelling in (event.id, short, event.id[:6].upper(), f" {short} "):
        assert event.id in cli("dlq", "show", spelling).stdout
        assert listed(cli, "--id", spelling) == ["MC1"]
    assert "Would replay 1." in cli("dlq", "replay", "--id", short, "--dry-run").stdout
    assert "Discarded 1." in cli("dlq", "discard", "--id", short, "--yes").stdout
    again = cli("dlq", "replay", "--id", short)
    assert (again.returncode, "is discarded, and not open" in again.stderr) == (1, True)

    # Two events may begin alike: that was generated, with 6 digits it takes 5,000 events.
    rows = world.rows("dead_letters", type="opportunity")
    with world.engine.begin() as connection:
        for number, row in enumerate(rows):
            rename = schema.dead_letters.update().where(schema.dead_letters.c.id == row.id)
            connection.execute(rename.values(event_id=f"abcdef{number}".ljust(64, "0"), status="open"))
    several = cli("dlq", "discard", "--id", "abcdef", "--yes")
    assert several.returncode == 1
    assert several.stderr.count("abcdef") == 4
    assert cli("dlq", "show", "abcdef0").returncode == 0


@pytest.mark.parametrize("command", [("show",), ("list", "--id"), ("replay", "--id"), ("discard", "--yes", "--id")])
@pytest.mark.parametrize("unknown", ["999999", "99", "abcdef123", "0" * 64, "123456789012345678"])
def test_an_unknown_letter_is_said_to_be(cli: Cli, world: World, command: tuple[str, ...], unknown: str) -> None:
    refused = cli("dlq", *command, unknown)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"no dead letter {unknown}" in refused.stderr


@pytest.mark.parametrize("command", ["list", "replay", "discard"])
def test_a_filter_that_cannot_be_meant_is_refused(cli: Cli, world: World, command: str) -> None:
    for arguments, said in (
        (["--reason", "unmaped_stage"], "Did you mean unmapped_stage?"),
        (["--reason", "UNMAPPED_STAGE"], "Did you mean unmapped_stage?"),
        (["--reason", "x" * 500], "The reasons are: crashed, "),
        (["--reason", ""], "The reasons are: crashed, "),
        (["--since", "2999-01-01"], "lies in the future"),
        (["--since", "0h"], "give a time"),
        (["--since", "1h", "--until", "2h"], "--since must be before --until"),
        (["--manychat-id", " "], "--manychat-id"),
        (["--queue", "oportunity"], "opportunity"),
        (["--id", "ñ"], "is no id"),
        (["--id", "abcde"], "is no id"),
        (["--id", ""], "is no id"),
    ):
        refused = cli("dlq", command, *arguments)
        assert refused.returncode == 2, arguments
        assert said in refused.stderr
    # Odoo may give reasons of its own.
    now = datetime.now(timezone.utc)
    with world.engine.begin() as connection:
        letter = DeadLetter(None, "m1", OPPORTUNITY_QUEUE, None, None, "…", now, "of_odoo", "Something.", 1, now)
        dead_letters.put(connection, [letter])
    assert cli("dlq", "list", "--reason", "of_odoo").stdout.count("of_odoo") == 2


def test_notices_go_when_their_letters_are_closed_and_expire_at_last(
    cli: Cli, world: World, letters: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = world.queues[DEAD_LETTER_QUEUE]
    assert queue.depth() == 4
    [first, *_] = sdk(queue).receive_messages(max_messages=1, visibility_timeout=1)
    assert first.expires_on - first.inserted_on == timedelta(days=7)
    eventually(lambda: len(queue.peek(32)) == 4)
    for row in world.rows("dead_letters"):
        assert row.notice_id
        assert row.notice_receipt
    cli("dlq", "discard", "--manychat-id", "MC0", "--yes")
    cli("dlq", "replay", "--manychat-id", "MC1")
    cli("erase", "--manychat-id", "MC2", "--yes")

    dead_lettering.remove_outlived(world.engine, queue)
    # One of them was received above, so its receipt is not that of its sender any more: it expires.
    assert {row.status for row in world.rows("dead_letters", notice_id=None)} == {"discarded", "replayed"}
    assert queue.depth() in (1, 2)
    [left] = world.rows("dead_letters", status="open")
    assert left.notice_id

    # The same event fails again: it has a notice again.
    world.start_bridge()
    eventually(lambda: len(world.rows("dead_letters", status="open")) == 2)
    eventually(lambda: all(row.notice_id for row in world.rows("dead_letters", status="open")))


def test_a_running_bridge_takes_away_the_notices_of_closed_letters(
    cli: Cli, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_lettering, "INTERVAL", 0.1)
    stop = threading.Event()
    settings = world.settings(poll_interval=0.05)
    bridge = threading.Thread(target=process.run, args=[settings, ["contact", "opportunity"], stop])
    bridge.start()
    try:
        event = stage("MC1", stage_id=99)
        world.send(event)
        queue = world.queues[DEAD_LETTER_QUEUE]
        eventually(lambda: queue.depth() == 1)
        cli("dlq", "discard", "--all", "--yes")
        eventually(lambda: queue.depth() == 0)
    finally:
        stop.set()
        bridge.join(PATIENCE)


def test_a_queue_that_nobody_reads_gets_a_bounded_number_of_notices(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_lettering, "MOST_NOTICES", 3)
    now = datetime.now(timezone.utc)
    queue = world.queues[DEAD_LETTER_QUEUE]
    keeping = dead_lettering.DeadLetterer(world.engine, queue)
    for number in range(5):
        keeping.store([DeadLetter(None, f"m{number}", CONTACT_QUEUE, None, None, "…", now, "not_json", "No.", 1, now)])
        keeping.send_notice([f"m{number}"])
    assert queue.depth() == 3
    assert len(world.rows("dead_letters", status="open")) == 5


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
    assert "Discarded 1." in cli.start("dlq", "discard", "--manychat-id", "MC0", "--yes").stdout
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
    assert "Discarded 3." in cli("dlq", "discard", "--all", "--yes").stdout
    assert len(world.rows("dead_letters")) == 4


def test_on_a_terminal_many_are_replayed_only_after_a_yes(cli: Cli, world: World, letters: list[Event]) -> None:
    queue = world.queues[OPPORTUNITY_QUEUE]
    assert on_a_terminal(cli, "n\n", "dlq", "replay").returncode != 0
    assert queue.depth() == 0
    # One is not many.
    assert on_a_terminal(cli, "n\n", "dlq", "replay", "--manychat-id", "MC0").returncode == 0
    assert queue.depth() == 1
    assert on_a_terminal(cli, "n\n", "dlq", "replay", "--yes").returncode == 0
    assert queue.depth() == 3

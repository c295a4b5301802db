"""What cannot be undone is asked for on a terminal, refused without one, and done with ``--yes``: by every command."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from bridge.store import dead_letters, schema
from bridge.store.dead_letters import DeadLetter

from .conftest import Cli, World, contact, eventually
from .terminal import on_a_terminal

Contents = dict[str, Any]


@pytest.fixture
def filled(cli: Cli, world: World) -> Callable[[], Contents]:
    """A store in which each command has something to remove; what is in it."""
    event = contact("MC1")
    world.send(event)
    bridge = world.start_bridge()
    world.settle(event)
    eventually(lambda: world.rows("audit")[0].reported_at)
    bridge.terminate()
    long_ago = datetime.now(timezone.utc) - timedelta(days=100)
    with world.engine.begin() as connection:
        connection.execute(schema.audit.update().values(finished_at=long_ago))
        letter = DeadLetter(None, "m1", "q", None, None, "…", long_ago, "not_json", "Something.", 1, long_ago)
        dead_letters.put(connection, [letter])
    assert cli("key", "create", "Bot", "--scope", "read").returncode == 0

    def contents() -> Contents:
        return {name: world.rows(name) for name in ("contacts", "audit", "dead_letters", "api_keys")}

    return contents


COMMANDS = [
    ("dlq", "discard", "--all"),
    ("dlq", "discard", "--id", "1"),
    ("erase", "--manychat-id", "MC1"),
    ("purge", "--older-than", "90d"),
    ("purge", "--older-than", "90d", "--rows"),
    ("key", "revoke", "1"),
    ("db", "downgrade", "0008"),
    ("db", "downgrade", "base"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_nothing_is_lost_without_a_yes(
    cli: Cli, world: World, filled: Callable[[], Contents], command: tuple[str, ...]
) -> None:
    before = filled()
    for stdin in ("", "y\n"):
        refused = cli(*command, stdin=stdin)
        assert refused.returncode == 2
        assert "--yes" in refused.stderr
        assert filled() == before
    declined = on_a_terminal(cli, "n\n", *command)
    assert declined.returncode == 1
    assert "Nothing was changed." in declined.stderr
    assert filled() == before
    assert world.odoo.erased == []
    if command[0] not in ("key", "db"):
        assert cli(*command, "--dry-run").returncode == 0
        assert filled() == before

    accepted = on_a_terminal(cli, "y\n", *command) if len(command) == 3 else cli(*command, "--yes")
    assert accepted.returncode == 0, accepted.stderr
    assert command[0] == "db" or filled() != before


@pytest.mark.parametrize(
    "command",
    [
        ("dlq", "discard", "--reason", "crashed"),
        ("dlq", "replay"),
    ],
    ids=" ".join,
)
def test_where_there_is_nothing_to_do_nothing_is_asked(cli: Cli, world: World, command: tuple[str, ...]) -> None:
    done = cli(*command)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_timer_without_yes_fails_on_its_first_day(cli: Cli, world: World) -> None:
    done = cli("purge", "--older-than", "9999d")
    assert done.returncode == 2
    assert "add --yes" in done.stderr


def test_a_person_whom_nobody_knows_is_not_said_to_be_removed(cli: Cli, world: World) -> None:
    for arguments in (["--yes"], ["--dry-run"]):
        unknown = cli("erase", "--manychat-id", "MC404", *arguments)
        assert (unknown.returncode, unknown.stdout) == (1, "")
        assert "Neither SQL nor Odoo knows" in unknown.stderr
    world.send(contact("MC404"))
    assert "1 message on the queues may be about" in cli("erase", "--manychat-id", "MC404", "--yes").stderr


def test_a_person_whom_only_odoo_knows_is_removed(cli: Cli, world: World) -> None:
    world.odoo.leads["MC7"] = {"id": 7, "stage": "x", "order": ()}
    removed = cli("erase", "--manychat-id", "MC7", "--yes")
    assert removed.returncode == 0
    assert "crm.lead 7" in removed.stdout


def test_a_downgrade_says_before_what_it_deletes(cli: Cli, world: World, filled: Callable[[], Contents]) -> None:
    refused = cli("db", "downgrade", "base")
    for line in ("1 rows of contacts", "1 rows of audit", "1 rows of dead_letters", "1 rows of api_keys"):
        assert f"  {line}\n" in refused.stdout
    refused = cli("db", "downgrade", "0001")
    assert "Kept aside until `db upgrade`: 1 key of the API." in refused.stdout
    assert "1 values of audit.retries" in refused.stdout
    assert "api_keys" not in refused.stdout


@pytest.mark.parametrize("earlier", ["0003", "0006", "0009"])
def test_the_keys_of_the_api_survive_a_downgrade(cli: Cli, world: World, earlier: str) -> None:
    for name, more in (("Uno", ()), ("Dos", ("--zone", "America/Bogota", "--expires-in", "90d")), ("Tres", ())):
        assert cli("key", "create", name, "--scope", "webhook", *more).returncode == 0
    assert cli("key", "revoke", "3", "--yes").returncode == 0
    before = world.rows("api_keys")
    for revision in (earlier, "0002"):
        assert cli("db", "downgrade", revision, "--yes").returncode == 0
    assert cli("db", "upgrade").returncode == 0
    assert world.rows("api_keys") == before
    assert "kept_api_keys" not in cli("db", "adopt", "--describe").stdout


@pytest.mark.parametrize(
    ("revision", "said"),
    [
        ("nosuch", "Give one of: base, 0001, "),
        ("head", "Give one of: base, 0001, "),
        ("-1", "No such option"),
        ("", "Give one of: base, 0001, "),
        ("9999", "Give one of: base, 0001, "),
        ("0001:0002", "Give one of: base, 0001, "),
        ("x" * 5000, "Give one of: base, 0001, "),
    ],
)
def test_a_revision_that_there_is_not_is_refused(cli: Cli, world: World, revision: str, said: str) -> None:
    refused = cli("db", "downgrade", revision, "--yes")
    assert refused.returncode == 2
    assert said in refused.stderr
    assert len(refused.stderr) < 1000
    assert cli("db", "current").returncode == 0
    if not revision.startswith("-"):
        assert cli("db", "sql", f"{revision}:", "--for", "mssql").returncode == 2
        is_right = revision in ("head", "0001:0002")
        assert cli("db", "sql", revision, "--for", "mssql").returncode == (0 if is_right else 2)
    assert "upgrades nothing" in cli("db", "sql", "head:0002", "--for", "mssql").stderr


def test_a_database_without_tables_has_nothing_to_downgrade(cli: Cli) -> None:
    refused = cli("db", "downgrade", "base", "--yes", database_url="sqlite:///fresh.db")
    assert (refused.returncode, "no tables" in refused.stderr) == (2, True)


def test_two_valid_keys_never_share_a_name(cli: Cli, world: World) -> None:
    first = cli("key", "create", "Informes", "--scope", "read").stdout
    for name in ("Informes", " informes ", "INFORMES"):
        refused = cli("key", "create", name, "--scope", "write")
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "python -m bridge key revoke 1" in refused.stderr
    imported = cli("key", "create", "Informes", "--scope", "read", "--existing", stdin="another-key-0123456789")
    assert imported.returncode == 2
    assert "exists already" in cli("key", "create", "Informes", "--scope", "read", "--existing", stdin=first).stderr
    assert cli("key", "revoke", "1", "--yes").returncode == 0
    assert "0 keys revoked. 1 had been revoked before." in cli("key", "revoke", "1").stdout
    assert cli("key", "create", "Informes", "--scope", "read").returncode == 0
    with world.engine.begin() as connection:
        connection.execute(schema.api_keys.update().values(expires_at=datetime(2020, 1, 1, tzinfo=timezone.utc)))
    assert cli("key", "create", "Informes", "--scope", "read").returncode == 0
    assert len(world.rows("api_keys")) == 3


@pytest.mark.parametrize("age", ["0d", "0s", "-1d", "", "1", "d", "90", "1.5d", "99999d", "∞d", "٣d", "0x1d"])
def test_no_duration_is_nothing_or_less(cli: Cli, world: World, age: str) -> None:
    for command in (
        ("key", "create", "Bot", "--scope", "read", "--expires-in"),
        ("purge", "--yes", "--older-than"),
        ("dlq", "list", "--since"),
        ("dlq", "discard", "--yes", "--since"),
        ("dlq", "replay", "--until"),
    ):
        refused = cli(*command, age)
        assert refused.returncode == 2, command
        assert "90d" in refused.stderr or "2h" in refused.stderr
    assert world.rows("api_keys") == []
    if age not in ("0d", "0s"):
        assert cli("reconcile", "--older-than", age).returncode == 2

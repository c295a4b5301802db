"""An API that starts while SQL is away: it knows the keys that SQL had when it was last read."""

from __future__ import annotations

import json
import socket
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from bridge.api import key_cache
from bridge.api.key_cache import MAX_AGE, CachedKeys, Key, KeyCacheError
from bridge.contract.keys import Scope, digest
from bridge.store.engine import create_engine

from ..webhook_cases import CONTACT
from .conftest import Cli, World, eventually
from .process import api_process

CONTACTS = ("GET", "/api/v1/contacts/")
REPORT = ("GET", "/api/v1/reports/health")


class Sql:
    """A database that can be taken away: it is a file, and then there is a folder in its place."""

    def __init__(self, file: Path):
        self._file = file
        self._elsewhere = file.with_suffix(".away")

    def goes_away(self) -> None:
        self._file.rename(self._elsewhere)
        self._file.mkdir()

    def comes_back(self) -> None:
        self._file.rmdir()
        self._elsewhere.rename(self._file)


@pytest.fixture
def sql(cli: Cli, tmp_path: Path) -> Sql:
    file = tmp_path / "keys" / "store.db"
    file.parent.mkdir()
    cli.environment["BRIDGE_DATABASE_URL"] = f"sqlite:///{file}"
    return Sql(file)


@pytest.fixture
def file(cli: Cli) -> Path:
    return cli.folder / "miasalud-api-keys.json"


def test_it_serves_the_bots_it_knows_and_obeys_as_soon_as_sql_is_back(
    world: World, cli: Cli, sql: Sql, file: Path
) -> None:
    bot = {"X-API-KEY": cli("key", "create", "Bot de Ana", "--scope", "webhook").stdout.strip()}
    admin = {"X-API-KEY": cli("key", "create", "Informes", "--scope", "write").stdout.strip()}
    with api_process(cli.environment, cli.folder) as api:
        assert api.request(*CONTACT, json={"manychat_id": "MC1"}, headers=bot).status_code == 200
        assert api.request(*REPORT, headers=admin).json()["api_keys"]["source"] == "sql"

    sql.goes_away()
    with api_process(cli.environment, cli.folder) as api:
        assert api.request(*CONTACT, json={"manychat_id": "MC2"}, headers=bot).status_code == 200
        stranger = api.request(*CONTACT, json={"manychat_id": "MC3"}, headers={"X-API-KEY": "mck_stranger"})
        assert (stranger.status_code, stranger.json()["code"]) == (401, "unauthorized")
        assert api.request(*CONTACTS, headers=bot).status_code == 403
        for method, path, body in (
            (*CONTACTS, None),
            ("POST", "/api/v1/contacts/", {"manychat_id": "MC4"}),
            ("DELETE", "/api/v1/contacts/1", None),
        ):
            refused = api.request(method, path, json=body, headers=admin)
            assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        answer = api.request(*REPORT, headers=admin).json()
        assert answer["api_keys"]["source"] == "file"
        assert any("from its file" in notice for notice in answer["notices"])

        sql.comes_back()
        assert cli("key", "revoke", bot["X-API-KEY"][:12], "--yes").returncode == 0
        eventually(lambda: api.request(*CONTACT, json={}, headers=bot).status_code in (401, 429), "it is refused")
        assert api.request(*CONTACTS, headers=admin).status_code == 200
        assert api.request(*REPORT, headers=admin).json()["api_keys"]["source"] == "sql"
        log = api.log.read_text()
    assert "keys_from_cache" in log
    assert len(world.queues["manychat-contact-queue"].receive(32, 1)) == 2

    # Revoked keys leave the file too; and nothing in it opens anything, or says whose it is.
    text = file.read_text()
    assert [key["digest"] for key in json.loads(text)["keys"]] == [digest(admin["X-API-KEY"])]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for private in (admin["X-API-KEY"], "Informes"):
        assert private not in text
    assert [each.name for each in file.parent.glob("miasalud-api-keys*")] == [file.name]


def test_without_a_file_it_waits_for_sql_and_says_so(cli: Cli, sql: Sql) -> None:
    key = {"X-API-KEY": cli("key", "create", "Bot", "--scope", "webhook").stdout.strip()}
    sql.goes_away()
    with api_process(cli.environment, cli.folder) as api:
        assert api.request(*CONTACT, json={"manychat_id": "MC1"}, headers=key).status_code == 503
        assert api.request("GET", "/health").status_code == 200
        assert "no_keys_known" in api.log.read_text()
        sql.comes_back()
        eventually(lambda: api.request(*CONTACT, json={"manychat_id": "MC1"}, headers=key).status_code == 200)


def test_where_no_file_can_be_written_the_api_works_and_says_so(cli: Cli, sql: Sql) -> None:
    key = {"X-API-KEY": cli("key", "create", "Bot", "--scope", "webhook").stdout.strip()}
    nowhere = {**cli.environment, "BRIDGE_API_KEYS_FILE": str(cli.folder / "no such folder" / "keys.json")}
    with api_process(nowhere, cli.folder) as api:
        assert api.request(*CONTACT, json={"manychat_id": "MC1"}, headers=key).status_code == 200
    lines = [json.loads(line) for line in api.log.read_text().splitlines() if "key_cache_not_written" in line]
    assert len(lines) == 1


# --- SQL that takes the connection and says nothing ------------------------------------------------------------------


@pytest.fixture
def silent_sql(cli: Cli, file: Path) -> Iterator[str]:
    """The key of a bot that SQL knew before it fell silent."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        url = f"postgresql+psycopg://u:p@127.0.0.1:{server.getsockname()[1]}/crm"
        cli.environment["BRIDGE_DATABASE_URL"] = url
        bot = Key(id=1, digest=digest("mck_bot"), scope=Scope.write, expires_at=None)
        database = key_cache.database_id(create_engine(url))
        key_cache.save(file, CachedKeys(database=database, read_at=datetime.now(timezone.utc), keys=(bot,)))
        yield "mck_bot"


def test_requests_that_wait_for_a_silent_sql_keep_no_event_waiting(world: World, cli: Cli, silent_sql: str) -> None:
    headers = {"X-API-KEY": silent_sql}
    # As many as the framework has threads for all routes together.
    with api_process(cli.environment, cli.folder) as api, ThreadPoolExecutor(40) as pool:
        readings = [pool.submit(api.request, *CONTACTS, headers=headers) for _ in range(40)]
        assert api.request(*CONTACT, json={"manychat_id": "MC1"}, headers=headers).status_code == 200
        assert not all(reading.done() for reading in readings)
        assert {reading.result().status_code for reading in readings} == {503}


# --- What is not believed --------------------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A file that was written a moment ago."""
    path = tmp_path / "keys.json"
    _save(path, datetime.now(timezone.utc))
    return path


def _save(path: Path, read_at: datetime) -> None:
    key = Key(id=1, digest=digest("mck_x"), scope=Scope.webhook, expires_at=None, name="Bot")
    key_cache.save(path, CachedKeys(database="ours", read_at=read_at, keys=(key,)))


def test_what_was_kept_is_read_back(kept: Path) -> None:
    (key,) = key_cache.load(kept, "ours").keys
    assert (key.id, key.digest, key.scope, key.expires_at) == (1, digest("mck_x"), Scope.webhook, None)


def test_another_databases_keys_are_none(kept: Path) -> None:
    with pytest.raises(KeyCacheError, match="another database"):
        key_cache.load(kept, "theirs")


def test_each_database_and_each_schema_of_it_has_its_own() -> None:
    urls = ("postgresql+psycopg://u:p@a/one", "postgresql+psycopg://u:p@b/one", "postgresql+psycopg://u:p@a/two")
    engines = [create_engine(url) for url in urls] + [create_engine(urls[0], schema="crm")]
    assert len({key_cache.database_id(engine) for engine in engines}) == 4
    other_password = create_engine("postgresql+psycopg://u:new@a/one")
    assert key_cache.database_id(other_password) == key_cache.database_id(engines[0])


def test_a_file_that_others_could_have_written_is_not_believed(kept: Path) -> None:
    kept.chmod(0o620)
    with pytest.raises(KeyCacheError, match="other users"):
        key_cache.load(kept, "ours")


def test_a_file_from_long_ago_is_not_believed(kept: Path) -> None:
    _save(kept, datetime.now(timezone.utc) - MAX_AGE - timedelta(minutes=1))
    with pytest.raises(KeyCacheError, match="7 days"):
        key_cache.load(kept, "ours")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"database": "ours"}', '{"keys": "\\u0000"}'])
def test_half_a_file_is_none(kept: Path, text: str) -> None:
    kept.write_text(text)
    with pytest.raises(KeyCacheError, match="incomplete"):
        key_cache.load(kept, "ours")


def test_a_full_disk_leaves_the_file_as_it_was(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = kept.read_bytes()

    def full(_descriptor: int) -> None:  # a disk cannot be filled here
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(KeyCacheError, match="No space"):
        _save(kept, datetime.now(timezone.utc))
    assert kept.read_bytes() == before
    assert list(kept.parent.iterdir()) == [kept]

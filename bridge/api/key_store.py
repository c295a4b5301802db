"""The valid keys, kept in memory and read from SQL every few seconds, so that a change needs no restart.

While SQL is down the last known keys stay valid: the webhooks need nothing else from SQL, and a refused event is a lost
patient. An API that starts meanwhile takes them from :mod:`.key_cache`. A key that was revoked meanwhile is refused as
soon as SQL is up again.
"""

from __future__ import annotations

import hmac
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path

import sqlalchemy as sa
import structlog

from .. import connect
from ..contract.keys import Scope, digest
from ..errors import ConfigurationError, Outage
from ..log import kind
from ..store import api_keys
from ..store.engine import in_transaction, read
from . import key_cache
from .key_cache import CachedKeys, Key, KeyCacheError

log = structlog.get_logger()

#: Seconds until a key that was created or revoked elsewhere counts here, at most.
REFRESH = 2.0
#: Time between two writes of a key's "last used".
LAST_USED_RESOLUTION = timedelta(minutes=1)
_SCOPES = {scope.value for scope in Scope}


class KeyStore(threading.Thread):
    """Reads the keys until closed.

    :ivar read_at: when SQL was last read, by this process or by the one that wrote the cache; ``None``: no key is known
    :ivar are_cached: this process has not reached SQL yet
    """

    def __init__(self, engine: sa.Engine, file: Path):
        super().__init__(name="keys", daemon=True)
        self._engine = engine
        self._file = file
        self._database = key_cache.database_id(engine)
        self._closing = threading.Event()
        self._keys: tuple[Key, ...] = ()
        self._cached: CachedKeys | None = None
        self._last_used: dict[int, datetime] = {}
        self._written_last_used: dict[int, datetime] = {}
        self._is_failing = False
        self._cache_problem = ""
        self.read_at: datetime | None = None
        self.are_cached = False

    @property
    def are_known(self) -> bool:
        return self.read_at is not None

    def find(self, text: str) -> Key | None:
        """The valid key that ``text`` is."""
        if not text or not text.isascii():
            return None
        now = datetime.now(timezone.utc)
        given = digest(text)
        # No early exit: the time taken must not show how a wrong key is wrong.
        found = [key for key in self._keys if hmac.compare_digest(key.digest, given)]
        valid = [key for key in found if key.expires_at is None or key.expires_at > now]
        if not valid:
            return None
        self._last_used[valid[0].id] = now
        return valid[0]

    def refresh(self) -> None:
        """Read the keys from SQL.

        :raises Outage: SQL is down; the last known keys stay valid
        :raises UnfitTables: SQL has no tables that this version can use
        """
        if self.read_at is None or self.are_cached:
            connect.require_schema(self._engine)
        now = datetime.now(timezone.utc)
        rows = read(self._engine, api_keys.valid_keys)
        self._keys = tuple(
            Key(
                id=row.id,
                digest=row.digest,
                scope=Scope(row.scope),
                expires_at=row.expires_at,
                zone=row.zone,
                name=row.name,
            )
            for row in rows
            if row.scope in _SCOPES  # a newer version may know more
        )
        self.read_at, self.are_cached = now, False
        self._save_to_cache(now)

    def load_from_cache(self) -> None:
        """Take the keys from the cache, until SQL is up.

        :raises KeyCacheError: it has no keys that can be used
        """
        self._cached = key_cache.load(self._file, self._database)
        self._keys, self.read_at, self.are_cached = self._cached.keys, self._cached.read_at, True

    def _save_to_cache(self, now: datetime) -> None:
        cached = CachedKeys(database=self._database, read_at=now, keys=self._keys)
        if self._cached and self._cached.keys == cached.keys and now - self._cached.read_at < key_cache.RENEWED_AFTER:
            return
        try:
            key_cache.save(self._file, cached)
        except KeyCacheError as problem:
            # This API works without the cache. Only an API that starts while SQL is down needs it.
            if str(problem) != self._cache_problem:
                log.warning("key_cache_not_written", path=str(self._file), reason=str(problem))
            self._cache_problem = str(problem)
        else:
            self._cached, self._cache_problem = cached, ""

    def close(self) -> None:
        self._closing.set()

    def run(self) -> None:
        while not self._closing.wait(REFRESH):
            try:
                self.refresh()
                self._write_last_used()
            except (Outage, ConfigurationError) as error:
                if not self._is_failing:
                    log.warning("keys_not_read", reason=str(error))
                self._is_failing = True
            except Exception as error:  # whatever the error, the known keys stay valid
                log.error("keys_not_read", error=kind(error))
            else:
                self._is_failing = False

    def _write_last_used(self) -> None:
        due = {
            key_id: moment
            for key_id, moment in list(self._last_used.items())
            if key_id not in self._written_last_used or moment - self._written_last_used[key_id] >= LAST_USED_RESOLUTION
        }
        if due:
            in_transaction(self._engine, api_keys.set_last_used, due)
            self._written_last_used.update(due)

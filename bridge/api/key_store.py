"""The valid keys, kept in memory and read anew all the time, so that a change needs no restart.

When SQL is away the last known ones go on being valid: the webhooks need nothing else of SQL, and a refused event is a
patient lost. An API that starts meanwhile takes them from the file of :mod:`.kept_keys`. What was revoked since SQL was
last read is refused as soon as it is back.
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
from .key_cache import KeptKeys, Key, NotKept

log = structlog.get_logger()

#: Seconds after which a key made or revoked elsewhere counts here, at the latest.
REFRESH = 2.0
#: "Last used" is written at most this often for each key.
LAST_USED_RESOLUTION = timedelta(minutes=1)


class Keys(threading.Thread):
    """Reads the keys until closed.

    :ivar read_at: when SQL was last read, by this process or by the one that wrote the file; ``None``: no key is known
    :ivar are_from_file: this process has not reached SQL yet
    """

    def __init__(self, engine: sa.Engine, file: Path):
        super().__init__(name="keys", daemon=True)
        self._engine = engine
        self._file = file
        self._database = key_cache.which(engine)
        self._closing = threading.Event()
        self._keys: tuple[Key, ...] = ()
        self._kept: KeptKeys | None = None
        self._used: dict[int, datetime] = {}
        self._noted: dict[int, datetime] = {}
        self._failing = False
        self._not_kept = ""
        self.read_at: datetime | None = None
        self.are_from_file = False

    @property
    def are_known(self) -> bool:
        return self.read_at is not None

    def find(self, text: str) -> Key | None:
        """The valid key that ``text`` is."""
        if not text or not text.isascii():
            return None
        now = datetime.now(timezone.utc)
        given = digest(text)
        # No early exit: the time taken must not tell how a wrong key is wrong.
        found = [key for key in self._keys if hmac.compare_digest(key.digest, given)]
        valid = [key for key in found if key.expires_at is None or key.expires_at > now]
        if not valid:
            return None
        self._used[valid[0].id] = now
        return valid[0]

    def refresh(self) -> None:
        """Read the keys now.

        :raises Outage: SQL is away; the last known ones stay
        :raises ConfigurationError: it has no tables of this version
        """
        if self.read_at is None or self.are_from_file:
            connect.require_schema(self._engine)
        now = datetime.now(timezone.utc)
        rows = read(self._engine, api_keys.valid_keys)
        self._keys = tuple(
            Key(id=row.id, digest=row.digest, scope=Scope(row.scope), expires_at=row.expires_at, name=row.name)
            for row in rows
        )
        self.read_at, self.are_from_file = now, False
        self._keep(now)

    def recall(self) -> None:
        """Take the keys from the file, until SQL is back.

        :raises NotKept: there are none that could be used
        """
        self._kept = key_cache.load(self._file, self._database)
        self._keys, self.read_at, self.are_from_file = self._kept.keys, self._kept.read_at, True

    def _keep(self, now: datetime) -> None:
        kept = KeptKeys(database=self._database, read_at=now, keys=self._keys)
        if self._kept and self._kept.keys == kept.keys and now - self._kept.read_at < key_cache.RENEWED_AFTER:
            return
        try:
            key_cache.save(self._file, kept)
        except NotKept as problem:
            # The API works without; only one that starts while SQL is away will miss it.
            if str(problem) != self._not_kept:
                log.warning("keys_not_kept", path=str(self._file), reason=str(problem))
            self._not_kept = str(problem)
        else:
            self._kept, self._not_kept = kept, ""

    def close(self) -> None:
        self._closing.set()

    def run(self) -> None:
        while not self._closing.wait(REFRESH):
            try:
                self.refresh()
                self._note_use()
            except (Outage, ConfigurationError) as error:
                if not self._failing:
                    log.warning("keys_not_read", reason=str(error))
                self._failing = True
            except Exception as error:  # whatever it is, the keys that we know stay valid
                log.error("keys_not_read", error=kind(error))
            else:
                self._failing = False

    def _note_use(self) -> None:
        due = {
            key_id: moment
            for key_id, moment in list(self._used.items())
            if key_id not in self._noted or moment - self._noted[key_id] >= LAST_USED_RESOLUTION
        }
        if due:
            in_transaction(self._engine, api_keys.used, due)
            self._noted.update(due)

"""The valid keys, kept in memory and read anew all the time, so that a change needs no restart.

When SQL is away the last known ones go on being valid: the webhooks need nothing else of SQL, and a refused event is a
patient lost. Only an API that has never reached SQL knows no key.
"""

from __future__ import annotations

import hmac
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import sqlalchemy as sa
import structlog

from .. import worker
from ..api_keys import Scope, digest
from ..log import kind
from ..outage import Outage
from ..settings import ConfigurationError
from ..store import api_keys
from ..store.engine import in_transaction

log = structlog.get_logger()

#: Seconds after which a key made or revoked elsewhere counts here, at the latest.
REFRESH = 2.0
#: "Last used" is written at most this often for each key.
LAST_USED_RESOLUTION = timedelta(minutes=1)


@dataclass(frozen=True)
class Key:
    """A key as the API knows it."""

    id: int
    name: str
    digest: str
    scope: Scope
    expires_at: datetime | None


class Keys(threading.Thread):
    """Reads the keys until closed."""

    def __init__(self, engine: sa.Engine):
        super().__init__(name="keys", daemon=True)
        self._engine = engine
        self._closing = threading.Event()
        self._keys: tuple[Key, ...] | None = None
        self._used: dict[int, datetime] = {}
        self._noted: dict[int, datetime] = {}
        self._failing = False

    @property
    def are_known(self) -> bool:
        return self._keys is not None

    def find(self, text: str) -> Key | None:
        """The valid key that ``text`` is."""
        if not text or not text.isascii():
            return None
        now = datetime.now(timezone.utc)
        given = digest(text)
        # No early exit: the time taken must not tell how a wrong key is wrong.
        found = [key for key in self._keys or () if hmac.compare_digest(key.digest, given)]
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
        if self._keys is None:
            worker.require_schema(self._engine)
        rows = in_transaction(self._engine.execution_options(reading=True), api_keys.valid_keys)
        self._keys = tuple(Key(row.id, row.name, row.digest, Scope(row.scope), row.expires_at) for row in rows)

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
            in_transaction(self._engine, lambda connection: api_keys.used(connection, due))
            self._noted.update(due)

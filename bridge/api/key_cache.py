"""A small file with the keys that SQL had when it was last read, for an API that starts while SQL is down.

Without it such an API would know no key, and would answer 503 to bots that it could serve: the webhooks need only the
queue. A file is the simplest place that does not depend on SQL. A second database could be down as well, and an account
that can read the queues should not learn who may write to them.

The file holds digests, scopes, zones and dates, and no names. A digest does not reveal its key: keys are 256 random
bits (see :func:`bridge.contract.keys.digest`), and SQL holds the same digests.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..contract.dates import zone_named
from ..contract.keys import Scope
from ..store.engine import schema_of

#: An older file is not used. No outage of SQL lasts so long. But a folder may come back from a backup or from an old
#: machine, with keys that were revoked long ago.
MAX_AGE = timedelta(days=7)
#: An unchanged set of keys is written again at this age, so that the file's age says when SQL was last up.
RENEWED_AFTER = timedelta(hours=1)


class Key(BaseModel):
    """A valid key as the API knows it.

    :ivar zone: name of the zone of dates without an offset; ``None`` for UTC
    :ivar name: for the log; not in the file
    """

    model_config = ConfigDict(frozen=True)

    id: int
    digest: str
    scope: Scope
    expires_at: datetime | None
    zone: str | None = None
    name: str = Field("(from the file)", exclude=True)

    @property
    def tzinfo(self) -> tzinfo:
        """The zone of dates without an offset. UTC where this machine does not know the zone."""
        with contextlib.suppress(ValueError):
            return zone_named(self.zone or "UTC")
        return timezone.utc


class CachedKeys(BaseModel):
    """The contents of the file.

    :ivar database: digest that identifies the database of the keys: keys of another database are not valid
    :ivar read_at: when SQL was read
    """

    database: str
    read_at: datetime
    keys: tuple[Key, ...]


class KeyCacheError(Exception):
    """The file has no keys that can be used, or it cannot be written. The message says why."""


def database_id(engine: sa.Engine) -> str:
    """A digest that identifies the database, and the schema in it. It does not depend on the password."""
    url = engine.url
    place = [url.get_backend_name(), url.host, url.port, url.database, schema_of(engine)]
    return hashlib.sha256(json.dumps(place).encode()).hexdigest()


def load(path: Path, database: str) -> CachedKeys:
    """Read the file.

    :param database: of :func:`database_id`
    :raises KeyCacheError: missing, writable by another user, too old, or of another database
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            # Another user who can write to the file could add a key of their own.
            if hasattr(os, "geteuid") and (status.st_uid != os.geteuid() or status.st_mode & 0o022):
                raise KeyCacheError("other users may write to it")
            cached = CachedKeys.model_validate_json(file.read())
    except FileNotFoundError:
        raise KeyCacheError("there is no such file yet") from None
    except OSError as error:
        raise KeyCacheError(error.strerror or "it cannot be read") from None
    except ValidationError:
        raise KeyCacheError("it is incomplete") from None
    if cached.database != database:
        raise KeyCacheError("its keys are of another database")
    if datetime.now(timezone.utc) - cached.read_at > MAX_AGE:
        raise KeyCacheError(f"it is more than {MAX_AGE.days} days old")
    return cached


def save(path: Path, cached: CachedKeys) -> None:
    """Replace the file. Only its owner may read it. A concurrent reader gets the old or the new file, complete.

    :raises KeyCacheError: the disk is full, or the folder is not writable
    """
    try:
        # mkstemp makes files that only their owner may read.
        descriptor, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(cached.model_dump_json())
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise KeyCacheError(error.strerror or "it cannot be written") from None

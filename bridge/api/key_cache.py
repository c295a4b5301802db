"""The keys that SQL had when it was last read, in a small file: for an API that starts while SQL is away.

Without it such an API would know no key, and would answer 503 to bots that it could well serve: the webhooks need
nothing but the queue. Of the places that are there when SQL is not, a file is the simplest: a second database would be
one more thing to be away, and whoever can read the queues' account should not learn from it who may write to them.

In the file are digests, scopes and dates, no names. A digest gives no key away: keys are 256 random bits (see
:func:`bridge.cli.key.digest`), those taken in with ``--existing`` as good as Odoo or whoever else made them, and SQL
holds the same digests.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..contract.keys import Scope
from ..store.engine import schema_of

#: A file older than this is not believed. An outage of SQL does not last so long; but a folder may come back from a
#: backup, or from a machine that was put aside, and bring keys along that were revoked long ago.
MAX_AGE = timedelta(days=7)
#: An unchanged set of keys is written again when it is this old, so that the file's age says when SQL was there.
RENEWED_AFTER = timedelta(hours=1)


class Key(BaseModel):
    """A valid key as the API knows it: what tells it, and what it opens.

    :ivar name: for the log; not in the file
    """

    model_config = ConfigDict(frozen=True)

    id: int
    digest: str
    scope: Scope
    expires_at: datetime | None
    name: str = Field("(from the file)", exclude=True)


class KeptKeys(BaseModel):
    """The file's contents.

    :ivar database: the digest of which database they are of: another one's keys are none
    :ivar read_at: when SQL was read
    """

    database: str
    read_at: datetime
    keys: tuple[Key, ...]


class NotKept(Exception):
    """There are no keys in the file that could be used, or they could not be put there. The message says why."""


def which(engine: sa.Engine) -> str:
    """What tells one database, or one schema of it, from another; without its password."""
    url = engine.url
    place = [url.get_backend_name(), url.host, url.port, url.database, schema_of(engine)]
    return hashlib.sha256(json.dumps(place).encode()).hexdigest()


def load(path: Path, database: str) -> KeptKeys:
    """
    :param database: as of :func:`which`
    :raises NotKept: not there, somebody else's, too old, or of another database
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            # Whoever could write here could let themselves in.
            if hasattr(os, "geteuid") and (status.st_uid != os.geteuid() or status.st_mode & 0o022):
                raise NotKept("others may write to it")
            kept = KeptKeys.model_validate_json(file.read())
    except FileNotFoundError:
        raise NotKept("there is none yet") from None
    except OSError as error:
        raise NotKept(error.strerror or "it cannot be read") from None
    except ValidationError:
        raise NotKept("it is not whole") from None
    if kept.database != database:
        raise NotKept("its keys are another database's")
    if datetime.now(timezone.utc) - kept.read_at > MAX_AGE:
        raise NotKept(f"it is more than {MAX_AGE.days} days old")
    return kept


def save(path: Path, kept: KeptKeys) -> None:
    """Put ``kept`` into the file, for its owner's eyes only. Whoever reads meanwhile sees the old or the new one whole.

    :raises NotKept: the disk is full, or the folder is not ours to write to
    """
    try:
        # mkstemp makes files that only their owner may read.
        descriptor, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(kept.model_dump_json())
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise NotKept(error.strerror or "it cannot be written") from None

"""The API's keys: the digest by which a valid one is found, never the key itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timezone

import sqlalchemy as sa
from sqlalchemy import bindparam, or_

from ..contract.fields import to_datetime
from ..contract.keys import OF_BOTS, OdooKey, Scope
from .rows import ApiKeyRow
from .schema import api_keys
from .upsert import chunks

_K = api_keys.c
_USED = (
    api_keys.update()
    .where(_K.id == bindparam("row_id"))
    .values(last_used_at=bindparam("new_last_used_at", type_=_K.last_used_at.type))
)


def add(
    connection: sa.Connection,
    *,
    name: str,
    prefix: str,
    digest: str,
    scope: str,
    expires_at: datetime | None = None,
    zone: str | None = None,
    now: datetime | None = None,
) -> bool:
    """Store a key.

    :param zone: name of the zone of dates without an offset, for a key of the webhooks; ``None`` for UTC
    :return: ``False`` if this very key is there already
    """
    now = now or datetime.now(timezone.utc)
    if connection.execute(sa.select(_K.id).where(_K.digest == digest)).first():
        return False
    row = {
        "name": name,
        "prefix": prefix,
        "digest": digest,
        "scope": scope,
        "created_at": now,
        "expires_at": expires_at,
        "zone": zone,
    }
    connection.execute(api_keys.insert().values(row))
    return True


def all_keys(connection: sa.Connection) -> list[ApiKeyRow]:
    """All keys, oldest first, also those revoked or expired."""
    return [ApiKeyRow._make(row) for row in connection.execute(sa.select(api_keys).order_by(_K.id))]


def valid_keys(connection: sa.Connection, now: datetime | None = None) -> list[ApiKeyRow]:
    """The keys that are valid at ``now``, oldest first."""
    now = now or datetime.now(timezone.utc)
    valid = sa.select(api_keys).where(
        _K.revoked_at.is_(None),
        or_(_K.expires_at.is_(None), _K.expires_at > now),
        or_(_K.in_odoo.is_(None), _K.in_odoo == sa.true()),
    )
    return [ApiKeyRow._make(row) for row in connection.execute(valid.order_by(_K.id))]


def take_over(connection: sa.Connection, valid: Sequence[OdooKey], now: datetime | None = None) -> int:
    """Make the keys that are valid in Odoo valid here, and end here those that ended there.

    A key that an operator revoked here stays revoked. One that was added here as an existing key is Odoo's from now on;
    it keeps a scope that no key of Odoo has. A key of Odoo with a scope that this version does not know opens nothing.

    :param valid: all keys that are valid in Odoo
    :return: how many rows changed
    """
    now = now or datetime.now(timezone.utc)
    known = {row.digest: row for row in all_keys(connection)}
    valid = [key for key in valid if (key.scope or Scope.webhook.value) in OF_BOTS]
    changed = 0
    for key in valid:
        wanted = {
            "name": key.name[:256],
            "expires_at": to_datetime(key.expires_at),
            "zone": key.zone,
            "in_odoo": True,
        }
        row = known.get(key.digest)
        if row is None or row.scope in OF_BOTS:
            wanted["scope"] = key.scope or Scope.webhook.value
        if row is None:
            fixed = {"prefix": key.prefix, "digest": key.digest, "created_at": now}
            connection.execute(api_keys.insert(), [{**wanted, **fixed}])
        elif any(getattr(row, name) != value for name, value in wanted.items()):
            connection.execute(api_keys.update().where(_K.id == row.id).values(wanted))
        else:
            continue
        changed += 1
    ended = [row.id for row in known.values() if row.in_odoo and row.digest not in {key.digest for key in valid}]
    for some in chunks(ended):
        connection.execute(api_keys.update().where(_K.id.in_(some)).values(in_odoo=False))
    return changed + len(ended)


def revoke(connection: sa.Connection, ids: Collection[int], now: datetime | None = None) -> None:
    """Revoke these keys: the API refuses them from now on."""
    now = now or datetime.now(timezone.utc)
    for some in chunks(ids):
        connection.execute(api_keys.update().where(_K.id.in_(some), _K.revoked_at.is_(None)).values(revoked_at=now))


def set_last_used(connection: sa.Connection, moments: Mapping[int, datetime]) -> None:
    """Note when keys were last used.

    :param moments: by key id
    """
    if moments:
        rows = [{"row_id": key_id, "new_last_used_at": moment} for key_id, moment in sorted(moments.items())]
        connection.execute(_USED, rows)

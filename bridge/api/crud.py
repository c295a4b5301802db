"""Create, get, change and delete one row of a resource, or answer what prevents it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
import structlog
from fastapi import Request
from pydantic import BaseModel, ConfigDict, model_validator
from sqlalchemy.exc import IntegrityError

from ..contract.webhook import WebhookError
from ..store import records
from ..store.engine import in_transaction, read
from ..store.records import Duplicate, InUse, NoSuchChannel
from .context import Context
from .errors import duplicate, invalid, not_found

log = structlog.get_logger()

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
#: Fields of an answer that no client can set. A body may contain them, so that a client can send back what it read.
#: Their values are dropped.
READ_ONLY = {"created_at", "updated_at", "extra"}


class Body(BaseModel):
    """The body of a write. An unknown field is an error: it may be misspelt."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _without_read_only(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            return {name: value for name, value in data.items() if name in cls.model_fields or name not in READ_ONLY}
        return data


def create(request: Request, table: sa.Table, body: Body) -> sa.Row[Any]:
    """Create a row.

    :return: the new row
    :raises WebhookError: 409 or 422
    """
    row = _write(request, records.create, table, body.model_dump())
    _log_write(request, table, row.id, "created", row)
    return row


def get(request: Request, table: sa.Table, row_id: int) -> sa.Row[Any]:
    """One row.

    :raises WebhookError: 404
    """
    row = read(Context.of(request).engine, records.get, table, row_id)
    if row is None:
        raise _no_row(table)
    return row


def replace(request: Request, table: sa.Table, row_id: int, body: Body) -> sa.Row[Any]:
    """Write every field. Those that the body leaves out become empty.

    :return: the row as it is now
    :raises WebhookError: 404, 409 or 422
    """
    return _update(request, table, row_id, body.model_dump())


def change(request: Request, table: sa.Table, row_id: int, body: Body) -> sa.Row[Any]:
    """Write only the fields that the body has.

    :return: the row as it is now
    :raises WebhookError: 404, 409 or 422
    """
    return _update(request, table, row_id, body.model_dump(exclude_unset=True))


def delete(request: Request, table: sa.Table, row_id: int) -> None:
    """Delete a row.

    :raises WebhookError: 404 or 409
    """
    if not _write(request, records.delete, table, row_id):
        raise _no_row(table)
    _log_write(request, table, row_id, "deleted")


def _update(request: Request, table: sa.Table, row_id: int, values: dict[str, Any]) -> sa.Row[Any]:
    before = get(request, table, row_id)
    # Events and clients know rows by these, so they never change.
    for name in ("id", "manychat_id"):
        value = values.pop(name, None)
        if value is not None and value != getattr(before, name):
            raise invalid(name, "cannot be changed; create another row")
    row = _write(request, records.update, table, row_id, values)
    if row is None:
        raise _no_row(table)
    _log_write(request, table, row_id, "updated", row)
    return row


def _write(
    request: Request,
    work: Callable[Concatenate[sa.Connection, Arguments], Result],
    *arguments: Arguments.args,
    **named: Arguments.kwargs,
) -> Result:
    try:
        return in_transaction(Context.of(request).engine, work, *arguments, **named)
    except Duplicate as error:
        raise duplicate(error.field, error.row_id) from None
    except NoSuchChannel:
        raise invalid("channel_id", "there is no channel with this id") from None
    except InUse as error:
        raise _in_use(", ".join(table.replace("_", "-") for table in error.tables)) from None
    except IntegrityError:
        # A row that refers to it was created or deleted between our read and our write.
        raise _in_use("another row") from None


def _in_use(by: str) -> WebhookError:
    return WebhookError(409, "in_use", f"The row cannot be deleted or referred to. In use by: {by}.")


def _no_row(table: sa.Table) -> WebhookError:
    return not_found(f"There is no such row in {table.name}.")


def _log_write(request: Request, table: sa.Table, row_id: int, outcome: str, row: Any = None) -> None:
    """Log which key changed which row. The values are personal data and not logged."""
    log.info(
        "api_write",
        table=table.name,
        row_id=row_id,
        outcome=outcome,
        key=request.state.key.name,
        manychat_id=getattr(row, "manychat_id", None),
    )

"""Creating, changing and deleting one row, and saying what stands in the way."""

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
from .errors import invalid, not_found

log = structlog.get_logger()

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
#: What an answer holds and nobody can set: allowed in a body, so that what was read can be sent back, and dropped.
READ_ONLY = {"created_at", "updated_at"}


class Body(BaseModel):
    """A body that is written. A field that it does not know is an error: it might be a misspelt one."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _without_read_only(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            return {name: value for name, value in data.items() if name in cls.model_fields or name not in READ_ONLY}
        return data


def create(request: Request, table: sa.Table, body: Body) -> Any:
    """
    :return: the new row
    :raises WebhookError: 409 or 422
    """
    row = _write(request, records.create, table, body.model_dump())
    _note(request, table, row.id, "created", row)
    return row


def get(request: Request, table: sa.Table, row_id: int) -> Any:
    """:raises WebhookError: 404"""
    row = read(Context.of(request).engine, records.get, table, row_id)
    if row is None:
        raise _no_row(table)
    return row


def replace(request: Request, table: sa.Table, row_id: int, body: Body) -> Any:
    """Write every field; those that the body leaves out become empty.

    :return: the row as it is now
    :raises WebhookError: 404, 409 or 422
    """
    return _update(request, table, row_id, body.model_dump())


def change(request: Request, table: sa.Table, row_id: int, body: Body) -> Any:
    """Write only the fields that the body has.

    :return: the row as it is now
    :raises WebhookError: 404, 409 or 422
    """
    return _update(request, table, row_id, body.model_dump(exclude_unset=True))


def delete(request: Request, table: sa.Table, row_id: int) -> None:
    """:raises WebhookError: 404 or 409"""
    if not _write(request, records.delete, table, row_id):
        raise _no_row(table)
    _note(request, table, row_id, "deleted")


def _update(request: Request, table: sa.Table, row_id: int, values: dict[str, Any]) -> Any:
    before = get(request, table, row_id)
    # What rows are known by, to events as well, cannot be changed under them.
    for name in ("id", "manychat_id"):
        value = values.pop(name, None)
        if value is not None and value != getattr(before, name):
            raise invalid(name, "cannot be changed; make another one")
    row = _write(request, records.update, table, row_id, values)
    if row is None:
        raise _no_row(table)
    _note(request, table, row_id, "updated", row)
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
        message = f"There is one with this {error.field} already: id {error.row_id}."
        raise WebhookError(
            409, "duplicate", message, [{"field": error.field, "message": f"is that of id {error.row_id} already"}]
        ) from None
    except NoSuchChannel:
        raise invalid("channel_id", "there is no channel with this id") from None
    except InUse as error:
        raise _in_use(", ".join(table.replace("_", "-") for table in error.tables)) from None
    except IntegrityError:
        # Somebody began or ceased to refer to it between our look and our write.
        raise _in_use("something else") from None


def _in_use(by: str) -> WebhookError:
    return WebhookError(409, "in_use", f"It cannot be deleted or referred to: {by} depends on it.")


def _no_row(table: sa.Table) -> WebhookError:
    return not_found(f"There is no such row in {table.name}.")


def _note(request: Request, table: sa.Table, row_id: int, what: str, row: Any = None) -> None:
    """Who changed what is in the log; with which contents is not, since they are people's."""
    log.info(
        "api_write",
        table=table.name,
        row_id=row_id,
        outcome=what,
        key=request.state.key.name,
        manychat_id=getattr(row, "manychat_id", None),
    )

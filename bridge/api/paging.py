"""Lists in pages: the parameters ``limit``, ``cursor`` and ``sort``, and one page as the answer."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import datetime, timezone
from typing import Annotated, Any, Generic, Literal, TypeVar

import sqlalchemy as sa
from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

from ..contract.fields import MAX_INT, format_datetime
from ..store.engine import read
from ..store.listing import Listing, page
from .context import Context
from .errors import invalid, not_found

Item = TypeVar("Item", bound=BaseModel)

LIMIT = 50
LARGEST_LIMIT = 200


class Page(BaseModel, Generic[Item]):
    """Some rows of a list."""

    items: list[Item]
    next_cursor: str | None = Field(description="For the next page, as `cursor`; `null` on the last one.")


class ListQuery(BaseModel):
    """The parameters of every list. Each list adds its filters. An unknown parameter is an error."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=LARGEST_LIMIT, description="Rows at most.")] = LIMIT
    cursor: Annotated[
        str | None,
        Field(max_length=500, description="`next_cursor` of the page before, with the same `sort` and filters."),
    ] = None

    #: One of the sort columns of the listing, with ``-`` in front for descending order. Each list names its own.
    sort: str = "id"

    def filters(self) -> dict[str, Any]:
        return self.model_dump(exclude={"limit", "cursor", "sort"}, exclude_none=True)


class UpdatedListQuery(ListQuery):
    """The parameters of a list whose rows change after they were created."""

    sort: Literal["id", "-id", "updated_at", "-updated_at"] = "id"


def list_page(request: Request, listing: Listing, model: type[Item], query: ListQuery, **fixed: Any) -> Page[Item]:
    """One page of a list.

    :param fixed: filters that the route sets, not the caller
    :raises bridge.contract.webhook.WebhookError: 422: not a cursor of this list, or a duplicate parameter
    """
    for name in request.query_params:
        if len(request.query_params.getlist(name)) > 1:
            raise invalid(name, "is a duplicate parameter in the address")
    sort = query.sort
    by, descending = sort.removeprefix("-"), sort.startswith("-")
    after = _decode(query.cursor, sort, _largest(listing.id)) if query.cursor else None
    rows, following = read(
        Context.of(request).engine,
        page,
        listing,
        query.filters() | fixed,
        by,
        descending=descending,
        after=after,
        limit=query.limit,
    )
    return Page(
        items=[model.model_validate(dict(row._mapping)) for row in rows],
        next_cursor=_encode(following, sort) if following else None,
    )


def get_one(request: Request, listing: Listing, model: type[Item], **filters: Any) -> Item:
    """The one row of a list that has these values.

    :raises bridge.contract.webhook.WebhookError: 404
    """
    rows = list_page(request, listing, model, ListQuery(limit=1), **filters).items
    if not rows:
        raise not_found("There is no such row.")
    return rows[0]


def _encode(after: tuple[Any, int], sort: str) -> str:
    value, row_id = after
    value = format_datetime(value) if isinstance(value, datetime) else value
    return base64.urlsafe_b64encode(json.dumps([sort, value, row_id]).encode()).decode().rstrip("=")


def _largest(column: sa.Column[Any]) -> int:
    """The largest value of ``column``: PostgreSQL refuses to compare it with a larger one."""
    return 2**63 - 1 if isinstance(column.type, sa.BigInteger) else MAX_INT


def _decode(cursor: str, sort: str, largest_id: int) -> tuple[Any, int]:
    """The sort value and the id in ``cursor``. It needs no signature: a forged one shows no other rows."""
    try:
        own_sort, value, row_id = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True))
        if own_sort != sort:
            raise invalid("cursor", f"belongs to a list with sort={str(own_sort)[:32]}")
        if isinstance(value, str):
            value = datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
        is_id = sort.removeprefix("-") == "id"
        # type() and not isinstance(): to Python, true is a number.
        well_formed = type(row_id) is int and 0 <= row_id <= largest_id and type(value) is (int if is_id else datetime)
    except (binascii.Error, ValueError, TypeError, RecursionError):
        well_formed = False
    if not well_formed:
        raise invalid("cursor", "is not one that this list gave")
    return value, row_id

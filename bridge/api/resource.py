"""One resource, one place: the routes that contacts, campaigns, channels and advisers share.

FastAPI learns what a route takes from its annotations. Here they are variables, the models given, which Python can look
up only while annotations are evaluated at once: hence no ``from __future__ import annotations`` in this module, and the
``type: ignore`` at each.
"""

from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Path, Request, Response, Security
from fastapi import Query as Parameters
from pydantic import BaseModel

from ..store.listing import Listing
from . import crud
from .auth import DOCUMENTED_KEY, Guarded
from .crud import Body
from .errors import ALWAYS, WITH_BODY, documented
from .fields import RowId
from .paging import Page, Query, listed

Row = Annotated[RowId, Path()]
NOT_FOUND = documented(404)
_WRITING = WITH_BODY | documented(409)


def guarded(prefix: str, tag: str) -> APIRouter:
    """A router whose routes all need a key, and say so."""
    return APIRouter(
        prefix=prefix,
        tags=[tag],
        route_class=Guarded,
        responses=ALWAYS,
        dependencies=[Security(DOCUMENTED_KEY)],
    )


def add_list(
    router: APIRouter,
    path: str,
    listing: Listing,
    *,
    model: type[BaseModel],
    query: type[Query],
    name: str,
    summary: str,
) -> None:
    """Add the route that lists, in pages.

    :param model: of one row
    :param query: its parameters: filters, order, page
    :param name: of the operation; clients made from the description call it so
    """

    def list_rows(request: Request, asked: Annotated[query, Parameters()]) -> Any:  # type: ignore[valid-type]
        return listed(request, listing, model, asked)

    router.add_api_route(path, list_rows, response_model=Page[model], name=name, summary=summary)  # type: ignore[valid-type]


def writable(
    table: sa.Table,
    listing: Listing,
    *,
    model: type[BaseModel],
    new: type[Body],
    replaced: type[Body] | None = None,
    change: type[Body],
    query: type[Query],
    one: str,
    many: str,
) -> APIRouter:
    """List, create, get, replace, change and delete the rows of ``table``, at ``/api/v1/`` and its name.

    :param model: what is answered
    :param new: what is created
    :param replaced: what a PUT takes, if it is not what is created
    :param change: what a PATCH takes
    :param query: what the list takes
    :param one: what to call one row in the description, with its article
    :param many: … and several
    """
    router = guarded(f"/api/v1/{table.name}", table.name)
    entity = table.name.removesuffix("s")
    replacement = replaced or new

    add_list(router, "/", listing, model=model, query=query, name=f"list_{table.name}", summary=f"List {many}")

    @router.post(
        "/",
        status_code=201,
        response_model=model,
        responses=_WRITING,
        name=f"create_{entity}",
        summary=f"Create {one}",
    )
    def create(request: Request, body: new, response: Response) -> Any:  # type: ignore[valid-type]
        row = crud.create(request, table, body)
        response.headers["Location"] = f"{router.prefix}/{row.id}"
        return row._mapping

    @router.get(
        "/{row_id}",
        response_model=model,
        responses=NOT_FOUND,
        name=f"get_{entity}",
        summary=f"Get {one}",
    )
    def get(request: Request, row_id: Row) -> Any:
        return crud.get(request, table, row_id)._mapping

    @router.put(
        "/{row_id}",
        response_model=model,
        responses=_WRITING | NOT_FOUND,
        name=f"replace_{entity}",
        summary=f"Replace {one}",
    )
    def replace(request: Request, row_id: Row, body: replacement) -> Any:  # type: ignore[valid-type]
        return crud.replace(request, table, row_id, body)._mapping

    @router.patch(
        "/{row_id}",
        response_model=model,
        responses=_WRITING | NOT_FOUND,
        name=f"change_{entity}",
        summary="Change some fields",
    )
    def change_row(request: Request, row_id: Row, body: change) -> Any:  # type: ignore[valid-type]
        return crud.change(request, table, row_id, body)._mapping

    @router.delete(
        "/{row_id}",
        status_code=204,
        responses=documented(404, 409),
        name=f"delete_{entity}",
        summary=f"Delete {one}",
    )
    def delete(request: Request, row_id: Row) -> None:
        crud.delete(request, table, row_id)

    return router

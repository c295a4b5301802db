"""The routes that contacts, campaigns, channels and advisers share, and those that every list shares.

FastAPI reads a route's parameters from its annotations. Here these are variables: the models of the resource. Python
can look them up only if annotations are evaluated at once. So this module has no ``from __future__ import
annotations``, and each such annotation needs a ``type: ignore``.
"""

from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Path, Query, Request, Response, Security
from pydantic import BaseModel

from ..store.listing import Listing
from . import crud
from .auth import DOCUMENTED_KEY, AuthenticatedRoute
from .crud import Body
from .errors import ALWAYS, WITH_BODY, error_responses
from .fields import RowId
from .paging import ListQuery, Page, list_page

RowIdPath = Annotated[RowId, Path()]
NOT_FOUND = error_responses(404)
_WRITING = WITH_BODY | error_responses(409)


def authenticated_router(prefix: str, tag: str) -> APIRouter:
    """A router whose routes all need a key, also in their OpenAPI description."""
    return APIRouter(
        prefix=prefix,
        tags=[tag],
        route_class=AuthenticatedRoute,
        responses=ALWAYS,
        dependencies=[Security(DOCUMENTED_KEY)],
    )


def add_list(
    router: APIRouter,
    path: str,
    listing: Listing,
    *,
    model: type[BaseModel],
    query: type[ListQuery],
    name: str,
    summary: str,
) -> None:
    """Add the route of a list, in pages.

    :param model: of one row
    :param query: the route's parameters: filters, order, page
    :param name: of the operation, which generated clients use
    """

    def list_rows(request: Request, parameters: Annotated[query, Query()]) -> Any:  # type: ignore[valid-type]
        return list_page(request, listing, model, parameters)

    router.add_api_route(path, list_rows, response_model=Page[model], name=name, summary=summary)  # type: ignore[valid-type]


def crud_router(
    table: sa.Table,
    listing: Listing,
    *,
    model: type[BaseModel],
    new: type[Body],
    replaced: type[Body] | None = None,
    change: type[Body],
    query: type[ListQuery],
    one: str,
    many: str,
) -> APIRouter:
    """A router that lists, creates, gets, replaces, changes and deletes the rows of ``table``, at ``/api/v1/TABLE``.

    :param model: of a row in an answer
    :param new: body of a POST
    :param replaced: body of a PUT; default: ``new``
    :param change: body of a PATCH
    :param query: parameters of the list
    :param one: name of one row in the description, with its article
    :param many: name of several
    """
    router = authenticated_router(f"/api/v1/{table.name}", table.name)
    entity = table.name.removesuffix("s")

    add_list(router, "/", listing, model=model, query=query, name=f"list_{table.name}", summary=f"List {many}")
    _add_writes(router, table, model=model, new=new, replaced=replaced or new, change=change, one=one)

    @router.get(
        "/{row_id}",
        response_model=model,
        responses=NOT_FOUND,
        name=f"get_{entity}",
        summary=f"Get {one}",
    )
    def get(request: Request, row_id: RowIdPath) -> Any:
        return crud.get(request, table, row_id)._mapping

    @router.delete(
        "/{row_id}",
        status_code=204,
        responses=error_responses(404, 409),
        name=f"delete_{entity}",
        summary=f"Delete {one}",
    )
    def delete(request: Request, row_id: RowIdPath) -> None:
        crud.delete(request, table, row_id)

    return router


def _add_writes(
    router: APIRouter,
    table: sa.Table,
    *,
    model: type[BaseModel],
    new: type[Body],
    replaced: type[Body],
    change: type[Body],
    one: str,
) -> None:
    entity = table.name.removesuffix("s")

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

    @router.put(
        "/{row_id}",
        response_model=model,
        responses=_WRITING | NOT_FOUND,
        name=f"replace_{entity}",
        summary=f"Replace {one}",
    )
    def replace(request: Request, row_id: RowIdPath, body: replaced) -> Any:  # type: ignore[valid-type]
        return crud.replace(request, table, row_id, body)._mapping

    @router.patch(
        "/{row_id}",
        response_model=model,
        responses=_WRITING | NOT_FOUND,
        name=f"change_{entity}",
        summary="Change some fields",
    )
    def change_row(request: Request, row_id: RowIdPath, body: change) -> Any:  # type: ignore[valid-type]
        return crud.change(request, table, row_id, body)._mapping

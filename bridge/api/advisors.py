"""``/api/v1/advisors/``: who looks after people."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request, Response, Security
from fastapi import Query as QueryParameters
from pydantic import BaseModel, ConfigDict

from ..store.listing import ADVISORS
from ..store.schema import advisors
from . import writing
from .answers import ALWAYS, WITH_BODY, documented
from .fields import Email, Id, MomentFilter, Name, Phone, RowId
from .guard import DOCUMENTED_KEY, Guarded
from .paging import Page, Query, listed
from .writing import Body

router = APIRouter(
    prefix="/api/v1/advisors",
    tags=["advisors"],
    route_class=Guarded,
    responses=ALWAYS,
    dependencies=[Security(DOCUMENTED_KEY)],
)
Row = Annotated[RowId, Path()]
_WRITING = WITH_BODY | documented(409)
_NOT_FOUND = documented(404)


class AdvisorFields(Body):
    name: Name = None
    email: Email = None
    phone: Phone = None
    role: Literal["commercial", "medical"] | None = None


class NewAdvisor(AdvisorFields):
    """An adviser. Its `id` is what events name as `comercial_id` or `medico_id`; without one it gets a free one."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"name": "Dra. Laura", "email": "laura@ejemplo.com", "phone": "+521234567891"}}
    )

    id: Id = None


class AdvisorChange(AdvisorFields):
    """The fields to change. What it leaves out stays; `null` empties."""

    model_config = ConfigDict(json_schema_extra={"example": {"role": "medical"}})

    id: Id = None


class Advisor(BaseModel):
    """An adviser. One that an event named first has nothing but id and role until somebody completes it here."""

    id: int
    name: str | None
    email: str | None
    phone: str | None
    role: str | None
    created_at: datetime
    updated_at: datetime


class AdvisorQuery(Query):
    sort: Literal["id", "-id", "updated_at", "-updated_at"] = "id"
    role: Literal["commercial", "medical"] | None = None
    updated_since: MomentFilter = None


@router.get("/", summary="List advisers")
def list_advisors(request: Request, query: Annotated[AdvisorQuery, QueryParameters()]) -> Page[Advisor]:
    return listed(request, ADVISORS, Advisor, query, query.sort)


@router.post("/", status_code=201, response_model=Advisor, responses=_WRITING, summary="Create an adviser")
def create_advisor(request: Request, body: NewAdvisor, response: Response) -> Any:
    row = writing.create(request, advisors, body)
    response.headers["Location"] = f"/api/v1/advisors/{row.id}"
    return row._mapping


@router.get("/{row_id}", response_model=Advisor, responses=_NOT_FOUND, summary="Get an adviser")
def get_advisor(request: Request, row_id: Row) -> Any:
    return writing.get(request, advisors, row_id)._mapping


@router.put("/{row_id}", response_model=Advisor, responses=_WRITING | _NOT_FOUND, summary="Replace an adviser")
def replace_advisor(request: Request, row_id: Row, body: NewAdvisor) -> Any:
    return writing.replace(request, advisors, row_id, body)._mapping


@router.patch("/{row_id}", response_model=Advisor, responses=_WRITING | _NOT_FOUND, summary="Change some fields")
def change_advisor(request: Request, row_id: Row, body: AdvisorChange) -> Any:
    return writing.change(request, advisors, row_id, body)._mapping


@router.delete("/{row_id}", status_code=204, responses=documented(404, 409), summary="Delete an adviser")
def delete_advisor(request: Request, row_id: Row) -> None:
    writing.delete(request, advisors, row_id)

"""``/api/v1/contacts/``: people, by their ManyChat ids."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request, Response, Security
from fastapi import Query as QueryParameters
from pydantic import BaseModel, ConfigDict, Field

from ..store.listing import CONTACTS
from ..store.schema import contacts
from . import writing
from .answers import ALWAYS, WITH_BODY, documented
from .fields import (
    Email,
    Id,
    IdFilter,
    Label,
    LabelFilter,
    ManyChatId,
    Moment,
    MomentFilter,
    Name,
    Phone,
    RowId,
    SameManyChatId,
)
from .guard import DOCUMENTED_KEY, Guarded
from .paging import Page, Query, listed
from .writing import Body

router = APIRouter(
    prefix="/api/v1/contacts",
    tags=["contacts"],
    route_class=Guarded,
    responses=ALWAYS,
    dependencies=[Security(DOCUMENTED_KEY)],
)
Row = Annotated[RowId, Path()]
_WRITING = WITH_BODY | documented(409)
_NOT_FOUND = documented(404)


class ContactFields(Body):
    first_name: Name = None
    last_name: Name = None
    phone: Phone = None
    email: Email = None
    channel_id: Id = None
    subscribed_at: Moment = None
    initial_state: Label = None
    last_state: Label = None


class NewContact(ContactFields):
    """A person, by their ManyChat id."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "manychat_id": "MC12345",
                "first_name": "Juan",
                "last_name": "Pérez",
                "phone": "+521234567890",
                "channel_id": 1,
            }
        }
    )

    manychat_id: ManyChatId


class ContactChange(ContactFields):
    """The fields to change. What it leaves out stays; `null` empties."""

    model_config = ConfigDict(json_schema_extra={"example": {"phone": "+520000000001", "last_state": "Cotiza"}})

    id: Id = None
    manychat_id: SameManyChatId = None


class ReplacedContact(NewContact):
    id: Id = None


class Contact(BaseModel):
    """A contact as it is stored. What is written here counts as newer than all events that happened before."""

    id: int
    manychat_id: str
    first_name: str | None
    last_name: str | None
    phone: str | None
    email: str | None
    channel_id: int | None
    subscribed_at: datetime | None
    initial_state: str | None
    last_state: str | None
    created_at: datetime
    updated_at: datetime


class ContactQuery(Query):
    sort: Literal["id", "-id", "updated_at", "-updated_at"] = "id"
    manychat_id: ManyChatId | None = None
    updated_since: MomentFilter = None
    state: Annotated[LabelFilter, Field(description="`last_state`, exactly.")] = None
    channel: Annotated[LabelFilter, Field(description="The channel's name, as events give it.")] = None
    channel_id: IdFilter = None


@router.get("/", summary="List contacts")
def list_contacts(request: Request, query: Annotated[ContactQuery, QueryParameters()]) -> Page[Contact]:
    return listed(request, CONTACTS, Contact, query, query.sort)


@router.post("/", status_code=201, response_model=Contact, responses=_WRITING, summary="Create a contact")
def create_contact(request: Request, body: NewContact, response: Response) -> Any:
    row = writing.create(request, contacts, body)
    response.headers["Location"] = f"/api/v1/contacts/{row.id}"
    return row._mapping


@router.get("/{row_id}", response_model=Contact, responses=_NOT_FOUND, summary="Get a contact")
def get_contact(request: Request, row_id: Row) -> Any:
    return writing.get(request, contacts, row_id)._mapping


@router.put("/{row_id}", response_model=Contact, responses=_WRITING | _NOT_FOUND, summary="Replace a contact")
def replace_contact(request: Request, row_id: Row, body: ReplacedContact) -> Any:
    return writing.replace(request, contacts, row_id, body)._mapping


@router.patch("/{row_id}", response_model=Contact, responses=_WRITING | _NOT_FOUND, summary="Change some fields")
def change_contact(request: Request, row_id: Row, body: ContactChange) -> Any:
    return writing.change(request, contacts, row_id, body)._mapping


@router.delete("/{row_id}", status_code=204, responses=documented(404, 409), summary="Delete a contact")
def delete_contact(request: Request, row_id: Row) -> None:
    writing.delete(request, contacts, row_id)

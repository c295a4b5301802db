"""``/api/v1/contacts/``: people, by their ManyChat ids."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from ..store.listing import CONTACTS
from ..store.schema import contacts
from .crud import Body
from .fields import (
    Email,
    Extra,
    Id,
    IdFilter,
    Label,
    LabelFilter,
    ManyChatId,
    MomentFilter,
    Name,
    PastMoment,
    Phone,
    SameManyChatId,
)
from .paging import UpdatedListQuery
from .resource import crud_router


class ContactFields(Body):
    first_name: Name = None
    last_name: Name = None
    phone: Phone = None
    email: Email = None
    channel_id: Id = None
    subscribed_at: PastMoment = None
    initial_state: Label = None
    last_state: Label = None


class NewContact(ContactFields):
    """A person. The ManyChat id identifies them."""

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
    """The fields to change. A field left out stays as it is; `null` empties it."""

    model_config = ConfigDict(json_schema_extra={"example": {"phone": "+520000000001", "last_state": "Cotiza"}})

    id: Id = None
    manychat_id: SameManyChatId = None


class ReplacedContact(NewContact):
    id: Id = None


class Contact(BaseModel):
    """A contact as it is stored. A change made here counts as newer than all events that happened before it."""

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
    extra: Extra
    created_at: datetime
    updated_at: datetime


class ContactQuery(UpdatedListQuery):
    manychat_id: ManyChatId | None = None
    updated_since: MomentFilter = None
    state: Annotated[LabelFilter, Field(description="`last_state`, exactly.")] = None
    channel: Annotated[LabelFilter, Field(description="The channel's name, as in events.")] = None
    channel_id: IdFilter = None


router = crud_router(
    contacts,
    CONTACTS,
    model=Contact,
    new=NewContact,
    replaced=ReplacedContact,
    change=ContactChange,
    query=ContactQuery,
    one="a contact",
    many="contacts",
)

"""``/api/v1/advisors/``: the people who look after contacts."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ..store.listing import ADVISORS
from ..store.schema import advisors
from .crud import Body
from .fields import Email, Id, MomentFilter, Name, Phone
from .paging import UpdatedListQuery
from .resource import crud_router


class AdvisorFields(Body):
    name: Name = None
    email: Email = None
    phone: Phone = None
    role: Literal["commercial", "medical"] | None = None


class NewAdvisor(AdvisorFields):
    """An adviser. Events name its `id` as `comercial_id` or `medico_id`. Without an `id` it gets a free one."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"name": "Dra. Laura", "email": "laura@ejemplo.com", "phone": "+521234567891"}}
    )

    id: Id = None


class AdvisorChange(AdvisorFields):
    """The fields to change. A field left out stays as it is; `null` empties it."""

    model_config = ConfigDict(json_schema_extra={"example": {"role": "medical"}})

    id: Id = None


class Advisor(BaseModel):
    """An adviser. One that an event named first has only id and role until a client completes it here."""

    id: int
    name: str | None
    email: str | None
    phone: str | None
    role: str | None
    created_at: datetime
    updated_at: datetime


class AdvisorQuery(UpdatedListQuery):
    role: Literal["commercial", "medical"] | None = None
    updated_since: MomentFilter = None


router = crud_router(
    advisors,
    ADVISORS,
    model=Advisor,
    new=NewAdvisor,
    change=AdvisorChange,
    query=AdvisorQuery,
    one="an adviser",
    many="advisers",
)

"""``/api/v1/advisors/``: who looks after people."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ..store.listing import ADVISORS
from ..store.schema import advisors
from .crud import Body
from .fields import Email, Id, MomentFilter, Name, Phone
from .paging import WrittenQuery
from .resource import writable


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


class AdvisorQuery(WrittenQuery):
    role: Literal["commercial", "medical"] | None = None
    updated_since: MomentFilter = None


router = writable(
    advisors,
    ADVISORS,
    model=Advisor,
    new=NewAdvisor,
    change=AdvisorChange,
    query=AdvisorQuery,
    one="an adviser",
    many="advisers",
)

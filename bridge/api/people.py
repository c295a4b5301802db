"""``/api/v1/manychat/people/{manychat_id}``: a bot asks how far one person is. Odoo has the same route.

This one answers from SQL, and says how old the answer is: a proxy may send bots here while Odoo restarts.
"""

from __future__ import annotations

from datetime import datetime, timezone
from functools import partial
from typing import Any, Literal

from anyio import fail_after, to_thread
from fastapi import APIRouter, Request, Security
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from ..contract import person, webhook
from ..store import people
from ..store.engine import read
from .auth import DOCUMENTED_KEY, AskRoute
from .context import Context
from .errors import ALWAYS, json_response

router = APIRouter(route_class=AskRoute, tags=["people"], responses=ALWAYS, dependencies=[Security(DOCUMENTED_KEY)])
_ADDRESS = f"{person.PATH}{{manychat_id:path}}"


class PersonAnswer(BaseModel):
    """How far a person's opportunity is. Each value but the first three may be `null`."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "status": "ok",
                "manychat_id": "1234567890123456789",
                "found": True,
                "stage": "Comienza Cotización",
                "stage_id": 25,
                "odoo_stage": "Comienza Cotización",
                "opportunity": "open",
                "salesperson": "Ana Torres",
                "medical_advisor": "Dra. Ruiz",
                "decided_at": "2026-03-02T14:05:00.000000Z",
                "as_of": "2026-03-02T14:05:00.000000Z",
                "age_seconds": 42,
            }
        }
    )

    status: Literal["ok"]
    manychat_id: str
    found: bool = Field(description="`false`: the person has no opportunity in Odoo.")
    stage: str | None = Field(description="ManyChat's label of the stage; `null` if none is mapped to it.")
    stage_id: int | None = Field(description="ManyChat's number of that stage.")
    odoo_stage: str | None
    opportunity: Literal["open", "won", "lost"] | None
    salesperson: str | None
    medical_advisor: str | None
    decided_at: datetime | None = Field(description="When a person in Odoo last changed the opportunity.")
    as_of: datetime | None = Field(description="When Odoo had it so.")
    age_seconds: int | None = Field(description="Since `as_of`.")


class Message(BaseModel):
    type: Literal["text"]
    text: str


class Content(BaseModel):
    type: Literal["whatsapp", "instagram", "telegram"] | None = None
    messages: list[Message] = Field(max_length=10)


class DynamicBlock(BaseModel):
    """What the bot says in this stage, as ManyChat's Dynamic Block."""

    version: Literal["v2"]
    content: Content


def _parameter(name: str, choices: Any, description: str) -> dict[str, Any]:
    schema = {"type": "string", "enum": [each.value for each in choices]}
    return {"name": name, "in": "query", "description": description, "schema": schema}


_PARAMETERS = [
    _parameter("format", person.AnswerFormat, "`dynamic`: ManyChat's Dynamic Block v2. Default: `flat`."),
    _parameter("channel", person.Channel, "Of a Dynamic Block: where the conversation is. Default: `messenger`."),
]


@router.head(_ADDRESS, include_in_schema=False)
@router.get(
    _ADDRESS,
    summary="Ask how far a person is",
    operation_id="get_person",
    response_class=Response,
    responses={200: {"model": PersonAnswer | DynamicBlock}},
    openapi_extra={"parameters": _PARAMETERS},
)
async def _ask(request: Request, manychat_id: str) -> Response:
    # Not from manychat_id: on the way here the address lost doubled slashes.
    question = person.read_question(request.scope["raw_path"], request.scope["query_string"])
    context = Context.of(request)
    look_up = partial(read, context.engine, people.find, question.manychat_id)
    try:
        # SQL that hangs has its thread for longer than ManyChat waits.
        with fail_after(person.SECONDS):
            found = await to_thread.run_sync(look_up, abandon_on_cancel=True, limiter=context.asking)
    except TimeoutError:
        raise webhook.unavailable() from None
    now = datetime.now(timezone.utc)
    return json_response(200, person.answer(question, found, now=now, zone=request.state.key.tzinfo))

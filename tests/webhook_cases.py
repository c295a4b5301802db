"""Requests to the webhooks, and what each must be answered, by Odoo's and by the bridge's standby alike."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from bridge.contract.payloads import EventType
from bridge.contract.request_headers import RequestHeaders

from .contract import test_documents_examples as document

CONTACT = EventType.CONTACT.route
OPPORTUNITY = EventType.OPPORTUNITY.route
UPDATE = EventType.CAMPAIGN_CONTACT.route

_STAGE = {"stage_id": 17, "date": "2026-03-02T09:00:00Z"}


@dataclass(frozen=True)
class Case:
    """One request.

    :ivar key: the ``X-API-KEY``; ``None`` for the right one, ``""`` for no header
    :ivar code: of the error; empty if it is accepted, or valid in a dry run
    :ivar differs: fields of the answer that only Odoo can tell
    """

    name: str
    route: tuple[str, str]
    body: Any
    status: int
    code: str = ""
    fields: tuple[str, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)
    key: str | None = None
    differs: tuple[str, ...] = ()

    @property
    def is_stored(self) -> bool:
        return self.status == 200 and not RequestHeaders(self.headers.get).is_dry_run

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def opportunity(**fields: Any) -> dict[str, Any]:
    return {"manychat_id": "MC-CASE", "state": _STAGE, **fields}


_MESSY = opportunity(
    manychat_id=1234567890,
    first_name="{{first_name}}",
    last_name=None,
    phone=520000000001,
    channel="",
    entry_date="2026-03-02 09:00:00",
    medical_advisor_id="0",
    commercial_advisor_id="700",
    state={"stage_id": "17", "summary": "👩‍⚕️ Ñandú\u0000", "date": "2026-03-02T04:00:00-05:00"},
    custom={"anything": [1, 2]},
)
_EXAMPLES = {
    "contact": (CONTACT, document.CONTACT),
    "assignment": (EventType.CAMPAIGN_ASSIGNMENT.route, document.ASSIGNMENT),
    "update": (UPDATE, document.UPDATE),
    "contact of the migration": (CONTACT, document.MIGRATION_CONTACT),
    "opportunity": (OPPORTUNITY, document.OPPORTUNITY),
}
_NOT_JSON = {
    "nothing": b"",
    "half an object": b"{",
    "a list": b"[]",
    "null": b"null",
    "NaN": b'{"manychat_id": NaN}',
    "a field twice": b'{"manychat_id": 1, "manychat_id": 2}',
    "no UTF-8": b'{"manychat_id": "\xff"}',
    "brackets": b"[" * 20_000,
    "too deep": b'{"a":' * 20 + b"1" + b"}" * 20,
    "a number without end": b'{"manychat_id": ' + b"1" * 5_000 + b"}",
}
_INVALID: dict[str, tuple[tuple[str, str], Any, tuple[str, ...]]] = {
    "nobody": (CONTACT, {}, ("manychat_id",)),
    "person 0": (CONTACT, {"manychat_id": 0}, ("manychat_id",)),
    "a number of no size": (CONTACT, b'{"manychat_id": 1e400}', ("manychat_id",)),
    "no state": (OPPORTUNITY, {"manychat_id": "MC-CASE"}, ("state",)),
    "state is text": (OPPORTUNITY, opportunity(state="17"), ("state",)),
    "no stage": (OPPORTUNITY, opportunity(state={}), ("state.stage_id",)),
    "words for numbers": (
        OPPORTUNITY,
        opportunity(state={"stage_id": "diecisiete", "date": "ayer"}),
        ("state.stage_id", "state.date"),
    ),
    "impossible day": (OPPORTUNITY, opportunity(entry_date="2026-02-30T00:00:00Z"), ("entry_date",)),
    "negative adviser": (OPPORTUNITY, opportunity(medical_advisor_id=-1), ("medical_advisor_id",)),
    "half a campaign": (EventType.CAMPAIGN_ASSIGNMENT.route, {"manychat_id": "MC-CASE"}, ("campaign_id",)),
    "long name": (CONTACT, {"manychat_id": "MC-CASE", "nombre_lead": "x" * 257}, ("nombre_lead",)),
    "list for a name": (CONTACT, {"manychat_id": "MC-CASE", "nombre_lead": []}, ("nombre_lead",)),
    "grows too long": (
        OPPORTUNITY,
        json.dumps(opportunity(state={**_STAGE, "summary": "\U0001d160" * 8000}), ensure_ascii=False).encode(),
        ("state.summary",),
    ),
}
_TEXT = {"Content-Type": "text/plain"}
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_DRY = {"X-Dry-Run": "1"}

CASES = [
    *(Case(f"example {name}", route, body.encode(), 200) for name, (route, body) in _EXAMPLES.items()),
    *(Case(f"not json {name}", CONTACT, body, 400, "not_json") for name, body in _NOT_JSON.items()),
    *(Case(f"invalid {name}", *case[:2], 422, "invalid", case[2]) for name, case in _INVALID.items()),
    Case("what bots really send", OPPORTUNITY, _MESSY, 200),
    Case("byte order mark", OPPORTUNITY, b"\xef\xbb\xbf" + json.dumps(opportunity()).encode(), 200),
    Case("unicode", CONTACT, {"manychat_id": "MC-Ñ", "nombre_lead": "Zoë 👩‍⚕️ \ud83d", "datetime_actual": "2026-03-02"},
         200),
    Case("content type with charset", CONTACT, {"manychat_id": "MC-CASE", "datetime_actual": "2026-03-02"}, 200,
         headers={"Content-Type": "Application/JSON; charset=utf-8"}),
    Case("parameters in the address", (CONTACT[0], f"{CONTACT[1]}?asked=2&method=GET"),
         {"manychat_id": "MC-CASE", "datetime_actual": "2026-03-02"}, 200),
    Case("idempotency key", OPPORTUNITY, opportunity(), 200, headers={"Idempotency-Key": "a"}),
    Case("too large", CONTACT, b'{"manychat_id": "' + b"x" * 33_000 + b'"}', 413, "too_large"),
    Case("text", CONTACT, b"{}", 415, "unsupported_media_type", headers=_TEXT),
    Case("form", CONTACT, b"a=1", 415, "unsupported_media_type", headers=_FORM),
    Case("too large text", CONTACT, b"x" * 33_000, 413, "too_large", headers=_TEXT),
    Case("wrong method", ("GET", CONTACT[1]), b"", 405, "method_not_allowed"),
    Case("wrong method, update", ("POST", UPDATE[1]), b"{}", 405, "method_not_allowed"),
    Case("wrong method without a key", ("DELETE", OPPORTUNITY[1]), b"", 405, "method_not_allowed", key=""),
    Case("no key", CONTACT, b"{}", 401, "unauthorized", key=""),
    Case("wrong key", CONTACT, b"{", 401, "unauthorized", key="mck_wrong"),
    Case("key in no alphabet", CONTACT, b"{}", 401, "unauthorized", key="clé"),
    Case("key in the address", (CONTACT[0], f"{CONTACT[1]}?X-API-KEY=mck_abc"), b"{}", 401, "key_in_address", key=""),
    Case("right key and one in the address", (CONTACT[0], f"{CONTACT[1]}?key=mck_abc"), b"{}", 401, "key_in_address"),
    Case("dry run", CONTACT, {"manychat_id": "MC-DRY", "datetime_actual": "2026-03-02"}, 200, headers=_DRY),
    Case("dry run, true", CONTACT, {"manychat_id": "MC-DRY", "datetime_actual": "2026-03-02"}, 200,
         headers={"X-Dry-Run": " True "}),
    # Which Odoo stage a ManyChat stage means, Odoo alone knows.
    Case("dry run of a stage", OPPORTUNITY, opportunity(manychat_id="MC-DRY"), 200, headers=_DRY,
         differs=("stage", "message")),
    Case("dry run of nonsense", OPPORTUNITY, {}, 422, "invalid", ("manychat_id", "state"), headers=_DRY),
    Case("no dry run", CONTACT, {"manychat_id": "MC-CASE", "datetime_actual": "2026-03-02"}, 200,
         headers={"X-Dry-Run": "0"}),
]  # fmt: skip

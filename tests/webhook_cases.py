"""Requests to the webhooks, and what each must be answered, by Odoo's and by the bridge's standby alike."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from bridge.contract.payloads import WEBHOOKS, EventType
from bridge.contract.reading import read
from bridge.contract.request_headers import RequestHeaders
from bridge.contract.strict_json import parse_json

from .contract import test_documents_examples as document
from .contract.test_names import FULL

CONTACT = EventType.CONTACT.route
OPPORTUNITY = EventType.OPPORTUNITY.route
UPDATE = EventType.CAMPAIGN_CONTACT.route

_STAGE = {"stage_id": 17, "date": "2026-03-02T09:00:00Z"}


@dataclass(frozen=True)
class Case:
    """One request.

    :ivar key: the ``X-API-KEY``; ``None`` for the right one, ``""`` for no header
    :ivar code: of the error; empty if it is accepted, or valid in a dry run
    :ivar warnings: the fields that the answer warns of
    :ivar differs: fields of the answer that only Odoo can tell
    """

    name: str
    route: tuple[str, str]
    body: Any
    status: int
    code: str = ""
    fields: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)
    key: str | None = None
    differs: tuple[str, ...] = ()

    @property
    def is_stored(self) -> bool:
        return self.status == 200 and not RequestHeaders(self.headers.get).is_dry_run

    @property
    def is_dated(self) -> bool:
        """Whether the event has a date of its own, so that it has one id wherever it is received."""
        [event_type] = [each for each in WEBHOOKS if each.route == (self.route[0], self.route[1].partition("?")[0])]
        return read(event_type, parse_json(self.content)).payload.date is not None

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def opportunity(**fields: Any) -> dict[str, Any]:
    return {"manychat_id": "MC-CASE", "state": _STAGE, **fields}


def _dated(**fields: Any) -> dict[str, Any]:
    return {"manychat_id": "MC-CASE", "datetime_actual": "2026-03-02T09:00:00Z", **fields}


def _raw(adviser: bytes) -> bytes:
    """An opportunity with an adviser that Python would not write."""
    return json.dumps(opportunity(medical_advisor_id=0)).encode().replace(b": 0}", b": %b}" % adviser)


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
    "a field twice": b'{"manychat_id": 1, "manychat_id": 2}',
    "no UTF-8": b'{"manychat_id": "\xff"}',
    "brackets": b"[" * 20_000,
    "too deep": b'{"a":' * 120 + b"1" + b"}" * 120,
}
#: What ManyChat makes of a body in which a field was inserted carelessly, and the field that the answer names.
_BROKEN: dict[str, tuple[str, tuple[str, ...]]] = {
    "a quote in a text": ('{"manychat_id": "1", "nombre_lead": "Ana "La Güera"", "whatsapp": ""}', ("nombre_lead",)),
    "a backslash": ('{"manychat_id": "1", "nombre_lead": "C:\\Ana", "whatsapp": ""}', ("nombre_lead",)),
    "a text without quotes": ('{"manychat_id": "1", "nombre_lead": Ana García}', ("nombre_lead",)),
    "a telephone number without quotes": ('{"manychat_id": "1", "whatsapp": +5215512345678}', ("whatsapp",)),
    "an empty field": ('{"manychat_id": , "nombre_lead": "Ana"}', ("manychat_id",)),
    "a comma at the end": ('{"manychat_id": "1", "nombre_lead": "Ana",}', ()),
    "single quotes": ("{'manychat_id': '1'}", ()),
    "Python's words": ('{"manychat_id": "1", "nombre_lead": None}', ("nombre_lead",)),
    "NaN": ('{"manychat_id": NaN}', ("manychat_id",)),
    "a comment": ('{"manychat_id": "1" /* ana */}', ()),
}
_INVALID: dict[str, tuple[tuple[str, str], Any, tuple[str, ...]]] = {
    "nobody": (CONTACT, {}, ("manychat_id",)),
    "person 0": (CONTACT, {"manychat_id": 0}, ("manychat_id",)),
    "a number of no size": (CONTACT, b'{"manychat_id": 1e400}', ("manychat_id",)),
    "a number without end": (CONTACT, b'{"manychat_id": ' + b"1" * 5_000 + b"}", ("manychat_id",)),
    "no state": (OPPORTUNITY, {"manychat_id": "MC-CASE"}, ("state",)),
    "a slip in the stage": (OPPORTUNITY, opportunity(state={"stageId": 17}), ("state.stage_id", "state.stageId")),
    "state is text": (OPPORTUNITY, opportunity(state="17"), ("state",)),
    "no stage": (OPPORTUNITY, opportunity(state={}), ("state.stage_id",)),
    "a word for a number": (OPPORTUNITY, opportunity(state={"stage_id": "diecisiete"}), ("state.stage_id",)),
    "half a campaign": (EventType.CAMPAIGN_ASSIGNMENT.route, {"manychat_id": "MC-CASE"}, ("campaign_id",)),
    "nobody by another name": (CONTACT, {"manychat_id": "undefined", "nombre_lead": "Ana"}, ("manychat_id",)),
    "an update without news": (UPDATE, {"manychat_id": "MC-CASE", "campaign_id": 85}, ("last_state",)),
}
#: Bodies that are taken although something is wrong, and the fields that the answer warns of.
_WARNED: dict[str, tuple[tuple[str, str], Any, tuple[str, ...]]] = {
    "words for numbers": (
        OPPORTUNITY,
        opportunity(state={"stage_id": "diecisiete", "stage": "Comienza Cotización", "date": "ayer"}),
        ("state.stage_id", "state.date"),
    ),
    "impossible day": (OPPORTUNITY, opportunity(entry_date="2026-02-30T00:00:00Z"), ("entry_date",)),
    "a day in two months": (OPPORTUNITY, opportunity(entry_date="03/04/2025"), ("entry_date",)),
    "a day in the future": (OPPORTUNITY, opportunity(entry_date="9999-12-31"), ("entry_date",)),
    "negative adviser": (OPPORTUNITY, opportunity(medical_advisor_id=-1), ("medical_advisor_id",)),
    "no adviser in words": (OPPORTUNITY, opportunity(commercial_advisor_id="N/A"), ("commercial_advisor_id",)),
    "long name": (CONTACT, _dated(nombre_lead="x" * 257), ("nombre_lead",)),
    "an endless number": (OPPORTUNITY, _raw(b"1" * 5_000), ("medical_advisor_id",)),
    "lists in lists": (OPPORTUNITY, _raw(b"[" * 90 + b"]" * 90), ("medical_advisor_id",)),
    "list for a name": (CONTACT, _dated(nombre_lead=[]), ("nombre_lead",)),
    "a slip": (OPPORTUNITY, opportunity(state={**_STAGE, "sumary": "Hola"}), ("state.sumary",)),
    "names of the sister route": (
        UPDATE,
        _dated(medico_id=101, medical_advisor_id=102, ultimo_estado="Asignado"),
        ("medico_id",),
    ),
    "grows too long": (
        OPPORTUNITY,
        json.dumps(opportunity(state={**_STAGE, "summary": "\U0001d160" * 8000}), ensure_ascii=False).encode(),
        ("state.summary",),
    ),
}
#: Bodies that are taken as they are, and that are not the contract's own examples.
_TAKEN: dict[str, tuple[tuple[str, str], Any]] = {
    "dates as manychat writes them": (OPPORTUNITY, opportunity(entry_date="20 Oct 2025, 05:41pm")),
    "unix time": (OPPORTUNITY, opportunity(entry_date="1752254071", state={"stage_id": 17, "date": 1752254071000})),
    "placeholders inside a text": (CONTACT, _dated(whatsapp="+{{whatsapp_phone}}", nombre_lead="Ana {{last_name}}")),
    "invisible name": (CONTACT, _dated(nombre_lead="\u3164\u200b\u2800")),
    "unknown fields": (CONTACT, _dated(nombre_lead="Ana", ad_id="120210000000000000", tags=["a", {"b": None}])),
    "the sister route's names": (EventType.CAMPAIGN_ASSIGNMENT.route, _dated(campaign_id=85, medical_advisor_id=101)),
    "full contact data of a contact": (CONTACT, FULL),
    "full contact data of an opportunity": (OPPORTUNITY, {**FULL, "state": _STAGE}),
    "full contact data with a stage": (
        OPPORTUNITY,
        {**FULL, "custom_fields": {"stage_id": "17", "stage_date": "1772442000"}},
    ),
}
_MISDIRECTED: dict[str, tuple[tuple[str, str], Any, tuple[str, ...]]] = {
    "an opportunity for a contact": (CONTACT, opportunity(), ("state",)),
    "a contact for an opportunity": (OPPORTUNITY, {"manychat_id": "MC-CASE", "nombre_lead": "Ana"}, ("nombre_lead",)),
    "a contact for an update": (UPDATE, {"manychat_id": "MC-CASE", "whatsapp": "1"}, ("whatsapp",)),
    "an assignment for a contact": (CONTACT, {"manychat_id": "MC-CASE", "campaign_id": 85}, ("campaign_id",)),
}
_TEXT = {"Content-Type": "text/plain"}
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_DRY = {"X-Dry-Run": "1"}
# Which Odoo stage a ManyChat stage means, Odoo alone knows.
_OF_A_STAGE = ("stage", "message")

CASES = [
    *(Case(f"example {name}", route, body.encode(), 200) for name, (route, body) in _EXAMPLES.items()),
    *(Case(f"not json {name}", CONTACT, body, 400, "not_json") for name, body in _NOT_JSON.items()),
    *(Case(f"broken by {name}", CONTACT, body.encode(), 400, "not_json", fields)
      for name, (body, fields) in _BROKEN.items()),
    *(Case(f"invalid {name}", *case[:2], 422, "invalid", case[2]) for name, case in _INVALID.items()),
    *(Case(f"misdirected {name}", *case[:2], 422, "wrong_endpoint", case[2]) for name, case in _MISDIRECTED.items()),
    *(Case(f"warned of {name}", *case[:2], 200, warnings=case[2]) for name, case in _WARNED.items()),
    *(Case(f"taken {name}", *case, 200) for name, case in _TAKEN.items()),
    *(Case(f"dry run of {name}", *case[:2], 200, headers=_DRY, warnings=case[2],
           differs=_OF_A_STAGE if case[0] == OPPORTUNITY else ())
      for name, case in _WARNED.items()),
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
    Case("dry run of a stage", OPPORTUNITY, opportunity(manychat_id="MC-DRY"), 200, headers=_DRY,
         differs=_OF_A_STAGE),
    Case("dry run of nonsense", OPPORTUNITY, {}, 422, "invalid", ("manychat_id", "state"), headers=_DRY),
    Case("no dry run", CONTACT, {"manychat_id": "MC-CASE", "datetime_actual": "2026-03-02"}, 200,
         headers={"X-Dry-Run": "0"}),
]  # fmt: skip

"""From what a bot sent to a payload: refuse only what cannot be applied, and say what was left out.

ManyChat sends a request once, so a person whose request is refused gets no call. The models of :mod:`.payloads` are
strict. What they refuse in a field that may be missing is left out here, a text that is too long is cut, and each
becomes a warning. Fields that the contract does not know are kept beside the payload.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone, tzinfo
from typing import Any

from pydantic import ValidationError

from . import names
from .dates import MAX_CLOCK_SKEW
from .errors import ContractError
from .extra import MAX_EXTRA_BYTES, keep
from .fields import ZONE, Mendable, is_empty
from .names import Candidate
from .outcomes import ErrorCode
from .payloads import CampaignContact, EventType, Payload, field_error
from .sentences import sentence
from .text import cut, length

#: Azure Storage Queue's own limit for one message, in characters of its (Base64) text.
#: https://learn.microsoft.com/rest/api/storageservices/put-message
MAX_MESSAGE_CHARS = 65_536
#: Largest payload with its warnings and unknown fields, as JSON in UTF-8: it fits on a queue in its envelope. Base64
#: makes 4 characters of 3 bytes, and the envelope's other parts have less than 384 bytes.
MAX_PAYLOAD_BYTES = MAX_MESSAGE_CHARS // 4 * 3 - 384
#: Characters of a summary with which no payload comes near that size: the other fields are short.
_SHORT_SUMMARY = 4_000
#: Most warnings of one event. A last one says how many more there were.
MAX_WARNINGS = 20

Warnings = list[dict[str, str]]


@dataclass(frozen=True)
class ReadPayload:
    """A payload, and what came with it.

    :ivar warnings: what was left out, cut or not understood, as ``{"field", "message"}``, without any value
    :ivar extra: the fields that the contract does not know, cleaned
    """

    payload: Payload
    warnings: tuple[Mapping[str, str], ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


def read_sent(event_type: EventType, body: Mapping[str, Any], zone: tzinfo, received_at: datetime) -> ReadPayload:
    """Read a payload that a bot or an old producer sends now. See :func:`read`.

    :raises ContractError: as :func:`read`; also if it is that of another webhook, or an update without any news
    """
    names.refuse_misdirected(event_type, body)
    found = read(event_type, body, zone, received_at)
    if isinstance(found.payload, CampaignContact) and not found.payload.has_news:
        message = sentence("give at least one of adviser, assignment date, last_state and summary")
        errors = [*map(dict, found.warnings), {"field": "last_state", "message": message}]
        raise ContractError(ErrorCode.INVALID, sentence("The update says nothing: %(what)s.", what=message), errors)
    return found


def read(
    event_type: EventType,
    body: Mapping[str, Any],
    zone: tzinfo = timezone.utc,
    received_at: datetime | None = None,
) -> ReadPayload:
    """Read ``body`` as the payload of an event of ``event_type``.

    :param zone: of dates without an offset
    :param received_at: a date more than :data:`.dates.MAX_CLOCK_SKEW` later is not believed
    :raises ContractError: ``invalid``: no person, no stage that can be read, or no campaign where one is needed. One
        entry in ``errors`` for each field at fault
    """
    warnings: Warnings = []
    extra: Mapping[str, Any] = {}
    payload = _plain(event_type, body, zone)
    if payload is None:
        reading = _Reading(event_type, body, zone)
        payload = reading.payload()
        reading.compare(payload)
        reading.tell_unread()
        unknown, slips = reading.unknown()
        warnings = reading.warnings
        extra = keep(unknown, MAX_EXTRA_BYTES, warnings)
        warnings += slips
    if received_at is not None:
        payload = _without_disbelieved(payload, received_at, warnings)
    return _fitting(payload, warnings, extra)


def _plain(event_type: EventType, body: Mapping[str, Any], zone: tzinfo) -> Payload | None:
    """The payload of a body without fault and without any name but the contract's own, as most are."""
    if names.has_only_known(event_type, body):
        with contextlib.suppress(ValidationError):
            return event_type.model.model_validate(body, context={ZONE: zone})
    return None


class _Reading:
    """One body on its way to a payload.

    :ivar chosen: what each field gets its value from, so far
    """

    def __init__(self, event_type: EventType, body: Mapping[str, Any], zone: tzinfo):
        self._type = event_type
        self._body = body
        self._zone = zone
        self._candidates = names.candidates(event_type, body)
        self._first_faults: dict[str, str] = {}
        self._unread: dict[str, str] = {}
        self._same: set[str] = set()
        self.chosen = {path: found[0] for path, found in self._candidates.items() if found}
        self.warnings: Warnings = []

    def payload(self) -> Payload:
        """The payload, of the best values that can be read.

        :raises ContractError: ``invalid``
        """
        while True:
            try:
                return self._validate({path: each.value for path, each in self.chosen.items()})
            except ValidationError as error:
                faults = error.errors(include_url=False, include_input=False)
                mended = [fault for fault in faults if self._mend(fault)]
                if not mended:
                    raise self._refusal(faults) from None

    def _validate(self, values: Mapping[str, Any]) -> Payload:
        fields: dict[str, Any] = {}
        for path, value in values.items():
            outer, dot, inner = path.partition(".")
            if dot:
                fields.setdefault(outer, {})[inner] = value
            else:
                fields[path] = value
        # A nested object without a field that can be read still has its own rules, with their words.
        fields |= {name: self._body[name] for name in names.objects(self._type) - fields.keys() if name in self._body}
        return self._type.model.model_validate(fields, context={ZONE: self._zone})

    def _mend(self, fault: Any) -> bool:
        """Replace the value at fault by the next best, or by none; whether there was one to replace."""
        path = ".".join(str(part) for part in fault["loc"])
        failed = self.chosen.get(path)
        if failed is None:
            return False
        message = field_error(fault)["message"]
        cause = (fault.get("ctx") or {}).get("error")
        if isinstance(cause, Mendable) and path != "manychat_id":
            self._warn(failed.name, cause.warning)
            self.chosen[path] = Candidate(failed.name, cause.rest, failed.is_contract)
            return True
        self._first_faults.setdefault(path, message)
        self._candidates[path] = [each for each in self._candidates[path] if each.name != failed.name]
        if self._candidates[path]:
            self.chosen[path] = self._candidates[path][0]
        else:
            del self.chosen[path]
        is_date = path == self._type.model.date_field and path not in self.chosen
        message = (
            sentence("left out, so the event counts as of its receipt: %(why)s", why=message)
            if is_date
            else sentence("left out: %(why)s", why=message)
        )
        if failed.is_contract:
            self._warn(failed.name, message)
        else:
            self._unread.setdefault(failed.name, message)
        return True

    def _warn(self, name: str, message: str) -> None:
        self.warnings.append({"field": names.shown(name), "message": message})

    def _refusal(self, faults: Iterable[Any]) -> ContractError:
        errors = [field_error(fault) for fault in faults]
        # The first fault says more than that there is nothing now: “must be a whole number”.
        errors = [{**error, "message": self._first_faults.get(error["field"], error["message"])} for error in errors]
        _, slips = self.unknown()
        text = "; ".join(f"{error['field']}: {error['message']}" for error in [*errors, *slips])
        return ContractError(ErrorCode.INVALID, text, [*errors, *slips])

    def compare(self, payload: Payload) -> None:
        """Warn of values that differ from those in ``payload``: the bot builder named one field twice."""
        values = {path: each.value for path, each in self.chosen.items()}
        for path, chosen in self.chosen.items():
            for other in self._candidates[path][1:]:
                if (other.is_contract and chosen.is_contract) or other.name == "id":
                    try:
                        same = self._validate({**values, path: other.value}) == payload
                    except ValidationError:
                        same = False
                    if same:
                        self._same.add(other.name)
                    else:
                        self._warn(other.name, sentence("differs from %(field)s, which counts", field=chosen.name))

    def tell_unread(self) -> None:
        """Warn of ManyChat's own fields that could not be read.

        Some are tried for two fields: a stage's id, and its label.
        """
        used = {each.name for each in self.chosen.values()}
        for name, message in self._unread.items():
            if name not in used:
                self._warn(name, message)

    def unknown(self) -> tuple[dict[str, Any], Warnings]:
        """The fields that were not used, and the likely slips among their names."""
        used = {each.name for each in self.chosen.values()} | self._same
        used |= {*names.paths(self._type)} | names.objects(self._type)
        rest = {name: value for name, value in self._body.items() if name not in used}
        unknown = list(rest)
        for outer in names.objects(self._type):
            inside = self._body.get(outer)
            if isinstance(inside, Mapping):
                inner = {name: value for name, value in inside.items() if f"{outer}.{name}" not in used}
                unknown += [f"{outer}.{name}" for name in inner]
                rest |= {outer: inner} if inner else {}
            elif not is_empty(inside):
                self._warn(outer, sentence("left out: %(why)s", why=sentence("must be an object: {…}")))
                rest[outer] = inside
        if names.is_contact_data(self._body):
            unknown = [name for name in unknown if name not in names.MANYCHAT]
        unknown = [name for name in unknown if name not in self._type.spec.aliases.values()]
        slips = names.slips(self._type, unknown, set(self.chosen))
        return rest, [
            {"field": names.shown(name), "message": sentence("did you mean %(field)s?", field=path)}
            for name, path in slips
        ]


def _without_disbelieved(payload: Payload, received_at: datetime, warnings: Warnings) -> Payload:
    """``payload`` without dates that lie too far ahead of its receipt. They would count as newer than all others.

    The event's own date stays: :attr:`.event.Event.occurred_at` ignores it, and the audit counts it.
    """
    latest = received_at + MAX_CLOCK_SKEW
    if payload.date is not None and payload.date > latest:
        message = sentence("is more than 24 hours in the future, so the event counts as of its receipt")
        warnings.append({"field": payload.date_field, "message": message})
    late = [
        name
        for name in type(payload).model_fields
        if isinstance(moment := getattr(payload, name), datetime) and moment > latest and name != payload.date_field
    ]
    doubt = sentence("is more than 24 hours in the future")
    warnings += ({"field": name, "message": sentence("left out: %(why)s", why=doubt)} for name in late)
    return payload.model_copy(update=dict.fromkeys(late)) if late else payload


def _fitting(payload: Payload, warnings: Warnings, extra: Mapping[str, Any]) -> ReadPayload:
    """What fits on a queue: first without the unknown fields, then with a shorter summary."""
    if len(warnings) > MAX_WARNINGS:
        more = len(warnings) - MAX_WARNINGS + 1
        message = sentence("warnings that are not shown: %(count)s", count=more)
        warnings = [*warnings[: MAX_WARNINGS - 1], {"field": "", "message": message}]
    if not extra and len(_summary(payload)) < _SHORT_SUMMARY:
        return ReadPayload(payload, tuple(warnings), extra)
    if _excess(payload, warnings, extra) > 0 and extra:
        extra = {}
        message = sentence("the unknown fields were left out: the event is too long")
        warnings = [*warnings, {"field": "", "message": message}]
    if _excess(payload, warnings, extra) > 0:
        field = "state.summary" if hasattr(payload, "state") else "summary"
        warnings = [each for each in warnings if each["field"] != field]
        warnings.append({"field": field, "message": sentence("cut: the event is too long for its queue")})
    while (excess := _excess(payload, warnings, extra)) > 0 and _summary(payload):
        payload = _with_shorter_summary(payload, excess)  # the only long text
    return ReadPayload(payload, tuple(warnings), extra)


def _summary(payload: Payload) -> str:
    return getattr(getattr(payload, "state", payload), "summary", None) or ""


def _with_shorter_summary(payload: Payload, by: int) -> Payload:
    """``payload`` with a summary that is shorter by so many bytes of JSON."""
    state: Any = getattr(payload, "state", payload)
    written = json.dumps(state.summary, ensure_ascii=False)[1:-1].encode()[:-by].decode("utf-8", "ignore")
    # All escapes of a clean text have two characters: no half of one may be left.
    halves = (len(written) - len(written.rstrip("\\"))) % 2
    kept = json.loads(f'"{written[: len(written) - halves]}"')
    shorter = {"summary": cut(state.summary, length(kept)) or None}
    return payload.model_copy(update=shorter if state is payload else {"state": state.model_copy(update=shorter)})


def _excess(payload: Payload, warnings: Warnings, extra: Mapping[str, Any]) -> int:
    parts = (payload.canonical(), warnings, extra)
    return sum(len(json.dumps(each, ensure_ascii=False).encode()) for each in parts) - MAX_PAYLOAD_BYTES

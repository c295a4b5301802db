"""The names under which bots send a field: the contract's own, those of a sister route, and ManyChat's own.

ManyChat adds all that it knows of a person to a request by one click, *Full Contact Data*: ``id``, ``first_name``,
``custom_fields`` and so on. :class:`.payloads.EventSpec` says which of those names mean a field of the contract.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any

from pydantic import BaseModel

from .errors import ContractError
from .fields import is_empty, is_id, is_nobody
from .outcomes import ErrorCode
from .payloads import WEBHOOKS, EventType
from .sentences import sentence
from .text import clean, cut, normalized

#: Fields that only *Full Contact Data* has. One of them is enough to know it.
_CONTACT_DATA = frozenset(("page_id", "live_chat_url", "custom_fields"))
#: The names that *Full Contact Data* has itself.
MANYCHAT = frozenset(
    (
        *_CONTACT_DATA,
        *("id", "key", "user_refs", "status", "first_name", "last_name", "name", "gender", "profile_pic", "locale"),
        *("language", "timezone", "last_input_text", "optin_phone", "phone", "optin_email", "email", "subscribed"),
        *("last_interaction", "ig_last_interaction", "last_seen", "ig_last_seen", "is_followup_enabled"),
        *("ig_username", "ig_id", "whatsapp_phone", "optin_whatsapp", "phone_country_code", "last_growth_tool"),
        *("tags", "tt_username", "tt_user_id", "telegram_username", "telegram_id"),
    )
)
#: How alike an unknown name must be to a known one to be taken for a slip, from 0 to 1.
_ALIKE = 0.8
#: So many unknown names are compared with the known ones.
_COMPARED = 50


@dataclass(frozen=True)
class Candidate:
    """One value that a field may get.

    :ivar name: under which it was sent
    :ivar is_contract: the name is one of the contract, and not ManyChat's own
    """

    name: str
    value: Any
    is_contract: bool


@cache
def paths(event_type: EventType) -> tuple[str, ...]:
    """The fields of a type; those of a nested object with a dot, as in ``state.date``."""
    found: list[str] = []
    for name, field in event_type.model.model_fields.items():
        nested = field.annotation
        if isinstance(nested, type) and issubclass(nested, BaseModel):
            found += (f"{name}.{inner}" for inner in nested.model_fields)
        else:
            found.append(name)
    return tuple(found)


@cache
def objects(event_type: EventType) -> frozenset[str]:
    """The fields of a type that hold an object."""
    return frozenset(path.partition(".")[0] for path in paths(event_type) if "." in path)


def has_only_known(event_type: EventType, body: Mapping[str, Any]) -> bool:
    """Whether each field of ``body`` has the contract's own name."""
    known = event_type.model.model_fields
    return all(
        name in known
        and (
            name not in objects(event_type)
            or (isinstance(value, Mapping) and all(f"{name}.{inner}" in paths(event_type) for inner in value))
        )
        for name, value in body.items()
    )


def is_contact_data(body: Mapping[str, Any]) -> bool:
    """Whether ``body`` holds ManyChat's *Full Contact Data*."""
    return bool(_CONTACT_DATA & body.keys()) or ("id" in body and is_nobody(body.get("manychat_id")))


def candidates(event_type: EventType, body: Mapping[str, Any]) -> dict[str, list[Candidate]]:
    """The values that ``body`` has for each field, the best first, without empty ones."""
    spec = event_type.spec
    contact_data = spec.contact_data if is_contact_data(body) else {}
    custom_fields = _custom_fields(body.get("custom_fields"))
    found: dict[str, list[Candidate]] = {}
    for path in paths(event_type):
        names = [(path, True), *((name, True) for name in [spec.aliases.get(path)] if name)]
        names += [(name, False) for name in contact_data.get(path, ())]
        if contact_data and "." not in path:
            names.append((f"custom_fields.{path}", False))
        values = [Candidate(name, _value(body, custom_fields, name), known) for name, known in names]
        found[path] = [each for each in values if not is_empty(each.value, path)]
    if contact_data:
        _prefer_what_was_written(found)
    return found


def _prefer_what_was_written(found: dict[str, list[Candidate]]) -> None:
    """Drop what *Full Contact Data* has of a stage that the bot builder gave, and of a name that ManyChat knows."""
    # A label is any text. Where neither of the two can be read, a custom field may still have the stage.
    readable = {"state.stage_id": is_id, "state.stage": lambda value: isinstance(value, str)}
    stage = [path for path in readable if path in found]
    if any(each.is_contract and readable[path](each.value) for path in stage for each in found[path]):
        for path in stage:
            found[path] = [each for each in found[path] if each.is_contract]
    for first, last in (("first_name", "last_name"), ("nombre_lead", "apellido_lead")):
        if found.get(last):
            found[first] = [each for each in found.get(first, []) if each.name != "name"]


def _value(body: Mapping[str, Any], custom_fields: Mapping[str, Any], name: str) -> Any:
    outer, dot, inner = name.partition(".")
    if not dot:
        return body.get(name)
    if outer == "custom_fields":
        return custom_fields.get(inner)
    nested = body.get(outer)
    return nested.get(inner) if isinstance(nested, Mapping) else None


def _custom_fields(value: Any) -> dict[str, Any]:
    """Custom fields by their names in one spelling. ManyChat sends an object, or a list of ``{"name", "value"}``."""
    if isinstance(value, list):
        value = {each["name"]: each.get("value") for each in value if isinstance(each, dict) and "name" in each}
    if not isinstance(value, Mapping):
        return {}
    return {spelling(name): each for name, each in value.items() if isinstance(name, str)}


def spelling(name: str) -> str:
    """The form in which names of custom fields are compared: without letter case, accents, spaces and hyphens."""
    letters = normalized(name, "NFKD").casefold()
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return "_".join(plain.replace("-", " ").replace("_", " ").split())


def slips(event_type: EventType, unknown: list[str], given: set[str]) -> Iterator[tuple[str, str]]:
    """Those of the ``unknown`` names that are likely to mean a field, and that field.

    :param unknown: with a dot inside a nested object
    :param given: the fields that the body has; another system's name for one of them is no slip
    """
    known = {name: path for name, path in _counterparts(event_type).items() if path not in given}
    known |= {path.rpartition(".")[2]: path for path in paths(event_type)}
    inside = list(known)
    known |= {name: name for name in objects(event_type)}
    words = list(known)
    for name in unknown[:_COMPARED]:
        outer, _, inner = name.rpartition(".")
        close = get_close_matches(inner.casefold()[:64], words if not outer else inside, 1, _ALIKE)
        if close:
            path = known[close[0]]
            # Inside the same object, its last part is enough.
            yield name, path.removeprefix(f"{outer}.") if outer else path


def _counterparts(event_type: EventType) -> dict[str, str]:
    """The names of *Full Contact Data* for a field, those of another type for the same ones, and those of bots."""
    own = {path: path for path in paths(event_type)}
    for path, theirs in event_type.spec.contact_data.items():
        own |= {name: path for name in theirs if "." not in name and name not in ("id", "name", "last_input_text")}
    for other in WEBHOOKS:
        for path, theirs in other.spec.contact_data.items():
            own.update((path, own[name]) for name in theirs if name in own and path not in own)
    for path, theirs in event_type.spec.contact_data.items():
        for name in theirs:
            if name.startswith("custom_fields."):
                own.setdefault(name.removeprefix("custom_fields."), path)
    return own | {alias: path for path, alias in event_type.spec.aliases.items()}


def refuse_misdirected(event_type: EventType, body: Mapping[str, Any]) -> None:
    """Refuse a body that tells of another type, and in no field of its own type.

    :raises ContractError: ``wrong_endpoint``: its message names the webhook that takes such a body
    """
    own = _names_of(event_type)
    if body.keys() <= own:
        return
    if _CONTACT_DATA & body.keys() and event_type.spec.contact_data:
        return
    hits: dict[EventType, list[str]] = {}
    for other in WEBHOOKS:
        if other.queue == event_type.queue:
            continue
        has_own = (_telling(event_type) - _names_of(other)) & body.keys()
        if not has_own and (theirs := (_telling(other) - own) & body.keys()):
            hits[other] = sorted(theirs)
    if hits:
        # What tells is enough to see that it is wrong here. Its other fields say best where it belongs.
        others = [each for each in WEBHOOKS if each.queue != event_type.queue]
        other = max(others, key=lambda each: len(each.model.model_fields.keys() & body.keys()))
        method, path = other.route
        fields = hits.get(other) or sorted((other.model.model_fields.keys() - own) & body.keys())
        raise ContractError(
            ErrorCode.WRONG_ENDPOINT,
            sentence(
                "These are the fields of another webhook. Send them to %(method)s %(path)s.", method=method, path=path
            ),
            [
                {"field": name, "message": sentence("belongs to %(method)s %(path)s", method=method, path=path)}
                for name in fields
            ],
            other.queue,
        )


@cache
def _names_of(event_type: EventType) -> frozenset[str]:
    return frozenset({*event_type.model.model_fields, *event_type.spec.aliases.values()})


@cache
def _telling(event_type: EventType) -> frozenset[str]:
    names = frozenset(event_type.spec.telling)
    return names | {alias for path, alias in event_type.spec.aliases.items() if path in names}


def shown(name: str) -> str:
    """``name`` for an answer, however long the sender made it."""
    return cut(clean(name), 64)

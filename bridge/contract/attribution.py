"""Whose text it is that could not become an event: to find it when its person is erased.

Such a text gives the id in any form that a bot may write: ``12``, ``"12"``, ``12.0``, ``"0012"``, in broken JSON. A
text whose person cannot be found out must not be kept as it is, since no erasure would find it: :func:`masked` leaves
its form, which is what a bot builder needs.
"""

from __future__ import annotations

import re

from pydantic import BaseModel, TypeAdapter, ValidationError

from .errors import ContractError
from .fields import ManyChatId
from .payloads import EventType
from .strict_json import parse_json

#: The fields that name the person: ours, and that of ManyChat's *Full Contact Data*.
_NAMES = ("manychat_id", "id")
_ID: TypeAdapter[str] = TypeAdapter(ManyChatId)
#: The same in what is no JSON: a name, a colon, and the value with or without quotation marks.
_IN_BROKEN_JSON = re.compile(r"""["']?\b(manychat_id|id)["']?\s{0,9}[:=]\s{0,9}\\?["']?([\w.-]{1,64})""")
_NUMBER = re.compile(r"0*([0-9]+?)(\.0*)?")
#: A placeholder that ManyChat did not fill in, or a word.
_WORD = re.compile(r"\{\{[^{}]{0,80}\}\}|\w+")


def person_of(body: bytes | str) -> str | None:
    """The id of the person in ``body``, in the form of :func:`comparable`; ``None`` if none can be read."""
    text = body if isinstance(body, str) else body.decode("utf-8", "replace")
    try:
        fields = parse_json(text)
        found = {name: fields.get(name) for name in _NAMES}
    except ContractError:
        found = dict(reversed(_IN_BROKEN_JSON.findall(text)))
    for name in _NAMES:
        try:
            return comparable(_ID.validate_python(found.get(name)))
        except ValidationError:
            pass
    return None


def comparable(manychat_id: str) -> str:
    """The form in which ids are compared: a number without leading zeros and decimals."""
    manychat_id = manychat_id.strip()
    number = _NUMBER.fullmatch(manychat_id)
    return number[1] if number else manychat_id


def mentions(text: str, manychat_id: str) -> bool:
    """Whether ``text`` has the id in any form, and not as part of a longer one."""
    form = comparable(manychat_id)
    zeros, decimals = ("0*", r"(\.0*)?(?!\.?\d)") if form.isdecimal() else ("", "")
    return bool(re.search(rf"(?<![\w.]){zeros}{re.escape(form)}{decimals}(?!\w)", text))


def masked(text: str) -> str:
    """``text`` with ``x`` for each letter and ``0`` for each digit, except in names of fields and placeholders."""

    def mask(word: re.Match[str]) -> str:
        if word[0] in _FIELDS or word[0].startswith("{{"):
            return word[0]
        return "".join("_" if each == "_" else "0" if each.isnumeric() else "x" for each in word[0])

    return _WORD.sub(mask, text)


def _field_names(model: type[BaseModel]) -> set[str]:
    nested = [each.annotation for each in model.model_fields.values()]
    inner = [_field_names(each) for each in nested if isinstance(each, type) and issubclass(each, BaseModel)]
    return set(model.model_fields).union(*inner)


_FIELDS = {"id", "true", "false", "null"}.union(*(_field_names(each.spec.model) for each in EventType))

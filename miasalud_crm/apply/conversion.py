"""From what a bot sent to the value of a field, by the field's type. Pure functions without Odoo's records."""

import json
import math
import re
from datetime import timezone

from bridge.contract import dates
from bridge.contract.names import spelling
from bridge.contract.text import clean, without_placeholders

#: Odoo's integers are PostgreSQL's int4.
MOST_INTEGER = 2**31 - 1
#: A larger amount is no amount; and PostgreSQL's numeric of Odoo's fields takes it.
MOST_NUMBER = 10**15
#: Days of birth are dates too.
FIRST_YEAR = 1900
YES = frozenset(("true", "1", "yes", "y", "si", "s", "sim", "verdadero", "cierto", "on", "x", "ok"))
NO = frozenset(("false", "0", "no", "n", "nao", "falso", "off"))

_AROUND = re.compile(
    r"^(?:[^\W\d_]{0,4}\W{0,3}?)?(?P<number>[+-]?\s?[$€£]?\s?\d[\d.,'\s]*)(?:\W{0,2}[^\W\d_]{0,8}\W{0,2})?$"
)


class Unconvertible(ValueError):
    """The value does not fit the field's type.

    :ivar str reason: one of the reasons of ``manychat.event``'s field warnings
    """

    def __init__(self, reason):
        super().__init__(reason)
        self.reason = reason


def to_text(value):
    """One text. A list of texts becomes one with commas.

    :raises Unconvertible: an object, or a list of objects
    """
    if isinstance(value, list) and not any(isinstance(each, list | dict) for each in value):
        return ", ".join(to_text(each) for each in value)
    if isinstance(value, list | dict):
        raise Unconvertible("not_text")
    if isinstance(value, bool) or not isinstance(value, str):
        return _plain_number(value) if isinstance(value, float) else json.dumps(value)
    return without_placeholders(clean(value).strip())[0]


def _plain_number(value):
    return str(int(value)) if value.is_integer() and abs(value) < MOST_NUMBER else repr(value)


def to_names(value):
    """Names of records: a list, or one text with commas or semicolons between them."""
    parts = value if isinstance(value, list) else re.split(r"[,;\n]", to_text(value))
    names = [to_text(part) for part in parts]
    return list(dict.fromkeys(name for name in names if name))


def to_number(value, decimal_point="."):
    """A number, also one that a person has written: ``$ 1,234.50``, ``1.234,50 MXN``, ``12 000``.

    :param str decimal_point: the language's own, for ``1.234``, which may be more than a thousand or little more than 1
    :raises Unconvertible: it is none
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Unconvertible("not_number")
    if isinstance(value, str):
        match = _AROUND.match(to_text(value))
        if not match:
            raise Unconvertible("not_number")
        value = _number_of(re.sub(r"[\s'$€£]", "", match["number"]).rstrip(".,"), decimal_point)
    if not math.isfinite(value):
        raise Unconvertible("not_number")
    if abs(value) > MOST_NUMBER:
        raise Unconvertible("too_large")
    return value


def _number_of(digits, decimal_point):
    marks = [mark for mark in ".," if mark in digits]
    if len(marks) == 2:
        point = max(marks, key=digits.rindex)
    elif not marks or digits.count(marks[0]) > 1:
        point = None
    else:
        whole, _, rest = digits.partition(marks[0])
        is_group = len(rest) == 3 and whole.lstrip("+-") not in ("", "0") and len(whole.lstrip("+-")) <= 3
        point = None if is_group and marks[0] != decimal_point else marks[0]
    groups = digits if point is None else digits.rpartition(point)[0]
    if not re.fullmatch(r"[+-]?\d*|[+-]?\d{1,3}([.,]\d{3})+", groups):
        raise Unconvertible("not_number")
    for mark in marks:
        digits = digits.replace(mark, "." if mark == point else "")
    return float(digits) if "." in digits else int(digits)


def to_integer(value, decimal_point="."):
    """A whole number.

    :raises Unconvertible: it is none, or too large
    """
    number = to_number(value, decimal_point)
    if number != int(number):
        raise Unconvertible("not_whole")
    if abs(number) > MOST_INTEGER:
        raise Unconvertible("too_large")
    return int(number)


def to_boolean(value):
    """Yes or no, in English, Spanish or Portuguese.

    :raises Unconvertible: it is neither
    """
    word = spelling(to_text(value))
    if word in YES or word in NO:
        return word in YES
    raise Unconvertible("not_boolean")


def to_moment(value, zone):
    """A date and time in UTC without time zone.

    :param zone: of a date without an offset
    :raises Unconvertible: it is no date, or can be two
    """
    return _moment(value, zone).astimezone(timezone.utc).replace(tzinfo=None, microsecond=0)


def to_day(value, zone):
    """A day in ``zone``.

    :raises Unconvertible: it is no date, or can be two
    """
    return _moment(value, zone).astimezone(zone).date()


def _moment(value, zone):
    try:
        return dates.read(value, zone, FIRST_YEAR)
    except ValueError as error:
        raise Unconvertible("ambiguous_date" if str(error) == dates.AMBIGUOUS else "not_date") from None


def to_option(value, options):
    """The value of a selection, by that value or a label.

    :param options: pairs of value and label, in any language
    :raises Unconvertible: no option has that name
    """
    wanted = spelling(to_text(value))
    values = {spelling(str(option)): option for option, _label in options}
    labels = {spelling(label or ""): option for option, label in options}
    if wanted and wanted in values | labels:
        return values.get(wanted, labels.get(wanted))
    raise Unconvertible("no_option")

"""What a bot builder did when a body is no JSON, and what to change in ManyChat.

ManyChat puts the person's data into the body as they are. A quotation mark, a missing value or a word without quotation
marks then breaks the JSON, and a parser names the place at which it noticed. This module reads the body as far as it is
JSON, so it knows the field, and judges by what comes next.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from json.decoder import JSONDecodeError, scanstring  # type: ignore[attr-defined]

from .sentences import sentence
from .text import clean, cut


@dataclass(frozen=True)
class Fault:
    """The first place at which a body stops being JSON.

    :ivar position: of the character, counted from 0
    :ivar field: whose value is at fault, with a dot inside a nested object; empty if it is no field's
    :ivar message: what is wrong and what to change, without any value
    """

    position: int
    field: str
    message: str


class _Expected(Enum):
    FIRST_VALUE = auto()
    VALUE = auto()
    FIRST_NAME = auto()
    NAME = auto()
    COLON = auto()
    COMMA = auto()
    NOTHING = auto()


_BLANK = re.compile(r"[ \t\r\n]*")
_PLACEHOLDER = re.compile(r"\{\{[^{}]*\}\}")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_CONSTANT = re.compile(r"(true|false|null)\b")
# What programs write where JSON has true, false and null.
_OTHER_CONSTANT = re.compile(r"(true|false|none|null|nil|undefined|nan|-?infinity)\b", re.IGNORECASE)
_COMMENT = re.compile(r"//|/\*|#|<!--")
_OTHER_QUOTES = "'‘’“”«»„`´"
# A name without a quotation mark at its end, or at both, and its colon.
_BARE_NAME = re.compile(r"[\w$-]{1,64}[ \t\r\n]*:")
# The rest of a name whose first quotation mark was taken for the end of a text.
_NEXT_NAME = re.compile(r"\w{1,64}\"[ \t\r\n]*:")
_NAME = re.compile(r"[\w.-]{1,64}")
#: Longest part of a field's name that a message shows.
_SHOWN = 64


def fault_in(body: str) -> Fault | None:
    """Where and why ``body`` is no JSON object; ``None`` if nothing is found. Each character is read twice at most."""
    try:
        _Reader(body).read()
    except _Found as found:
        return found.fault
    return None


class _Found(Exception):
    def __init__(self, fault: Fault):
        super().__init__(fault.message)
        self.fault = fault


@dataclass
class _Text:
    """A value that is a text: where its quotation marks are, and the name of its member."""

    start: int
    end: int
    name: str


@dataclass
class _Container:
    """An object or a list that has not ended yet.

    :ivar name: of the member that is being read
    :ivar text: the latest value, if it is a text
    """

    closed_by: str
    name: str = ""
    text: _Text | None = None


@dataclass
class _Reader:
    """Reads a body from its beginning.

    :ivar at: how far it has come
    :ivar last_text: where the last value of the whole body ends, if that is a text, and its field
    """

    body: str
    at: int = 0
    open: list[_Container] = field(default_factory=list)
    expected: _Expected = _Expected.VALUE
    last_text: tuple[int, str] | None = None

    def read(self) -> None:
        """:raises _Found: as soon as it is no JSON object any more"""
        steps: dict[_Expected, Callable[[str], None]] = {
            _Expected.FIRST_VALUE: self._value,
            _Expected.VALUE: self._value,
            _Expected.FIRST_NAME: self._name,
            _Expected.NAME: self._name,
            _Expected.COLON: self._colon,
            _Expected.COMMA: self._comma,
            _Expected.NOTHING: self._nothing,
        }
        self._skip_blanks()
        if self.at == len(self.body):
            self._found(sentence("it is empty"))
        self._refuse_comment()
        if self.body[self.at] != "{":
            self._found(sentence("it must begin with “{” and end with “}”"))
        while self.at < len(self.body):
            steps[self.expected](self.body[self.at])
            self._skip_blanks()
        if self.open:
            bracket = self.open[-1].closed_by
            self._found(sentence("it ends too early: a “%(bracket)s” is missing at its end", bracket=bracket))

    # What may come next.

    def _value(self, first: str) -> None:
        if first == '"':
            start, self.at = self.at, self._end_of_text()
            self._after_value(_Text(start, self.at - 1, self.open[-1].name))
        elif placeholder := _PLACEHOLDER.match(self.body, self.at):
            self.at = placeholder.end()
            self._after_value()
        elif first in "{[":
            self.open.append(_Container("}" if first == "{" else "]"))
            self.at += 1
            self.expected = _Expected.FIRST_NAME if first == "{" else _Expected.FIRST_VALUE
        elif first == "]" and self.expected is _Expected.FIRST_VALUE:
            self._close()
        elif known := _CONSTANT.match(self.body, self.at) or _NUMBER.match(self.body, self.at):
            if self._goes_on(known.end()):
                self._refuse_bare_value()
            self.at = known.end()
            self._after_value()
        else:
            self._refuse_value(first)

    def _name(self, first: str) -> None:
        if first == '"':
            start, self.at = self.at, self._end_of_text()
            self.open[-1].name = cut(clean(self.body[start + 1 : self.at - 1]), _SHOWN)
            self.expected = _Expected.COLON
        elif first == "}":
            if self.expected is _Expected.NAME:
                self._found(sentence("there is a comma before the “%(bracket)s”: remove the comma", bracket="}"))
            self._close()
        else:
            self._refuse_name(first)

    def _colon(self, first: str) -> None:
        if first == ":":
            self.at, self.expected = self.at + 1, _Expected.VALUE
            return
        # "He said "," and so on": a comma, then a text where a name must come, because a text ended too early.
        if (text := self.open[-1].text) and (first in ",}]" or not _NAME.fullmatch(self.open[-1].name)):
            self._refuse_text(text)
        self._found(sentence("a colon is missing after the name of a field"))

    def _comma(self, first: str) -> None:
        container = self.open[-1]
        if first == ",":
            self.at += 1
            self.expected = _Expected.NAME if container.closed_by == "}" else _Expected.VALUE
        elif first == container.closed_by:
            self._close()
        elif container.text:
            self._refuse_after_text(container.text, first)
        else:
            self._refuse_comment()
            if first == '"':
                self._refuse_without_comma()
            if first in "}]":
                self._found(sentence("a “%(bracket)s” is missing here", bracket=container.closed_by))
            self._refuse_bare_value()

    def _nothing(self, first: str) -> None:
        self._refuse_comment()
        if first == '"' and self.last_text:
            # "He said "}", and so on": the bracket is part of a text.
            self.at, name = self.last_text
            self._refuse_quotation_mark(name)
        self._found(sentence("there is something after its end: remove it"))

    # How to go on.

    def _skip_blanks(self) -> None:
        blank = _BLANK.match(self.body, self.at)
        self.at = blank.end() if blank else self.at

    def _after_value(self, text: _Text | None = None) -> None:
        if self.open:
            self.open[-1].text = text
        self.expected = _Expected.COMMA if self.open else _Expected.NOTHING

    def _close(self) -> None:
        if len(self.open) == 1 and (text := self.open[0].text):
            self.last_text = text.end, self._path(text)
        self.open.pop()
        self.at += 1
        self._after_value()

    def _end_of_text(self) -> int:
        """The place after the text that begins here."""
        try:
            _, end = scanstring(self.body, self.at + 1, False)
        except JSONDecodeError as error:
            if "escape" not in error.msg:
                self._refuse_text_without_end()
            elif self._is_value:
                self._refuse_backslash(error.pos, self._path())
            elif text := self.open[-1].text:
                self._refuse_text(text)
            self.at = error.pos
            self._found(sentence("the name of a field holds a backslash"))
        return int(end)

    def _path(self, text: _Text | None = None) -> str:
        """The field that is being read, or that of ``text``, which is a value of the same object."""
        *outer, inner = self.open
        return cut(".".join(filter(None, [*(each.name for each in outer), text.name if text else inner.name])), _SHOWN)

    @property
    def _is_value(self) -> bool:
        return self.expected in (_Expected.FIRST_VALUE, _Expected.VALUE)

    def _goes_on(self, end: int) -> bool:
        """Whether what ends at ``end`` is the beginning of a longer word: of a date or a telephone number, say."""
        return end < len(self.body) and self.body[end] not in " \t\r\n,]}:"

    # What is wrong.

    def _found(self, message: str, name: str = "") -> None:
        raise _Found(Fault(self.at, name, message))

    def _refuse_comment(self) -> None:
        if _COMMENT.match(self.body, self.at):
            self._found(sentence("there is a comment, which JSON does not have: remove it"))

    def _refuse_other_quotes(self, first: str, name: str) -> None:
        if first in _OTHER_QUOTES:
            self._found(
                sentence(
                    "there are other quotation marks than those of JSON: write \" in place of ' ’ “ ” around names and "
                    "texts"
                ),
                name,
            )

    def _refuse_without_comma(self) -> None:
        path = self._path()
        self._found(sentence("a comma is missing after the value of “%(field)s”", field=path), path)

    def _refuse_value(self, first: str) -> None:
        path = self._path()
        if first == "]":
            self._found(sentence("there is a comma before the “%(bracket)s”: remove the comma", bracket="]"), path)
        if first in ",}":
            self._found(
                sentence(
                    "“%(field)s” has no value: ManyChat has none for this person. In ManyChat, give the field a "
                    'fallback: {{field|fallback:"0"}} for a number, {{field|fallback:""|to_json:true}} for a text',
                    field=path,
                ),
                path,
            )
        self._refuse_other_quotes(first, path)
        if (word := _OTHER_CONSTANT.match(self.body, self.at)) and not self._goes_on(word.end()):
            self._found(
                sentence(
                    "“%(field)s” has a word that is no value in JSON: write true, false or null in small letters, or "
                    "put quotation marks around the word",
                    field=path,
                ),
                path,
            )
        if first == "/":
            self._refuse_comment()
        self._refuse_bare_value()

    def _refuse_bare_value(self) -> None:
        path = self._path()
        self._found(
            sentence(
                "the value of “%(field)s” has no quotation marks around it. In ManyChat, put them around the field; if "
                'people write its text, insert it with the filter to_json instead: {{field|fallback:""|to_json:true}}',
                field=path,
            ),
            path,
        )

    def _refuse_name(self, first: str) -> None:
        container = self.open[-1]
        self._refuse_comment()
        if first == ",":
            self._found(sentence("there are two commas side by side: remove one"))
        self._refuse_other_quotes(first, "")
        if _BARE_NAME.match(self.body, self.at):
            self._found(sentence("the name of a field has no quotation marks around it"))
        if container.text:
            self._refuse_text(container.text)
        if container.name and first.isdigit():
            self._refuse_bare_value()  # "price": 1,5
        self._found(sentence("the name of a field is missing"))

    def _refuse_after_text(self, text: _Text, first: str) -> None:
        """After a text comes neither a comma nor a bracket: the text ended too early, or a comma is missing."""
        if self.at > text.end + 1:  # blanks between
            self._refuse_comment()
            if first == '"' and self._is_name_next():
                self._refuse_without_comma()
        elif _NEXT_NAME.match(self.body, self.at) and "\n" in self.body[text.start : text.end]:
            self.at = text.start
            self._refuse_end_of_text(self._path(text))
        self._refuse_text(text)

    def _is_name_next(self) -> bool:
        try:
            _, end = scanstring(self.body, self.at + 1, False)
        except JSONDecodeError:
            return False
        blank = _BLANK.match(self.body, end)
        return self.body[blank.end() if blank else end :][:1] == ":"

    def _refuse_text(self, text: _Text) -> None:
        """The text ended too early: at a quotation mark of its own, or a backslash of its own hid the right one."""
        path = self._path(text)
        if '\\"' in self.body[text.start : text.end]:
            self._refuse_backslash(text.end, path)
        self.at = text.end
        self._refuse_quotation_mark(path)

    def _refuse_quotation_mark(self, name: str) -> None:
        self._found(
            sentence(
                "the text of “%(field)s” holds a quotation mark. In ManyChat, insert the field with the filter to_json "
                'and without quotation marks around it: {{field|fallback:""|to_json:true}}',
                field=name,
            ),
            name,
        )

    def _refuse_backslash(self, position: int, name: str) -> None:
        self.at = position
        self._found(
            sentence(
                "the text of “%(field)s” holds a backslash. In ManyChat, insert the field with the filter to_json and "
                'without quotation marks around it: {{field|fallback:""|to_json:true}}',
                field=name,
            ),
            name,
        )

    def _refuse_text_without_end(self) -> None:
        if self._is_value:
            path = self._path()
            if self.body.rstrip().endswith(('\\"', '\\"}')):
                self._refuse_backslash(self.at, path)
            self._refuse_end_of_text(path)
        if (text := self.open[-1].text) and not _BARE_NAME.match(self.body, self.at + 1):
            self._refuse_text(text)
        self._found(sentence("the name of a field has no quotation marks around it"))

    def _refuse_end_of_text(self, name: str) -> None:
        self._found(sentence("the quotation mark after the text of “%(field)s” is missing", field=name), name)

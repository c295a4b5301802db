"""What old producers put on the queues: every spelling of Base64, and plain JSON."""

from __future__ import annotations

import base64
import codecs
import json
import textwrap
from collections.abc import Callable
from datetime import datetime, timezone

import pytest

from bridge.contract.errors import ContractError
from bridge.contract.event import accept, decode
from bridge.contract.payloads import EventType

NOW = datetime(2026, 3, 2, 12, tzinfo=timezone.utc)
QUEUE = EventType.CONTACT.queue
# With characters that differ between the two alphabets of Base64.
PAYLOAD = {"manychat_id": "MC1", "nombre_lead": "Zoë ÿÿÿ>>>???", "datetime_actual": "2026-03-02"}
JSON = json.dumps(PAYLOAD, ensure_ascii=False)
BOM = "\ufeff"


def standard(content: bytes) -> str:
    return base64.b64encode(content).decode()


def in_lines(content: bytes, ending: str = "\n") -> str:
    return ending.join(textwrap.wrap(standard(content), 20)) + ending


SPELLINGS: dict[str, Callable[[bytes], str]] = {
    "standard": standard,
    "in lines": in_lines,
    "in lines of Windows": lambda content: in_lines(content, "\r\n"),
    "without padding": lambda content: standard(content).rstrip("="),
    "URL-safe": lambda content: base64.urlsafe_b64encode(content).decode(),
    "URL-safe without padding": lambda content: base64.urlsafe_b64encode(content).decode().rstrip("="),
    "URL-safe in lines, without padding": lambda content: (
        in_lines(content).replace("+", "-").replace("/", "_").replace("=", "")
    ),
    "after a byte order mark": lambda content: BOM + standard(content),
    "in quotation marks": lambda content: json.dumps(standard(content)),
    "with blanks around": lambda content: f"\n  {standard(content)} \r\n",
}
PLAIN = {
    "plain": JSON,
    "a byte order mark": BOM + JSON,
    "a byte order mark read as Latin-1": codecs.BOM_UTF8.decode("latin-1") + JSON,
    "a byte order mark and blanks": f" {BOM} \n{JSON}\n",
}
ENCODED = {
    "UTF-8": JSON.encode(),
    "UTF-8 with a byte order mark": codecs.BOM_UTF8 + JSON.encode(),
    "UTF-16": JSON.encode("utf-16"),
    "UTF-16, big end first": codecs.BOM_UTF16_BE + JSON.encode("utf-16-be"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("encoding", ENCODED)
@pytest.mark.parametrize("more", range(4))
def test_every_spelling_of_base64_is_read(spelling: str, encoding: str, more: int) -> None:
    # One to four bytes more, so that the padding has each length.
    content = ENCODED[encoding] + {"UTF-16": " ".encode("utf-16-le")}.get(encoding, b" ") * more
    if "big" in encoding:
        content = ENCODED[encoding] + " ".encode("utf-16-be") * more
    event = decode(SPELLINGS[spelling](content), queue=QUEUE, inserted_at=NOW)
    assert event == accept(EventType.CONTACT, PAYLOAD, received_at=NOW, source="queue")


@pytest.mark.parametrize("name", PLAIN)
def test_plain_json_is_read_with_a_byte_order_mark_or_without(name: str) -> None:
    event = decode(PLAIN[name], queue=QUEUE, inserted_at=NOW)
    assert event == accept(EventType.CONTACT, PAYLOAD, received_at=NOW, source="queue")


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_an_envelope_too(spelling: str) -> None:
    event = accept(EventType.CONTACT, PAYLOAD, received_at=NOW, source="odoo")
    assert decode(SPELLINGS[spelling](base64.b64decode(event.encode())), queue=QUEUE, inserted_at=NOW) == event


@pytest.mark.parametrize(
    "content",
    [
        "",
        "=",
        "====",
        "e",
        "ew",
        "e30",
        "W10=",
        "!!!!",
        "e3\u00e90",
        "\ufeff",
        "ÿþ",
        standard(b"\xff\xfe{"),
        BOM + "[]",
        "{" * 9,
    ],
)
def test_what_is_neither_is_refused(content: str) -> None:
    with pytest.raises(ContractError):
        decode(content, queue=QUEUE, inserted_at=NOW)

"""Requests byte by byte, in the forms in which bots, proxies, monitors and strangers write headers and addresses.

The table says what both servers must answer. It names no key: ``KEY`` stands for a valid one.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
from dataclasses import dataclass
from typing import Any

from bridge.contract.payloads import EventType

KEY = b"<key>"
PATH = EventType.CONTACT.spec.path
BODY = b'{"manychat_id": "MC-RAW", "datetime_actual": "2026-03-02"}'
JSON = b"Content-Type: application/json"
_KEY = b"X-API-KEY: " + KEY
_CHUNKED = b"Transfer-Encoding: chunked"


@dataclass(frozen=True)
class Raw:
    """One request.

    :ivar status: of the answer
    :ivar answer: ``accepted``, ``valid``, or the code of the error
    :ivar proxied: whether the proxy passes it on; else it answers itself
    """

    name: str
    content: bytes
    status: int
    answer: str
    proxied: bool = True

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def raw(
    *headers: bytes,
    path: str | bytes = PATH,
    method: bytes = b"POST",
    body: bytes = BODY,
    length: int | None = -1,
    version: bytes = b"HTTP/1.1",
    host: bytes | None = b"Host: bots.example",
    key: bytes | None = _KEY,
    content_type: bytes | None = JSON,
) -> bytes:
    """The bytes of a request.

    :param length: the ``Content-Length``; -1 for the right one, ``None`` for no such header
    """
    target = path.encode() if isinstance(path, str) else path
    lines = [b" ".join([method, target, version]), host, key, content_type, *headers, b"Connection: close"]
    if length is not None:
        lines.append(b"Content-Length: %d" % (len(body) if length < 0 else length))
    return b"\r\n".join(line for line in lines if line is not None) + b"\r\n\r\n" + body


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def _accepted(**requests: bytes) -> list[Raw]:
    return [Raw(name.replace("_", " "), content, 200, "accepted") for name, content in requests.items()]


def _refused(status: int, code: str, proxied: bool = True, **requests: bytes) -> list[Raw]:
    return [Raw(name.replace("_", " "), content, status, code, proxied) for name, content in requests.items()]


CASES = [
    *_accepted(
        plain=raw(),
        key_with_blanks_behind=raw(key=_KEY + b"  "),
        key_with_a_tab_behind=raw(key=_KEY + b"\t"),
        key_with_a_no_break_space_behind=raw(key=_KEY + "\u00a0".encode()),
        key_among_invisible_characters=raw(key="X-API-KEY: \ufeff".encode() + KEY + "\u200b".encode()),
        key_without_a_blank_before=raw(key=b"X-API-KEY:" + KEY),
        key_in_small_letters=raw(key=b"x-api-key: " + KEY),
        key_twice=raw(_KEY),
        key_twice_in_one_line=raw(key=_KEY + b", " + KEY),
        key_and_an_empty_one=raw(b"X-API-KEY:"),
        idempotency_key_twice=raw(b"Idempotency-Key: a", b"Idempotency-Key: a"),
        idempotency_key_with_a_blank_behind=raw(b"Idempotency-Key: a "),
        two_idempotency_keys=raw(b"Idempotency-Key: a", b"Idempotency-Key: b"),
        empty_idempotency_key=raw(b"Idempotency-Key: "),
        idempotency_key_that_is_not_ascii=raw("Idempotency-Key: clé".encode()),
        idempotency_key_in_latin_1=raw(b"Idempotency-Key: cl\xe9"),
        long_idempotency_key=raw(b"Idempotency-Key: " + b"a" * 7000),
        a_stamp_that_is_none=raw(b"X-Request-Stamp: now", b"X-Request-Stamp: \xff"),
        no_dry_run=raw(b"X-Dry-Run: 0", b"X-Dry-Run:"),
        slash_behind=raw(path=f"{PATH}/"),
        slashes_behind=raw(path=f"{PATH}//"),
        slash_before=raw(path=f"/{PATH}"),
        doubled_slashes=raw(path=PATH.replace("/", "//")),
        slash_behind_and_a_query=raw(path=f"{PATH}/?a=1"),
        encoded_letter=raw(path=PATH.replace("contact", "%63ontact")),
        whole_url=raw(path=f"http://bots.example{PATH}"),
        arguments_of_the_handler=raw(path=f"{PATH}?self=1&event_type=2&endpoint=3&request=4&args=5&kwargs=6&path=7"),
        arguments_of_odoo=raw(path=f"{PATH}?db=nothing&debug=1&session_id=x&csrf_token=y&lang=xx&cids=9"),
        broken_query=raw(path=f"{PATH}?&&=&a&%zz&%ff=%00"),
        many_arguments=raw(path=f"{PATH}?" + "&".join(f"a{number}=1" for number in range(800))),
        content_type_twice=raw(JSON),
        content_type_twice_the_last_one_json=raw(JSON, content_type=b"Content-Type: text/plain"),
        content_type_in_capitals=raw(content_type=b"Content-Type: APPLICATION/JSON"),
        content_type_with_a_charset=raw(content_type=JSON + b" ; charset=iso-8859-1"),
        content_type_with_a_strange_charset=raw(content_type=JSON + b"; charset=\xff; a"),
        content_type_with_nothing_behind=raw(content_type=JSON + b";"),
        http_1_0_without_host=raw(version=b"HTTP/1.0", host=None),
        http_1_0=raw(version=b"HTTP/1.0"),
        strange_cookies=raw(b"Cookie: session_id=x; frontend_lang=\xff; =; a"),
        authorization=raw(b"Authorization: Basic x"),
        strange_languages=raw(b"Accept-Language: xx-\xff, es;q=zz"),
        accept_xml=raw(b"Accept: application/xml"),
        of_a_browser=raw(b"Origin: https://other.example", b"Referer: x", b"Sec-Fetch-Site: cross-site"),
        forwarded=raw(b"X-Forwarded-For: \xff, 1.2.3.4, nothing", b"X-Forwarded-Host: other.example"),
        method_override=raw(b"X-HTTP-Method-Override: GET"),
        conditions=raw(b'If-None-Match: "x"', b"If-Match: *", b"Range: bytes=0-1"),
        many_headers=raw(*(b"X-A%d: 1" % number for number in range(80))),
        in_chunks=raw(_CHUNKED, length=None, body=chunked(BODY[:7], BODY[7:])),
        in_chunks_in_capitals=raw(b"Transfer-Encoding: Chunked", length=None, body=chunked(BODY)),
        says_gzip_and_is_none=raw(b"Content-Encoding: gzip"),
        expects_to_be_told_to_continue=raw(b"Expect: 100-continue"),
    ),
    *_refused(
        401,
        "unauthorized",
        no_key=raw(key=None),
        no_key_and_arguments_of_the_handler=raw(key=None, path=f"{PATH}?self=1"),
        quoted_key=raw(key=b'X-API-KEY: "' + KEY + b'"'),
        two_keys=raw(b"X-API-KEY: mck_other"),
        two_keys_the_right_one_last=raw(_KEY, key=b"X-API-KEY: mck_other"),
        key_in_latin_1=raw(key=_KEY + b"\xe9"),
        key_in_utf_8=raw(key="X-API-KEY: clé".encode()),
        key_that_is_very_long=raw(key=b"X-API-KEY: " + b"m" * 7000),
    ),
    *_refused(
        401,
        "key_in_address",
        key_in_the_address=raw(path=f"{PATH}?key=mck_abc"),
        key_in_the_address_as_a_name=raw(path=f"{PATH}?mck_abc"),
        encoded_key_in_the_address=raw(path=f"{PATH}?key=mck%5Fabc"),
        encoded_key_in_the_address_in_small_letters=raw(path=f"{PATH}?key=%6dck%5fabc"),
        key_in_the_address_encoded_twice=raw(path=f"{PATH}?key=mck%255Fabc"),
        encoded_key_in_the_address_and_no_other=raw(path=f"{PATH}/?key=mck%5Fabc", key=None),
    ),
    *_refused(
        415,
        "unsupported_media_type",
        no_content_type=raw(content_type=None),
        empty_content_type=raw(content_type=b"Content-Type:"),
        content_type_twice_the_last_one_text=raw(b"Content-Type: text/plain"),
        two_content_types_in_one_line=raw(content_type=JSON + b", text/plain"),
        quoted_content_type=raw(content_type=b'Content-Type: "application/json"'),
        other_json=raw(content_type=b"Content-Type: application/ld+json"),
        form=raw(content_type=b"Content-Type: application/x-www-form-urlencoded", body=b"a=1&self=2"),
        form_in_parts_without_a_boundary=raw(content_type=b"Content-Type: multipart/form-data"),
    ),
    *_refused(
        400,
        "not_json",
        no_body=raw(body=b""),
        body_longer_than_said=raw(length=10),
        compressed=raw(b"Content-Encoding: gzip", body=gzip.compress(BODY)),
        compressed_and_does_not_say_so=raw(body=gzip.compress(BODY)),
        neither_length_nor_chunks=raw(length=None),
    ),
    *_refused(
        400,
        "not_json",
        proxied=False,
        body_cut_off=raw(length=100),
        body_cut_off_by_one=raw(length=len(BODY) + 1),
        body_that_never_came=raw(body=b"", length=100),
        chunks_cut_off=raw(_CHUNKED, length=None, body=b"%x\r\n%b" % (len(BODY) + 9, BODY)),
    ),
    *_refused(
        413,
        "too_large",
        large=raw(body=b" " * 33_000),
        large_as_it_says=raw(length=33_000, body=b" " * 33_000),
        large_in_chunks=raw(_CHUNKED, length=None, body=chunked(*[b" " * 1000] * 40)),
    ),
    *_refused(
        405,
        "method_not_allowed",
        get=raw(method=b"GET", body=b""),
        get_with_a_body=raw(method=b"GET"),
        options=raw(b"Origin: http://a", b"Access-Control-Request-Method: POST", method=b"OPTIONS", body=b"", key=None),
        put=raw(method=b"PUT"),
        patch=raw(method=b"PATCH"),
        delete=raw(method=b"DELETE", body=b"", key=None),
        unknown_method=raw(method=b"FOO"),
    ),
    Raw("dry run twice", raw(b"X-Dry-Run: 1", b"X-Dry-Run: 1"), 200, "valid"),
    Raw("dry run, yes and no", raw(b"X-Dry-Run: 0", b"X-Dry-Run: true "), 200, "valid"),
    Raw("dry run, no and yes in one line", raw(b"X-Dry-Run: yes,0"), 200, "valid"),
]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: Any


def ask(address: str, content: bytes, hangs_up: bool = True) -> Answer:
    """What ``address`` answers to ``content``.

    :param address: ``http://HOST:PORT``
    :param hangs_up: whether the sender closes its side of the connection afterwards. nginx then does not answer.
    """
    host, port = address.removeprefix("http://").rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(content)
        if hangs_up:
            with contextlib.suppress(OSError):  # the server has answered and closed the connection already
                connection.shutdown(socket.SHUT_WR)
        received = b""
        while part := connection.recv(65_536):
            received += part
    while received.startswith(b"HTTP/1.1 100 "):
        received = received.partition(b"\r\n\r\n")[2]
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(int(first.split(" ")[1]), headers, json.loads(body) if body else None)

"""STANDS IN FOR SQL SERVER'S LOGIN: what happens until a connection is refused. Microsoft's ODBC driver is real.

It agrees on TLS, reads the login, asks for a federated login if the client wants one, and then answers an error, which
the driver parses as it would parse Azure's. It runs no statement. https://learn.microsoft.com/openspecs/windows_protocols/ms-tds
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

_PRELOGIN, _RESPONSE, _FEDAUTH_TOKEN = 0x12, 0x04, 0x08
_ENCRYPTION_ON, _NO_ENCRYPTION = 1, 2
_END = 0xFF
_VERSION, _ENCRYPTION, _FEDAUTH = 0, 1, 6


@dataclass
class Tds:
    """
    :ivar number: of the error that ends the login
    :ivar authority: the address that issues tokens, for a user or an application
    :ivar tokens: the federated tokens that came
    :ivar logins: number of logins that came so far
    """

    number: int = 18456
    text: str = "Login failed."
    state: int = 1
    encrypts: bool = True
    authority: str = "https://login.windows.net/11111111-2222-3333-4444-555555555555"
    port: int = 0
    logins: int = 0
    tokens: list[str] = field(default_factory=list)

    def serve(self, connection: socket.socket, context: ssl.SSLContext) -> None:
        """Answer one client."""
        with connection, suppress(OSError, ssl.SSLError, EOFError):
            _, prelogin = _read(connection.recv)
            wants_token = _FEDAUTH in _options(prelogin)
            self._greet(connection, wants_token)
            if not self.encrypts:
                return
            tls = _Tls(connection, context)
            tls.read_packet()
            self.logins += 1
            if wants_token:
                tls.send(_packet(_fedauth_info(self.authority)))
                _kind, body = tls.read_packet()
                # Its length, the token's length, the token.
                [length] = struct.unpack_from("<I", body, 4)
                self.tokens.append(body[8 : 8 + length].decode("utf-16-le"))
            tls.send(_packet(self._error()))
            tls.read_packet()

    def _greet(self, connection: socket.socket, wants_token: bool) -> None:
        encryption = _ENCRYPTION_ON if self.encrypts else _NO_ENCRYPTION
        options = {_VERSION: b"\x10\x00\x10\x00\x00\x00", _ENCRYPTION: bytes([encryption]), 2: b"\0", 3: b"", 4: b"\0"}
        if wants_token:
            options[_FEDAUTH] = b"\1"
        offset = 5 * len(options) + 1
        head = body = b""
        for option, value in options.items():
            head += struct.pack(">BHH", option, offset + len(body), len(value))
            body += value
        connection.sendall(_packet(head + bytes([_END]) + body))

    def _error(self) -> bytes:
        text, server = self.text.encode("utf-16-le"), "stand-in".encode("utf-16-le")
        body = struct.pack("<iBBH", self.number, self.state, 14, len(self.text)) + text
        body += bytes([len(server) // 2]) + server + b"\0" + struct.pack("<I", 1)
        # The error, and: done, with an error.
        return b"\xaa" + struct.pack("<H", len(body)) + body + b"\xfd" + struct.pack("<HHQ", 2, 0, 0)


class _Tls:
    """TLS whose handshake travels in packets of its own, and all the rest without."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext):
        self._socket = connection
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=True)
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush_handshake()
                self._in.write(_read(connection.recv)[1])
            else:
                self._flush_handshake()
                return

    def _flush_handshake(self) -> None:
        if written := self._out.read():
            self._socket.sendall(_packet(written, _PRELOGIN))

    def recv(self, size: int) -> bytes:
        while True:
            try:
                return self._tls.read(size)
            except ssl.SSLWantReadError:
                received = self._socket.recv(65536)
                if not received:
                    raise EOFError from None
                self._in.write(received)

    def read_packet(self) -> tuple[int, bytes]:
        return _read(self.recv)

    def send(self, packet: bytes) -> None:
        self._tls.write(packet)
        self._socket.sendall(self._out.read())


def _read(recv: object) -> tuple[int, bytes]:
    """One message, of one packet or several."""
    whole = b""
    while True:
        head = _exactly(recv, 8)
        kind, status, length = struct.unpack(">BBH", head[:4])
        whole += _exactly(recv, length - 8)
        if status & 1:
            return kind, whole


def _exactly(recv: object, size: int) -> bytes:
    received = b""
    while len(received) < size:
        part = recv(size - len(received))  # type: ignore[operator]
        if not part:
            raise EOFError
        received += part
    return received


def _packet(body: bytes, kind: int = _RESPONSE) -> bytes:
    return struct.pack(">BBHHBB", kind, 1, len(body) + 8, 0, 1, 0) + body


def _options(prelogin: bytes) -> set[int]:
    found = set()
    for position in range(0, len(prelogin), 5):
        if prelogin[position] == _END:
            break
        found.add(prelogin[position])
    return found


def _fedauth_info(authority: str) -> bytes:
    """Which authority issues the tokens, and for which service."""
    values = {2: "https://database.windows.net/", 1: authority}
    encoded = {number: value.encode("utf-16-le") for number, value in values.items()}
    offset, head, body = 4 + 9 * len(values), b"", b""
    for number, value in encoded.items():
        head += struct.pack("<BII", number, len(value), offset + len(body))
        body += value
    info = struct.pack("<I", len(values)) + head + body
    return b"\xee" + struct.pack("<I", len(info)) + info


@contextmanager
def serving(certificate: Path, key: Path, **options: object) -> Iterator[Tds]:
    """A running one, on a free port of the loopback."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    # Inside of packets there is no TLS 1.3.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    tds = Tds(**options)  # type: ignore[arg-type]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        tds.port = listening.getsockname()[1]

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=tds.serve, args=[connection, context], daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield tds

"""STANDS IN FOR MICROSOFT ENTRA ID and for the identity endpoint of an Azure machine; azure-identity is the real one.

It issues tokens that Azurite accepts with ``--oauth basic``: Azurite checks issuer, audience and dates, and neither the
signature nor roles.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import ssl
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from deploy.local import ports

TENANT, OBJECT_ID = "11111111-2222-3333-4444-555555555555", "66666666-7777-8888-9999-000000000000"
CLIENT_ID, CLIENT_SECRET, HEADER = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "a client secret", "an identity header"


class Certificate:
    """A self-signed certificate for 127.0.0.1, in files."""

    def __init__(self, folder: Path):
        self.key, self.certificate = folder / "key.pem", folder / "certificate.pem"
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
        now = datetime.datetime.now(datetime.timezone.utc)
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )

    @property
    def context(self) -> ssl.SSLContext:
        """For a server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


class Entra:
    """The endpoint of a managed identity (HTTP) and the tenant's token endpoint (HTTPS).

    :ivar asked: a line for each request for a token
    :ivar refusal: what to answer in place of a token: a status and a body
    :ivar seconds: that a token lives
    :ivar claims: of the tokens, beside or in place of the usual ones
    """

    def __init__(self, certificate: Certificate):
        self.certificate = certificate
        self.asked: list[str] = []
        self.refusal: tuple[int, dict[str, Any]] | None = None
        self.claims: dict[str, Any] = {}
        self.seconds = 3600
        self._ports = [ports.choose(), ports.choose()]
        self._servers: list[ThreadingHTTPServer] = []
        self.start()

    def start(self) -> None:
        """At the same addresses as before."""
        for index, is_tls in enumerate((False, True)):
            server = ThreadingHTTPServer(("127.0.0.1", self._ports[index]), self._handler())
            server.daemon_threads = True
            if is_tls:
                server.socket = self.certificate.context.wrap_socket(server.socket, server_side=True)
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
            self._servers.append(server)

    def stop(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()
        self._servers.clear()

    def environment(self, source: str) -> dict[str, str]:
        """The variables that ``source`` gives a process: one of those below."""
        trusted = {"REQUESTS_CA_BUNDLE": str(self.certificate.certificate)}
        managed = {"IDENTITY_ENDPOINT": f"http://127.0.0.1:{self._ports[0]}/msi/token", "IDENTITY_HEADER": HEADER}
        application = {
            "AZURE_AUTHORITY_HOST": f"https://127.0.0.1:{self._ports[1]}",
            # With any other tenant the library first asks Microsoft whether this host is one of its own.
            "AZURE_TENANT_ID": "adfs",
            "AZURE_CLIENT_ID": CLIENT_ID,
        }
        assertion = self.certificate.key.parent / "federated-token"
        assertion.write_text(self.token("api://AzureADTokenExchange"))
        return (
            trusted
            | {
                "none": {},
                "system-assigned": managed,
                "user-assigned": managed | {"AZURE_CLIENT_ID": CLIENT_ID},
                "service principal": application | {"AZURE_CLIENT_SECRET": CLIENT_SECRET},
                "workload": application | {"AZURE_FEDERATED_TOKEN_FILE": str(assertion)},
            }[source]
        )

    def token(self, audience: str = "https://storage.azure.com") -> str:
        now = int(time.time())
        claims = {
            "aud": audience,
            "iss": f"https://sts.windows.net/{TENANT}/",
            "iat": now - 5,
            "nbf": now - 5,
            "exp": now + self.seconds,
            "oid": OBJECT_ID,
            "tid": TENANT,
            "appid": CLIENT_ID,
            **self.claims,
        }
        parts = [{"typ": "JWT", "alg": "HS256"}, claims]
        encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
        return ".".join([*encoded, "c2lnbmF0dXJl"])

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        entra = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path, _, query = self.path.partition("?")
                if path == "/adfs/.well-known/openid-configuration":
                    base = f"https://127.0.0.1:{entra._ports[1]}/adfs"
                    names = {"issuer": base, "authorization_endpoint": f"{base}/a", "token_endpoint": f"{base}/token"}
                    self._answer(200, names)
                elif self.headers.get("X-IDENTITY-HEADER") != HEADER:
                    self._answer(401, {"error": "unauthorized"})
                else:
                    self._issue(dict(urllib.parse.parse_qsl(query)))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                said = dict(urllib.parse.parse_qsl(body))
                if said.get("client_secret", CLIENT_SECRET) != CLIENT_SECRET:
                    text = "AADSTS7000215: Invalid client secret provided. Trace ID: 1"
                    self._answer(401, {"error": "invalid_client", "error_description": text})
                else:
                    self._issue(said)

            def _issue(self, said: dict[str, str]) -> None:
                entra.asked.append(" ".join(f"{key}={value}" for key, value in sorted(said.items())))
                if entra.refusal:
                    self._answer(*entra.refusal)
                    return
                token = {"access_token": entra.token(), "token_type": "Bearer", "resource": "https://storage.azure.com"}
                # App Service gives a date, an OAuth endpoint a duration.
                self._answer(
                    200, {**token, "expires_on": str(int(time.time()) + entra.seconds), "expires_in": entra.seconds}
                )

            def _answer(self, status: int, body: dict[str, Any]) -> None:
                # Without blanks, as Azure: Microsoft's ODBC driver reads no other.
                encoded = json.dumps(body, separators=(",", ":")).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(encoded)))
                self.end_headers()
                self.wfile.write(encoded)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler

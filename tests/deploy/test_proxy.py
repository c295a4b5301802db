"""The proxy's servers: what is public, what each server behind it is sent, and how the connection is protected.

Behind nginx stand programs that answer with what they got, in place of Odoo and the API. The real ones stand there in
tests/e2e (test_fail_over.py, test_proxied_odoo.py).
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bridge.contract.payloads import WEBHOOKS as EVENTS
from bridge.contract.payloads import EventType
from bridge.contract.person import PATH
from deploy.local import ports
from tests.front import CONFIGURATION, fill_in, inside, nginx, serving

WEBHOOKS = "hooks.example.com"
PAGES = "odoo.example.com"
HOOK = EventType.OPPORTUNITY.spec.path


class _Echo(BaseHTTPRequestHandler):
    """Answers with what it got, and with who it is."""

    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        got = {"server": self.server.name, "path": self.path, "headers": dict(self.headers)}  # type: ignore[attr-defined]
        body = json.dumps(got).encode()
        self.send_response(200)
        self.send_header("Set-Cookie", "session_id=abc; HttpOnly; Path=/")
        self.send_header("Content-Length", str(len(body)))
        if sent := self.headers.get("X-Answer-With"):
            self.send_header("X-Request-Id", sent)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_HEAD = _answer  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def _echo(name: str, answers: type[BaseHTTPRequestHandler] = _Echo) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), answers)
    server.name = name  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def _certificate(folder: Path, *names: str) -> dict[str, str]:
    """A certificate of its own authority for those names, where the templates want to have it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = {"TLS_CERTIFICATE": folder / "fullchain.pem", "TLS_KEY": folder / "privkey.pem"}
    files["TLS_CERTIFICATE"].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    files["TLS_KEY"].write_bytes(key.private_bytes(serialization.Encoding.PEM, *private))
    return {name: str(file) for name, file in files.items()}


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """All three templates in one nginx; no bridge may call Odoo through it."""
    folder = tmp_path_factory.mktemp("nginx")
    own, http, https = ports.choose(), ports.choose(), ports.choose()
    tls = _certificate(folder, WEBHOOKS, PAGES)
    with _echo("odoo") as odoo, _echo("websocket") as websocket, _echo("api") as api:
        fill_in(folder, "fail-over", {**inside(odoo, websocket, api, "192.0.2.0/24"), "LISTEN": f"127.0.0.1:{own}"})
        fill_in(folder, "public", {"WEBHOOK_HOST": WEBHOOKS, **tls}, http, https)
        fill_in(folder, "pages", {"ODOO_HOST": PAGES, **tls}, http, https)
        for address in serving(folder, [own, http, https]):
            yield SimpleNamespace(own=address, http=http, https=https, folder=folder, ca=tls["TLS_CERTIFICATE"])


class _Named(requests.adapters.HTTPAdapter):
    """Reaches every host name at one port of this machine, and checks the certificate for the name."""

    def __init__(self, port: int, ca: str) -> None:
        self._port, self._ca = port, ca
        super().__init__()

    def send(self, request: Any, **options: Any) -> Any:
        host = request.url.split("/")[2]
        request.headers["Host"] = host
        request.url = request.url.replace(host, f"127.0.0.1:{self._port}", 1)
        self.poolmanager.connection_pool_kw |= {"server_hostname": host, "assert_hostname": host}
        return super().send(request, **{**options, "verify": self._ca})


@pytest.fixture
def https(front: SimpleNamespace) -> requests.Session:
    session = requests.Session()
    session.mount("https://", _Named(front.https, front.ca))
    session.trust_env = False
    return session


@pytest.mark.parametrize("each", EVENTS)
def test_the_webhooks_are_public_and_go_to_odoo(https: requests.Session, each: EventType) -> None:
    answer = https.request(each.spec.method, f"https://{WEBHOOKS}{each.spec.path}/", json={})
    assert (answer.status_code, answer.json()["server"]) == (200, "odoo")
    assert answer.json()["path"] == each.spec.path
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=")


@pytest.mark.parametrize("path", ["/health", "/api/v1/reports/health"])
def test_the_health_checks_are_public(https: requests.Session, path: str) -> None:
    assert https.get(f"https://{WEBHOOKS}{path}").json()["server"] == "odoo"


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/web", "/web/login", "/web/database/manager", "/odoo", "/websocket", "/jsonrpc", "/xmlrpc/2/common"),
        *("/api/v1/contacts/", "/api/v1/opportunities/", "/api/v1/audit/", "/metrics", "/docs", "/openapi.json"),
        *(
            "/api/v1/manychat/nothing",
            "/api/v1/reports/health/x",
            "/x/%2e%2e/web/login",
            "//web/login",
            "/health/../web",
        ),
    ],
)
def test_nothing_else_is_public_on_that_name(https: requests.Session, path: str) -> None:
    for method in ("GET", "POST"):
        request = requests.Request(method, f"https://{WEBHOOKS}/").prepare()
        request.url = f"https://{WEBHOOKS}{path}"
        answer = https.send(request, allow_redirects=False)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert "Strict-Transport-Security" in answer.headers


def test_another_name_gets_no_certificate_and_no_answer(front: SimpleNamespace) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for name in ("other.example.com", None):
        with (
            socket.create_connection(("127.0.0.1", front.https), 10) as raw,
            pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"),
        ):
            context.wrap_socket(raw, server_hostname=name)


def test_plain_http_is_sent_to_https(front: SimpleNamespace) -> None:
    answer = requests.post(
        f"http://127.0.0.1:{front.http}{HOOK}?a=1", headers={"Host": WEBHOOKS}, allow_redirects=False, timeout=30
    )
    assert (answer.status_code, answer.headers["Location"]) == (308, f"https://{WEBHOOKS}{HOOK}?a=1")


def test_certbot_finds_its_file_over_plain_http(front: SimpleNamespace) -> None:
    challenge = front.folder / "acme" / ".well-known" / "acme-challenge"
    challenge.mkdir(parents=True)
    (challenge / "token").write_text("answer")
    url = f"http://127.0.0.1:{front.http}/.well-known/acme-challenge/token"
    assert requests.get(url, headers={"Host": WEBHOOKS}, timeout=30).text == "answer"


def _handshake(front: SimpleNamespace, ciphers: str = "DEFAULT", **limits: Any) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=front.ca)
    context.set_ciphers(ciphers)
    context.set_alpn_protocols(["h2", "http/1.1"])
    for name, value in limits.items():
        setattr(context, name, value)
    raw = socket.create_connection(("127.0.0.1", front.https), 10)
    return context.wrap_socket(raw, server_hostname=WEBHOOKS)


def test_http_2_and_tls_1_3_are_spoken(front: SimpleNamespace) -> None:
    with _handshake(front) as connection:
        assert (connection.selected_alpn_protocol(), connection.version()) == ("h2", "TLSv1.3")
    with _handshake(front, maximum_version=ssl.TLSVersion.TLSv1_2) as connection:
        assert connection.cipher()[0].startswith("ECDHE-")  # type: ignore[index]


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_old_tls_is_not(front: SimpleNamespace) -> None:
    versions = {"minimum_version": ssl.TLSVersion.TLSv1_1, "maximum_version": ssl.TLSVersion.TLSv1_1}
    # Or OpenSSL itself would refuse it, here and in nginx.
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        _handshake(front, ciphers="DEFAULT:@SECLEVEL=0", **versions)


def test_what_a_client_says_of_itself_does_not_arrive(https: requests.Session) -> None:
    said = {
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "evil.example.com",
        "X-Request-Stamp": "1.000 mine",
    }
    got = https.post(f"https://{WEBHOOKS}{HOOK}", json={}, headers=said).json()["headers"]
    assert got["X-Forwarded-For"] == "127.0.0.1"
    assert (got["X-Forwarded-Proto"], got["X-Forwarded-Host"], got["Host"]) == ("https", WEBHOOKS, WEBHOOKS)
    assert re.fullmatch(r"\d{10,}\.\d{3} [0-9a-f]{32}", got["X-Request-Stamp"])


def _logged(front: SimpleNamespace, name: str, value: str, count: int = 1) -> list[dict[str, str]]:
    """The lines of the log with that value. nginx writes them after the answer."""
    deadline = time.monotonic() + 30
    while True:
        lines = [json.loads(line) for line in (front.folder / "access.log").read_text().splitlines()]
        found = [line for line in lines if line[name] == value]
        if len(found) >= count:
            return found
        assert time.monotonic() < deadline, value
        time.sleep(0.05)


def test_a_line_of_the_log_has_the_id_of_the_stamp_and_no_query(
    https: requests.Session, front: SimpleNamespace
) -> None:
    got = https.get(f"https://{PAGES}/web?secret=1").json()
    (line,) = _logged(front, "request", got["headers"]["X-Request-Stamp"].split()[1])
    assert (line["path"], line["status"], line["client"]) == ("/web", "200", "127.0.0.1")
    assert "secret" not in (front.folder / "access.log").read_text()


@pytest.mark.parametrize("written", ["1234", "%C3%91%20a%2Fb%2F%2Fc%3Fd", "a/"])
def test_a_question_about_a_person_is_public_and_passed_on_as_it_was_sent(
    https: requests.Session, front: SimpleNamespace, written: str
) -> None:
    got = https.get(f"https://{WEBHOOKS}{PATH}{written}?format=dynamic").json()
    assert (got["server"], got["path"]) == ("odoo", f"{PATH}{written}?format=dynamic")
    (line,) = _logged(front, "request", got["headers"]["X-Request-Stamp"].split()[1])
    assert line["path"] == PATH
    assert https.get(f"https://{WEBHOOKS}{PATH}").status_code == 404


def test_pages_go_to_odoo_and_sockets_to_its_other_port(https: requests.Session) -> None:
    for path, server in {
        "/": "odoo",
        "/web/login": "odoo",
        "/web/assets/1/x.js": "odoo",
        "/websocket": "websocket",
    }.items():
        assert https.get(f"https://{PAGES}{path}").json()["server"] == server
    assert https.get(f"https://{PAGES}/websocket/health").json()["server"] == "websocket"


def test_the_session_is_sent_by_https_only(https: requests.Session) -> None:
    cookie = https.get(f"https://{PAGES}/web").headers["Set-Cookie"].lower()
    assert "secure" in cookie
    assert "httponly" in cookie
    assert "samesite=lax" in cookie


@pytest.mark.parametrize(
    "path", ["/web/database/manager", "/web/database", "//web//database/drop", "/es/web/%64atabase/list"]
)
def test_databases_cannot_be_managed(https: requests.Session, front: SimpleNamespace, path: str) -> None:
    for address in (f"https://{PAGES}", front.own):
        request = requests.Request("POST", f"{address}/").prepare()
        request.url = address + path
        assert https.send(request).status_code == 404


@pytest.mark.parametrize(
    "path", ["/jsonrpc", "/xmlrpc/2/object", "/xmlrpc/db", "/json/2/res.users/read", "/es/jsonrpc", "//jsonrpc/"]
)
def test_programs_outside_the_bridges_network_cannot_call_odoo(
    https: requests.Session, front: SimpleNamespace, path: str
) -> None:
    for address in (f"https://{PAGES}", front.own):
        request = requests.Request("POST", f"{address}/", json={}).prepare()
        request.url = address + path
        assert https.send(request).status_code == 403


def test_a_bridge_in_its_network_can(tmp_path: Path) -> None:
    with _echo("odoo") as odoo:
        for address in nginx(tmp_path, "fail-over", inside(odoo, odoo, odoo, "127.0.0.0/8")):
            assert requests.post(f"{address}/jsonrpc", json={}, timeout=30).json()["server"] == "odoo"


def test_passwords_cannot_be_tried_fast(https: requests.Session) -> None:
    """Visits are not counted; sign-ins are, over all their addresses together."""
    assert {https.get(f"https://{PAGES}/web/login").status_code for _ in range(20)} == {200}
    addresses = ("/web/login", "/es/web/login", "/web/session/authenticate")
    answers = [https.post(f"https://{PAGES}{each}", json={}).status_code for _ in range(10) for each in addresses]
    assert set(answers) == {200, 429}
    assert answers.count(200) < 20
    assert https.post(f"https://{PAGES}/web/dataset/call_kw", json={}).status_code == 200


def test_the_webhooks_are_on_odoos_name_too(https: requests.Session) -> None:
    """Odoo shows bot builders addresses that begin with its own name."""
    assert https.post(f"https://{PAGES}{HOOK}", json={}).json()["server"] == "odoo"


@pytest.mark.parametrize(("size", "status"), [(128 * 2**20, 200), (131 * 2**20, 413)])
def test_files_of_odoos_own_limit_pass(front: SimpleNamespace, size: int, status: int) -> None:
    body = b"x" * size
    assert requests.post(f"{front.own}/web/binary/upload", data=body, timeout=120).status_code == status


def test_the_own_network_has_the_rest(front: SimpleNamespace) -> None:
    for path in ("/api/v1/contacts/", "/api/v1/audit", "/metrics"):
        assert requests.get(f"{front.own}{path}", timeout=30).json()["server"] == "api"


def _request_ids(answer: requests.Response) -> list[str]:
    return answer.raw.headers.getlist("X-Request-Id")


def test_what_a_server_answers_has_its_request_id_once(https: requests.Session, front: SimpleNamespace) -> None:
    for method, path in (("POST", f"{WEBHOOKS}{HOOK}"), ("GET", f"{PAGES}/web/login")):
        sent = {"X-Answer-With": "5bf9", "X-Request-Id": "req-7"}
        answer = https.request(method, f"https://{path}", headers=sent)
        assert (answer.status_code, _request_ids(answer)) == (200, ["5bf9"])
        assert answer.json()["headers"]["X-Request-Id"] == "req-7", "it is passed on, and the server decides"
    assert [line["path"] for line in _logged(front, "answered", "5bf9", 2)] == [HOOK, "/web/login"]


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (None, "nginx's"),
        ("req-7", "req-7"),
        ("x" * 128, "x" * 128),
        *((odd, "nginx's") for odd in ("a b", "x" * 129, "mck_abcdefgh-secret", "<x>", "-a", "ñ".encode())),
    ],
)
def test_what_nginx_answers_itself_has_a_request_id(
    https: requests.Session, front: SimpleNamespace, sent: str | bytes | None, answered: str
) -> None:
    headers = {} if sent is None else {"X-Request-Id": sent}
    large = b"x" * (2**20 + 1)
    refused = [
        (404, https.get(f"https://{WEBHOOKS}/nothing", headers=headers)),
        (404, https.post(f"https://{WEBHOOKS}/api/v1/manychat/nothing", headers=headers)),
        (404, https.get(f"https://{PAGES}/web/database/manager", headers=headers)),
        (403, https.post(f"https://{PAGES}/jsonrpc", json={}, headers=headers)),
        (413, https.post(f"https://{WEBHOOKS}{HOOK}", data=large, headers=headers)),
        (413, https.post(f"https://{WEBHOOKS}{PATH}1", data=large, headers=headers)),
    ]
    for status, answer in refused:
        assert answer.status_code == status, answer.url
        [found] = _request_ids(answer)
        assert found == (_logged(front, "answered", found)[0]["request"] if answered == "nginx's" else answered)


def test_a_sign_in_that_is_tried_too_often_has_a_request_id(https: requests.Session) -> None:
    answers = [https.post(f"https://{PAGES}/web/login", json={}) for _ in range(30)]
    ids = [_request_ids(answer) for answer in answers if answer.status_code == 429]
    assert ids
    assert all(len(each) == 1 and re.fullmatch("[0-9a-f]{32}", each[0]) for each in ids)


def test_while_both_servers_are_away_an_answer_has_a_request_id(tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{ports.choose()}"
    for address in nginx(tmp_path, "fail-over", inside(nobody, nobody, nobody)):
        for path, status in ((HOOK, 503), (f"{PATH}1", 503), ("/api/v1/reports/health", 503), ("/web/login", 502)):
            answer = requests.post(address + path, json={}, timeout=30, headers={"X-Request-Id": "req-7"})
            assert (answer.status_code, _request_ids(answer)) == (status, ["req-7"])
            [made] = _request_ids(requests.post(address + path, json={}, timeout=30))
            assert re.fullmatch("[0-9a-f]{32}", made)


def test_what_nginx_answers_for_a_server_has_that_ones_request_id(tmp_path: Path) -> None:
    """It leads to the line of that server's log."""

    class Failing(_Echo):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(503)
            self.send_header("X-Request-Id", "of-the-server")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = _answer  # noqa: N815

    with _echo("odoo", Failing) as odoo:
        for address in nginx(tmp_path, "fail-over", inside(odoo, odoo, odoo)):
            answer = requests.post(address + HOOK, json={}, timeout=30)
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            assert _request_ids(answer) == ["of-the-server"]


def test_a_server_that_does_not_answer_in_time_has_a_request_id(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and says nothing
        name = "{}:{}".format(*silent.getsockname())
        fill_in(tmp_path, "fail-over", {**inside(name, name, name), "LISTEN": f"127.0.0.1:{(port := ports.choose())}"})
        (tmp_path / "snippets").mkdir()
        for snippet in (CONFIGURATION / "snippets").iterdir():
            quick = re.sub(r"proxy_read_timeout \d+s", "proxy_read_timeout 1s", snippet.read_text())
            (tmp_path / "snippets" / snippet.name).write_text(quick)
        for address in serving(tmp_path, [port]):
            for path, status in ((HOOK, 503), ("/web", 504)):
                answer = requests.post(address + path, json={}, timeout=30)
                assert answer.status_code == status
                [made] = _request_ids(answer)
                assert re.fullmatch("[0-9a-f]{32}", made)


def test_a_question_that_the_api_cannot_answer_keeps_no_event_from_it(tmp_path: Path) -> None:
    """Odoo is away, and SQL too: the API cannot say how far a person is, and can put an event on its queue."""

    class WithoutSql(_Echo):
        def do_GET(self) -> None:
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()

    away = f"127.0.0.1:{ports.choose()}"
    with _echo("api", WithoutSql) as api:
        for address in nginx(tmp_path, "fail-over", inside(away, away, api)):
            for _ in range(3):
                asked = requests.get(f"{address}{PATH}1", timeout=30)
                assert (asked.status_code, asked.json()["code"]) == (503, "unavailable")
                taken = requests.post(address + HOOK, json={}, timeout=30)
                assert (taken.status_code, taken.json().get("server")) == (200, "api")

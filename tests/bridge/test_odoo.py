"""The RPC client against the stand-in, in both of Odoo's protocols: who is to blame for what goes wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from bridge import odoo as client
from bridge import odoo_faults
from bridge.errors import OdooMisconfigured, OdooRefused, OdooTimeout, OdooUnavailable
from bridge.odoo import Odoo

from .conftest import stage
from .odoo_stand_in import DATABASE, KEY, LOGIN, OdooStandIn

both = pytest.mark.parametrize("odoo", [18, 19], indirect=True, ids=["Odoo 18", "Odoo 19"])


def connect(url: str, database: str = DATABASE, key: str = KEY) -> Odoo:
    return Odoo(url, database, LOGIN, key)


@both
def test_results_come_in_the_events_order(odoo: OdooStandIn) -> None:
    events = [stage(f"MC{number}") for number in range(3)]
    results = connect(odoo.url).apply([event.envelope() for event in events])

    assert [(result["event_id"], result["status"]) for result in results] == [(event.id, "created") for event in events]


@both
def test_a_heartbeat_carries_name_and_version(odoo: OdooStandIn) -> None:
    connect(odoo.url + "/").heartbeat("host", "0.1.0")

    assert odoo.heartbeats == [{"name": "host", "version": "0.1.0"}]


@both
def test_an_odoo_that_is_away_is_unavailable(odoo: OdooStandIn) -> None:
    connection = connect(odoo.url)
    connection.probe()
    odoo.stop()
    with pytest.raises(OdooUnavailable):
        connection.probe()
    odoo.start()
    connection.probe()


@both
@pytest.mark.parametrize("wrong", [{"key": "expired"}, {"database": "another"}])
def test_a_wrong_key_or_database_says_which_variables_to_check(odoo: OdooStandIn, wrong: dict[str, str]) -> None:
    with pytest.raises(OdooMisconfigured, match="BRIDGE_ODOO_API_KEY"):
        connect(odoo.url, **wrong).probe()


@both
def test_an_exception_in_odoo_is_a_refusal(odoo: OdooStandIn) -> None:
    odoo.troubles["MC1"] = "fault"
    with pytest.raises(OdooRefused) as caught:
        connect(odoo.url).apply([stage("MC1").envelope()])
    assert caught.value.name == "odoo.exceptions.ValidationError"
    assert "No way" in caught.value.message
    # Its text may hold personal data, so it is not what shows in a traceback.
    assert "No way" not in str(caught.value)


@both
def test_a_missing_right_or_method_is_for_the_operator(odoo: OdooStandIn) -> None:
    odoo.troubles["MC1"] = "access"
    with pytest.raises(OdooMisconfigured, match="ManyChat Bridge"):
        connect(odoo.url).apply([stage("MC1").envelope()])
    with pytest.raises(OdooMisconfigured, match="miasalud_crm"):
        connect(odoo.url)._call("crm.lead", "no_such_method")


@both
def test_no_answer_in_time_is_told_apart(odoo: OdooStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "READ_SECONDS", 0.5)
    odoo.troubles["MC1"] = "slow"
    with pytest.raises(OdooTimeout):
        connect(odoo.url).apply([stage("MC1").envelope()])


@both
def test_an_answer_that_does_not_fit_the_events_is_refused(odoo: OdooStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(odoo, "manychat_apply", lambda events: [{"event_id": "another"}])
    with pytest.raises(OdooRefused):
        connect(odoo.url).apply([stage("MC1").envelope()])


@pytest.fixture
def answering() -> Iterator[Callable[..., str]]:
    """A server that answers everything in one way: ``answering(status, body, **headers)`` gives its URL."""
    servers = []

    def serve(status: int, body: str = "", **headers: str) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
def test_a_proxys_error_page_is_an_outage(answering: Callable[..., str], status: int) -> None:
    with pytest.raises(OdooUnavailable, match=str(status)):
        connect(answering(status, "<html>Bad Gateway</html>")).probe()


@pytest.mark.parametrize(
    ("status", "body"), [(200, "<html>"), (200, "[]"), (404, "<html>"), (405, ""), (200, '{"result": {}}')]
)
def test_what_is_no_odoo_is_for_the_operator(answering: Callable[..., str], status: int, body: str) -> None:
    with pytest.raises(OdooMisconfigured, match="BRIDGE_ODOO_URL"):
        connect(answering(status, body)).probe()


def test_a_redirect_is_not_followed_with_the_key_but_told(answering: Callable[..., str]) -> None:
    with pytest.raises(OdooMisconfigured, match=r"https://odoo\.example/x"):
        connect(answering(301, Location="https://odoo.example/x?token=1")).probe()


@pytest.mark.parametrize(
    ("name", "message", "kind"),
    [
        ("psycopg2.OperationalError", "could not connect to server", OdooUnavailable),
        ("psycopg2.OperationalError", 'database "x" does not exist', OdooMisconfigured),
        ("psycopg2.errors.SerializationFailure", "could not serialize", OdooUnavailable),
        ("odoo.exceptions.UserError", "Object manychat.bridge doesn't exist", OdooMisconfigured),
        ("odoo.exceptions.UserError", "Please choose a stage", OdooRefused),
        ("builtins.ZeroDivisionError", "division by zero", OdooRefused),
    ],
)
def test_faults_are_told_apart_by_who_can_mend_them(name: str, message: str, kind: type[Exception]) -> None:
    assert type(odoo_faults.of_exception({"name": name, "message": message})) is kind

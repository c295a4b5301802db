"""Our own client of the queue service: it signs and reads as Microsoft's does, and outlives what a network does."""

from __future__ import annotations

import logging
import os
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from azure.core.pipeline import PipelineContext, PipelineRequest
from azure.core.pipeline.transport import HttpRequest
from azure.storage.queue import QueueClient

from bridge.contract.payloads import CONTACT_QUEUE
from bridge.errors import MessageRefused, PageUndelivered, QueueDenied, QueueMissing, QueueUnavailable
from bridge.identity import Identity
from bridge.queue import Message, Queue
from bridge.queue.login import Token
from bridge.queue.messages import written
from bridge.queue.requests import Refused, Sender

from ..queue_sdk import sdk
from .conftest import Azurite, find_azurite
from .entra import Certificate
from .queue_service import KEY, Reply, service
from .test_sas import sas

PAGE = b"<?xml version='1.0'?><QueueMessagesList/>"
PUT = (
    b"<QueueMessagesList><QueueMessage><MessageId>1</MessageId><InsertionTime>Thu, 26 Nov 2026 10:00:00 GMT"
    b"</InsertionTime><PopReceipt>r</PopReceipt></QueueMessage></QueueMessagesList>"
)
#: Texts that a client must quote in a URL, escape in XML, or leave alone.
ODD = ["a+b/c==", "%2B", "a b", "&x=y?#", "ñ🙂", "..", "~'()*!", "AgAAAAMAAAAAAAAA1+/="]


def a_message(receipt: str = "r", name: str = "1") -> Message:
    [message] = [Message(name, "", None, receipt)]  # type: ignore[arg-type]
    return message


@pytest.mark.parametrize("odd", ODD)
def test_a_signature_is_the_same_as_microsofts(odd: str) -> None:
    with service(Reply(204, headers={"x-ms-popreceipt": "new"})) as azure:
        queue = Queue(azure.connection_string, "queue")
        queue.hide(a_message(odd, odd), 7)
        queue.delete(a_message(odd, odd))
        queue.depth()
        azure.replies = [Reply(201, PUT)]
        queue.send(odd)
        other = Queue(azure.connection_string, odd)
        other.depth()
    for seen in azure.seen:
        url = f"http://{azure.address}{seen.path}"
        headers = {name: value for name, value in seen.headers.items() if name != "Authorization"}
        request = PipelineRequest(HttpRequest(seen.method, url, headers), PipelineContext(None))
        sdk(queue).credential.on_request(request)
        assert request.http_request.headers["Authorization"] == seen.headers["Authorization"], seen.path
    assert [seen.method for seen in azure.seen] == ["PUT", "DELETE", "GET", "POST", "GET"]


def test_each_request_has_an_id_of_its_own_and_no_two_the_same() -> None:
    with service(Reply(500), Reply(204)) as azure:
        Queue(azure.connection_string, "queue").delete(a_message())
    ids = [seen.headers["x-ms-client-request-id"] for seen in azure.seen]
    assert len(set(ids)) == 2
    assert all(seen.headers["User-Agent"].startswith("miasalud-bridge/") for seen in azure.seen)


@pytest.mark.parametrize(
    "written",
    [
        f"DefaultEndpointsProtocol=https;AccountName=account;AccountKey={KEY};EndpointSuffix=core.windows.net",
        f"DefaultEndpointsProtocol=http;AccountName=account;AccountKey={KEY}",
        f"accountname=account;accountkey={KEY};endpointsuffix=core.chinacloudapi.cn;",
        f"AccountName=account;AccountKey={KEY};QueueEndpoint=http://azurite:10001/account;",
        f"AccountName=account;AccountKey={KEY};QueueEndpoint=https://queues.example.org/",
        "QueueEndpoint=https://account.queue.core.windows.net/;SharedAccessSignature=?sv=1&ss=q&sig=x%3D",
        "QueueEndpoint=account.z7.queue.storage.azure.net;SharedAccessSignature=sv=1&ss=q&sig=x",
        "AccountName=account;SharedAccessSignature=sv=1&sig=x",
        "UseDevelopmentStorage=true",
    ],
)
def test_a_queue_is_where_microsofts_client_finds_it(written: str) -> None:
    expected = QueueClient.from_connection_string(written, "a-queue")
    assert Queue(written, "a-queue").url == expected.url.split("?")[0]


def test_any_azurite_accepts_the_version_of_the_protocol(tmp_path: Path) -> None:
    azurite = Azurite(find_azurite(), tmp_path, skip_version_check=False)
    queue = Queue(azurite.connection_string, "queue")
    queue.ensure()
    queue.send("eA==")
    [message] = queue.receive(1, 60)
    assert message.content == "eA=="
    queue.close()
    azurite.stop()


@pytest.mark.parametrize("content", ["", " ", "a\rb\r\nc\n\td ", "<a>&amp;]]></a>", "ñ 🙂 \u2028", "x" * 65536])
def test_a_text_comes_back_as_it_was_put_and_as_microsofts_client_reads_it(
    queues: dict[str, Queue], content: str
) -> None:
    # As each reader of XML has it; Azurite's is not so strict.
    assert (ET.fromstring(written(content))[0].text or "") == content
    queue = queues[CONTACT_QUEUE]
    queue.send(content)
    sent = queue.send(content)
    [first] = queue.receive(1, 60)
    [second] = sdk(queue).receive_messages(max_messages=1)
    assert first.content == second.content == content
    assert abs((first.inserted_at - sent.inserted_at).total_seconds()) < 60
    assert second.expires_on.year == 9999
    # The receipt that a sender has is good until the message is received.
    assert not queue.delete(sent)
    assert queue.delete(first)
    assert not queue.delete(first)


def test_what_is_too_large_is_refused_and_what_is_peeked_at_stays(queues: dict[str, Queue]) -> None:
    queue = queues[CONTACT_QUEUE]
    with pytest.raises(MessageRefused, match="RequestBodyTooLarge"):
        queue.send("x" * 66000)
    queue.send("one")
    [peeked] = queue.peek(32)
    assert (peeked.content, peeked.dequeue_count) == ("one", 0)
    [message] = queue.receive(32, 60)
    assert message.dequeue_count == 1
    assert queue.peek(32) == []
    assert queue.hide(message, 0)
    assert [each.dequeue_count for each in queue.peek(32)] == [1]


@pytest.mark.parametrize(
    ("first", "requests"),
    [
        (Reply(0), 2),
        (Reply(500), 2),
        (Reply(503, headers={"x-ms-error-code": "ServerBusy"}), 2),
        (Reply(503, headers={"Retry-After": "0"}), 2),
        (Reply(408), 2),
        (Reply(429), 2),
        # It wants more patience than a request has.
        (Reply(503, headers={"Retry-After": "60"}), 1),
        (Reply(429, headers={"Retry-After": "Thu, 26 Nov 2099 10:00:00 GMT"}), 1),
        (Reply(501), 1),
        (Reply(505), 1),
        (Reply(400), 1),
        (Reply(403), 1),
        (Reply(409), 1),
    ],
)
def test_a_request_is_repeated_once_where_that_may_help(first: Reply, requests: int) -> None:
    with service(first, Reply(201, PUT)) as azure:
        queue = Queue(azure.connection_string, "queue")
        if requests == 2:
            assert queue.send("x").pop_receipt == "r"
        else:
            with pytest.raises(QueueUnavailable):
                queue.send("x")
        assert len(azure.seen) == requests
        azure.seen.clear()
        azure.replies = [first]
        with pytest.raises(QueueUnavailable):
            queue.send("x")
        assert len(azure.seen) == requests
        azure.seen.clear()
        # Odoo's relay repeats nothing: its next run does.
        with pytest.raises(QueueUnavailable):
            Queue(azure.connection_string, "queue", retries=0).send("x")
        assert len(azure.seen) == 1


@pytest.mark.parametrize("reply", [Reply(0), Reply(500), Reply(503), Reply(408), Reply(200, PAGE, length=999)])
def test_a_page_that_may_be_under_a_lease_is_not_asked_for_again(reply: Reply) -> None:
    with service(reply, Reply(200, PAGE)) as azure:
        queue = Queue(azure.connection_string, "queue")
        with pytest.raises(QueueUnavailable):
            queue.receive(32, 60)
        assert len(azure.seen) == 1
        # To peek takes nothing.
        azure.replies = [reply, Reply(200, PAGE)]
        assert queue.peek(32) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Please log in",
        b"<QueueMessagesList><QueueMessage><MessageText>\x01</MessageText></QueueMessage></QueueMessagesList>",
        b"<QueueMessagesList><QueueMessage></QueueMessage></QueueMessagesList>",
        b'<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><QueueMessagesList>&c;</QueueMessagesList>',
        PUT.replace(b"Nov 2026", b"Never"),
    ],
)
def test_an_answer_that_cannot_be_read_may_have_taken_messages(body: bytes) -> None:
    with service(Reply(200, body)) as azure:
        queue = Queue(azure.connection_string, "queue")
        with pytest.raises(PageUndelivered):
            queue.receive(32, 60)
        assert len(azure.seen) == 1
        with pytest.raises(QueueUnavailable):
            queue.send("x")


def test_a_word_of_the_service_is_found_in_the_body_too() -> None:
    reply = Reply(404, b"<Error><Code>QueueNotFound</Code></Error>")
    with service(reply) as azure, pytest.raises(QueueMissing, match="QueueNotFound"):
        Queue(azure.connection_string, "queue").send("x")


@pytest.mark.parametrize(
    ("minutes", "words"), [(40, "clock is wrong by 40 minutes"), (-40, "clock"), (5, "key or SAS")]
)
def test_a_refusal_names_the_clock_if_that_is_wrong(minutes: int, words: str) -> None:
    reply = Reply(403, headers={"Date": formatdate(time.time() + minutes * 60, usegmt=True)})
    with service(reply) as azure, pytest.raises(QueueDenied, match=words):
        Queue(azure.connection_string, "queue").depth()


def test_a_connection_that_the_service_has_closed_costs_no_request() -> None:
    with service(Reply(200, PAGE, {"Connection": "close"})) as azure:
        queue = Queue(azure.connection_string, "queue", retries=0)
        for _ in range(3):
            assert queue.receive(32, 60) == []
        azure.replies = [Reply(200, PAGE)]
        for _ in range(3):
            assert queue.receive(32, 60) == []
        assert azure.connections == 4, "one stays open"
        queue.close()
        assert queue.receive(32, 60) == [], "after a close it opens another"


def test_a_forked_process_has_connections_of_its_own() -> None:
    with service(Reply(200, PAGE)) as azure:
        queue = Queue(azure.connection_string, "queue", retries=0)
        queue.receive(32, 60)
        child = os.fork()
        if not child:
            os._exit(len(queue.receive(32, 60)))
        assert os.waitpid(child, 0)[1] == 0
        queue.receive(32, 60)
        assert [seen.connection for seen in azure.seen] == [1, 2, 1]


def test_threads_share_a_queue_and_each_message_is_settled_once(queues: dict[str, Queue]) -> None:
    queue = queues[CONTACT_QUEUE]
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(queue.send, (str(number) for number in range(120))))
        pages = list(pool.map(lambda _: queue.receive(32, 60), range(12)))
        messages = [message for page in pages for message in page]
        assert sorted(int(message.content) for message in messages) == list(range(120))
        assert all(pool.map(lambda message: queue.hide(message, 60), messages))
        assert all(pool.map(queue.delete, messages))
    assert queue.depth() == 0


def test_no_secret_is_logged_or_shown(
    queues: dict[str, Queue], azurite: Azurite, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "urllib3")  # another test may have configured the log of a whole process
    by_sas, by_key = Queue(sas(azurite, "raup"), CONTACT_QUEUE), queues[CONTACT_QUEUE]
    for queue in (by_sas, by_key):
        queue.send("eA==")
        for message in queue.receive(32, 60):
            queue.delete(message)
        assert "connectionpool" in caplog.text or queue is by_sas
        for part in (queue, queue._sender, queue._sender.login):
            assert azurite.keys[0] not in repr(part)
            assert "sig=" not in repr(part)
        assert "sig=" not in queue.url
    assert "sig=" not in caplog.text
    assert azurite.keys[0] not in caplog.text
    by_sas.close()


@pytest.fixture
def no_proxy_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.usefixtures("no_proxy_set")
def test_a_proxy_of_the_environment_is_used_and_logged_in_to(monkeypatch: pytest.MonkeyPatch) -> None:
    with service(Reply(200, PAGE)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://user:p%40ss@{proxy.address}")
        written = f"AccountName=acct;AccountKey={KEY};QueueEndpoint=http://queues.invalid:81/acct"
        queue = Queue(written, "queue")
        assert queue.receive(1, 60) == []
        [seen] = proxy.seen
        assert seen.path.startswith("http://queues.invalid:81/acct/queue/messages?")
        assert seen.headers["Proxy-Authorization"] == "Basic dXNlcjpwQHNz"
        assert seen.headers["Host"] == "queues.invalid:81"
        queue.close()
        assert queue.receive(1, 60) == []
        monkeypatch.setenv("NO_PROXY", ".invalid")
        with pytest.raises(QueueUnavailable, match="no host"):
            Queue(written, "queue").receive(1, 60)
        assert len(proxy.seen) == 2


class Secure(NamedTuple):
    certificate: Certificate
    azurite: Azurite


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    """An Azurite with TLS, whose certificate is for this machine's address only."""
    certificate = Certificate(tmp_path_factory.mktemp("certificate"))
    azurite = Azurite(find_azurite(), tmp_path_factory.mktemp("secure-azurite"), certificate)
    yield Secure(certificate, azurite)
    azurite.stop()


@pytest.mark.usefixtures("no_proxy_set")
def test_a_certificate_must_be_trusted_and_of_this_host(secure: Secure, monkeypatch: pytest.MonkeyPatch) -> None:
    written = secure.azurite.connection_string
    with pytest.raises(QueueUnavailable, match="no answer"):
        Queue(written, "queue").ensure()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(secure.certificate.certificate))
    queue = Queue(written, "queue")
    queue.ensure()
    assert queue.receive(1, 60) == []
    with pytest.raises(QueueUnavailable, match="no answer"):
        Queue(written.replace("127.0.0.1", "127.1"), "queue").ensure()  # the same host by another name
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with pytest.raises(QueueUnavailable):
        Queue(written, "queue").ensure()


@pytest.mark.usefixtures("no_proxy_set")
def test_a_proxy_sees_nothing_of_a_secure_request(secure: Secure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(secure.certificate.certificate))
    with service(Reply(500)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.address}")
        queue = Queue(secure.azurite.connection_string, "queue")
        queue.ensure()
        assert queue.receive(1, 60) == []
        assert [(seen.method, seen.path) for seen in proxy.seen] == [("CONNECT", f"127.0.0.1:{secure.azurite.port}")]
        queue.close()


class _Given(NamedTuple):
    token: str
    expires_on: float


class _Credential:
    """In place of azure-identity: each token is another one, unless ``is_same``."""

    def __init__(self, seconds: float, *, is_same: bool = False):
        self.asked: list[Any] = []
        self._seconds, self._is_same = seconds, is_same

    def get_token_info(self, *scopes: str, options: Any = None) -> _Given:
        self.asked.append((scopes, options or {}))
        return _Given("t" if self._is_same else f"t{len(self.asked)}", time.time() + self._seconds)


def _sender(address: str, credential: _Credential) -> Sender:
    login = Token(Identity(credential))
    return Sender(f"http://{address}/acct/queue", login, connect_seconds=3, read_seconds=5, retries=1)


def test_a_token_is_asked_for_once_and_again_when_it_ends() -> None:
    with service(Reply(200)) as azure:
        for seconds, asked in ((3600, 1), (200, 3)):
            credential = _Credential(seconds)
            sender = _sender(azure.address, credential)
            for _ in range(3):
                sender.send("GET")
            assert credential.asked == [(("https://storage.azure.com/.default",), {})] * asked
        assert azure.seen[0].headers["Authorization"] == "Bearer t1"


def test_a_token_that_is_refused_is_renewed_once_in_the_tenant_that_the_service_names() -> None:
    challenge = {"WWW-Authenticate": "Bearer authorization_uri=https://login.example/a-tenant/oauth2/authorize x=y"}
    with service(Reply(401, headers=challenge), Reply(200)) as azure:
        credential = _Credential(3600)
        _sender(azure.address, credential).send("GET")
        assert [options for _scopes, options in credential.asked] == [{}, {"tenant_id": "a-tenant"}]
        assert [seen.headers["Authorization"] for seen in azure.seen] == ["Bearer t1", "Bearer t2"]
    for is_same, requests in ((False, 2), (True, 1)):
        with service(Reply(401)) as azure:
            with pytest.raises(Refused):
                _sender(azure.address, _Credential(3600, is_same=is_same)).send("GET")
            assert len(azure.seen) == requests


def test_a_refused_key_is_replaced_by_what_the_settings_have_now_for_all_threads() -> None:
    reads: list[int] = []
    with service(Reply(403)) as refusing, service(Reply(200, PAGE)) as azure:

        def reread() -> str:
            reads.append(1)
            return azure.connection_string

        queue = Queue(refusing.connection_string, "queue", reread=reread)
        start = threading.Barrier(6)

        def receive(_: int) -> list[Message]:
            start.wait()
            return queue.receive(1, 60)

        with ThreadPoolExecutor(6) as pool:
            assert list(pool.map(receive, range(6))) == [[]] * 6
        assert len(reads) == 1
        refused = Queue(refusing.connection_string, "queue", reread=lambda: refusing.connection_string)
        with pytest.raises(QueueDenied):
            refused.receive(1, 60)

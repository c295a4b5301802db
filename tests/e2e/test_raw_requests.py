"""The same bytes get the same answer of Odoo's webhook, of the bridge's standby, and through the proxy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.front import proxy
from tests.raw_requests import CASES, KEY, Answer, Raw, ask, raw
from tests.world import World

_WRONG_KEY = {"unauthorized", "too_many_wrong_keys"}


@pytest.fixture(scope="module")
def front(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from proxy(tmp_path_factory.mktemp("nginx"), world.stack.odoo_url, world.stack.api_url)


@pytest.fixture(scope="module")
def standby(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The proxy with the standby in Odoo's place: it passes the request on to the API."""
    yield from proxy(tmp_path_factory.mktemp("nginx-standby"), world.stack.api_url, world.stack.api_url)


def check(case: Raw, answer: Answer) -> None:
    told = answer.body.get("code") or answer.body["status"]
    if {case.answer, told} <= _WRONG_KEY:  # other tests may have tried too many wrong keys from here just now
        assert answer.status in (401, 429)
        return
    assert (answer.status, told) == (case.status, case.answer), answer.body
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"


def filled(world: World, case: Raw) -> bytes:
    return case.content.replace(KEY, world.stack.webhook_key.encode())


def kept(world: World) -> int:
    return world.odoo("manychat.event", "search_count", [["manychat_id", "=", "MC-RAW"]])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_both_servers_answer_alike(world: World, case: Raw) -> None:
    odoo, api = (ask(address, filled(world, case)) for address in (world.stack.odoo_url, world.stack.api_url))
    check(case, odoo)
    check(case, api)
    if case.status != 401:
        assert odoo.body == api.body
        assert odoo.headers.get("allow") == api.headers.get("allow")


@pytest.mark.parametrize("case", [case for case in CASES if case.proxied], ids=str)
def test_the_proxy_passes_it_on_to_either(world: World, front: str, standby: str, case: Raw) -> None:
    for address in (front, standby):
        check(case, ask(address, filled(world, case), hangs_up=False))


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST"])
@pytest.mark.parametrize("path", ["/health", "/health/", "/health?self=1", "/health?mck_a=1"])
def test_monitors_get_the_same_answer_of_both(world: World, method: bytes, path: str) -> None:
    for version, host in ((b"HTTP/1.1", b"Host: a"), (b"HTTP/1.0", None)):
        content = raw(method=method, path=path, body=b"", key=None, version=version, host=host)
        odoo, api = (ask(address, content) for address in (world.stack.odoo_url, world.stack.api_url))
        assert odoo.status == api.status == (405 if method == b"POST" else 200)
        assert odoo.headers["content-type"] == api.headers["content-type"]
        assert odoo.body == api.body


def test_a_body_that_was_cut_off_leaves_nothing(world: World) -> None:
    before = kept(world)
    cut = [case for case in CASES if "cut off" in case.name]
    assert len(cut) > 2
    for case in cut:
        for address in (world.stack.odoo_url, world.stack.api_url):
            ask(address, filled(world, case))
    assert kept(world) == before

"""What a heartbeat says about the way to ManyChat, to an Odoo that asks and to one that does not."""

from typing import Any

import pytest

from bridge.circuit_breaker import CircuitBreaker
from bridge.errors import ManyChatMisconfigured, ManyChatStopped, ManyChatUnavailable, Outage
from bridge.progress import Watch
from bridge.worker.heartbeat import send_heartbeat
from bridge.worker.write_back.readiness import WriteBackReport

from .odoo_stand_in import OdooStandIn
from .test_odoo import connect

ASKS = {"settings": {"write_back": {"enabled": False}}}


def said(odoo: OdooStandIn, report: WriteBackReport, beats: int = 1) -> list[Any]:
    """What the next heartbeats say."""
    for _ in range(beats):
        send_heartbeat(connect(odoo.url), Watch(), lambda _answer: None, report)
    return [beat.get("write_back") for beat in odoo.heartbeats[-beats:]]


def test_an_odoo_that_asks_hears_of_a_bridge_without_a_token_from_its_second_heartbeat_on(odoo: OdooStandIn) -> None:
    odoo.told = ASKS
    assert said(odoo, WriteBackReport(None), 3) == [None, "no_token", "no_token"]


def test_an_older_addon_which_does_not_know_the_argument_never_gets_it(odoo: OdooStandIn) -> None:
    report = WriteBackReport(None)
    assert said(odoo, report, 2) == [None, None]
    odoo.told = ASKS
    said(odoo, report)
    odoo.told = {}
    assert said(odoo, report, 2) == ["no_token", None], "the addon may have been replaced by its older release"


@pytest.mark.parametrize(
    ("outage", "state"),
    [
        (ManyChatMisconfigured("it does not accept the token"), "wrong_token"),
        (ManyChatStopped("it takes no more calls for now", None), "stopped"),
        (ManyChatUnavailable("it answers HTTP 502"), "unreachable"),
    ],
)
def test_an_outage_of_manychat_is_named_until_it_is_over(odoo: OdooStandIn, outage: Outage, state: str) -> None:
    breaker = CircuitBreaker("ManyChat", lambda: None)
    odoo.told = ASKS
    report = WriteBackReport(breaker)
    assert said(odoo, report, 2) == [None, "ready"]
    breaker.trip(outage)
    assert said(odoo, report) == [state]
    breaker.require_closed()
    assert said(odoo, report) == ["ready"]

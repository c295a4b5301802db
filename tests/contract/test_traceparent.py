"""Which trace an event belongs to: the rules of W3C's Trace Context, and what an event makes of them."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest

from bridge.contract import traceparent
from bridge.contract.event import Event, accept, decode, from_envelope
from bridge.contract.payloads import CONTACT_QUEUE, EventType
from bridge.contract.request_headers import RequestHeaders

NOW = datetime(2026, 3, 2, 12, tzinfo=timezone.utc)
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{SPAN}-01"


def make(trace: str = "", received_at: datetime = NOW) -> Event:
    payload = {"manychat_id": "MC1", "datetime_actual": "2026-03-02T11:00:00Z"}
    return accept(EventType.CONTACT, payload, received_at=received_at, source="odoo", trace=trace)


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (VALID, VALID),
        (f" \t{VALID}\t ", VALID),
        (f"00-{TRACE}-{SPAN}-00", f"00-{TRACE}-{SPAN}-00"),
        # Flags that are not defined are set to zero.
        (f"00-{TRACE}-{SPAN}-ff", VALID),
        (f"00-{TRACE}-{SPAN}-0a", f"00-{TRACE}-{SPAN}-00"),
        # Of a later version what this one knows is used.
        (f"cc-{TRACE}-{SPAN}-01", VALID),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", VALID),
        (f"01-{TRACE}-{SPAN}-01-", VALID),
    ],
)
def test_a_valid_traceparent_is_read_as_one_of_version_00(sent: str, read: str) -> None:
    assert traceparent.parse(sent) == read


@pytest.mark.parametrize(
    "sent",
    [
        "",
        None,
        7,
        {"trace": TRACE},
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"cc-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN.upper()}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01.",
        f"cc-{TRACE}-{SPAN}-01.more",
        f"cc-{TRACE}-{SPAN}-011",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-0x",
        f"0-{TRACE}-{SPAN}-01",
        f"000-{TRACE}-{SPAN}-01",
        f".0-{TRACE}-{SPAN}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}0-{SPAN}-01",
        f"00-{TRACE}-{SPAN[1:]}-01",
        f"00-{TRACE}-{SPAN}0-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00_{TRACE}_{SPAN}_01",
        # Arabic digits are digits to Python.
        f"0٠-{TRACE}-{SPAN}-01",
        f"{VALID},{VALID}",
        f"{VALID},00-{SPAN}{SPAN}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01-a,{VALID}",
    ],
)
def test_what_is_no_traceparent_counts_as_missing(sent: object) -> None:
    assert traceparent.parse(sent) == ""


def test_the_trace_of_a_sender_is_kept_and_is_no_part_of_the_identity() -> None:
    named, own = make(VALID), make()
    assert named.id == own.id
    assert (named.traceparent, named.trace_id) == (VALID, TRACE)
    assert from_envelope(named.envelope()) == named
    assert decode(named.encode(), queue=CONTACT_QUEUE, inserted_at=NOW).traceparent == VALID


def test_without_one_the_trace_follows_from_the_event() -> None:
    event = make()
    assert traceparent.parse(event.traceparent) == event.traceparent
    assert event.trace_id == event.id[:32]
    assert event.envelope()["traceparent"] == event.traceparent


@pytest.mark.parametrize("damaged", [None, "", 5, [VALID], f"ff-{TRACE}-{SPAN}-01", "x" * 70_000])
def test_a_damaged_field_of_an_envelope_refuses_no_event(damaged: object) -> None:
    event = make(VALID)
    read = from_envelope({**event.envelope(), "traceparent": damaged})
    assert (read.id, read.payload, read.trace_id) == (event.id, event.payload, event.id[:32])


def test_an_envelope_of_an_earlier_release_is_valid() -> None:
    event = make()
    earlier = {name: value for name, value in event.envelope().items() if name != "traceparent"}
    assert from_envelope(earlier) == event


def test_a_bare_message_has_the_same_trace_each_time_it_is_delivered() -> None:
    body = json.dumps({"manychat_id": "MC1", "nombre_lead": "Ana"})
    traces = {decode(body, queue=CONTACT_QUEUE, inserted_at=NOW).traceparent for _ in range(3)}
    assert len(traces) == 1


def headers(**sent: str) -> RequestHeaders:
    named = {name.replace("_", "-").lower(): value for name, value in sent.items()}
    return RequestHeaders(lambda name: named.get(name.lower()))


@pytest.mark.parametrize(
    "sane", ["req-1", "0af7651916cd43dd8448eb211c80319c", "3f2504e0-4f89-11d3-9a0c-0305e82c3301", "a|b.c_d.", "x" * 128]
)
def test_a_sane_request_id_comes_back(sane: str) -> None:
    assert headers(X_Request_Id=sane).request_id == sane


@pytest.mark.parametrize(
    "odd", ["", " ", "x" * 129, "a b", "a\r\nb", "ñandú", "a,b", "mck_abcdefgh-secret", "<x>", '"']
)
def test_an_odd_request_id_does_not_come_back(odd: str) -> None:
    assert headers(X_Request_Id=odd).request_id == ""


def test_a_request_without_a_trace_gets_a_new_one() -> None:
    assert headers(traceparent=VALID).trace_id() == TRACE
    made = [headers(traceparent=sent).trace_id() for sent in ("", "nonsense", f"{VALID},{VALID}")]
    assert len(set(made)) == 3
    assert all(traceparent.parse(f"00-{each}-{SPAN}-01") for each in made)

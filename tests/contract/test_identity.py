"""What makes an event this one event: its date, else the Idempotency-Key, else the proxy's stamp, else its receipt."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from bridge.contract.event import MAX_CLOCK_SKEW, Event, accept, decode
from bridge.contract.payloads import EventType
from bridge.contract.request_headers import MAX_STAMP_AGE, MAX_STAMP_AHEAD, RequestHeaders
from bridge.contract.webhook import read_event

NOW = datetime(2026, 3, 2, 12, tzinfo=timezone.utc)
FOREVER = "2099-01-01T00:00:00Z"
#: How each type carries its own date.
DATED = {
    EventType.CONTACT: lambda date: {"nombre_lead": "Ana", "datetime_actual": date},
    EventType.CAMPAIGN_ASSIGNMENT: lambda date: {"campaign_id": 85, "datetime_actual": date},
    EventType.OPPORTUNITY: lambda date: {"state": {"stage_id": 17, "date": date}},
}
ONE, OTHER = "0" * 32, "f" * 32


def stamp(request_id: str = ONE, at: datetime = NOW) -> str:
    """As nginx writes it."""
    return f"{at.timestamp():.3f} {request_id}"


def receive(
    payload: dict[str, Any], seconds: float = 0, event_type: EventType = EventType.OPPORTUNITY, **headers: str
) -> Event:
    """The event that a server makes of a request that reaches it ``seconds`` after noon."""
    named = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    return read_event(
        event_type,
        json.dumps({"manychat_id": "MC1", **payload}).encode(),
        RequestHeaders(lambda name: named.get(name.lower())),
        received_at=NOW + timedelta(seconds=seconds),
        source="odoo",
    )


def opportunity(date: str = "", stage: int = 17) -> dict[str, Any]:
    return {"state": {"stage_id": stage, "date": date}}


@pytest.mark.parametrize(
    ("event_type", "ids"),
    [
        (EventType.CONTACT, ("6d8faac28e4935cf", "33de25b90a2b3c5e")),
        (EventType.CAMPAIGN_ASSIGNMENT, ("4fc2ac4422948990", "cf85224f05eae0f9")),
        (EventType.OPPORTUNITY, ("2c89f69c6efd060e", "430c57cd3949305a")),
    ],
    ids=str,
)
def test_dated_events_have_the_ids_of_earlier_releases(event_type: EventType, ids: tuple[str, str]) -> None:
    payload = DATED[event_type]("2026-03-02T11:00:00Z")
    sent = (receive(payload, 1, event_type), receive(payload, 2, event_type, Idempotency_Key="k"))
    assert tuple(event.id[:16] for event in sent) == ids


@pytest.mark.parametrize("event_type", DATED, ids=str)
def test_a_believed_date_makes_the_identity_whenever_and_however_the_event_comes(event_type: EventType) -> None:
    payload = DATED[event_type]("2026-03-02T11:00:00Z")
    sent = [
        receive(payload, event_type=event_type),
        receive(payload, 3600, event_type=event_type),
        receive(payload, 2, event_type=event_type, X_Request_Stamp=stamp()),
        receive(payload, 2, event_type=event_type, X_Request_Stamp=stamp(OTHER)),
    ]
    assert len({event.id for event in sent}) == 1
    assert {event.occurred_at for event in sent} == {NOW - timedelta(hours=1)}


@pytest.mark.parametrize(
    "date", [FOREVER, "9999-12-31T23:59:59Z", (NOW + MAX_CLOCK_SKEW + timedelta(hours=1)).isoformat()]
)
@pytest.mark.parametrize("event_type", DATED, ids=str)
def test_a_constant_date_of_a_wrong_clock_swallows_no_event(event_type: EventType, date: str) -> None:
    first, again = (receive(DATED[event_type](date), second, event_type) for second in (0, 60))
    assert first.id != again.id
    assert [first.occurred_at, again.occurred_at] == [NOW, NOW + timedelta(seconds=60)]


def test_stages_17_19_17_under_one_wrong_date_end_in_17() -> None:
    events = [receive(opportunity(FOREVER, stage), second) for second, stage in enumerate((17, 19, 17))]
    assert len({event.id for event in events}) == 3
    assert max(events, key=lambda event: event.order) is events[2]


@pytest.mark.parametrize("date", ["", FOREVER])
def test_an_undated_event_with_an_idempotency_key_is_one_event_however_often_it_comes(date: str) -> None:
    sent = [
        receive(opportunity(date), second, Idempotency_Key="k", **stamped)
        for second, stamped in enumerate([{}, {}, {"X_Request_Stamp": stamp()}, {"X_Request_Stamp": stamp(OTHER)}])
    ]
    assert len({event.id for event in sent}) == 1
    others = [receive(opportunity(date, 19), Idempotency_Key="k"), receive(opportunity(date), Idempotency_Key="l")]
    assert len({event.id for event in [sent[0], *others]}) == 3


@pytest.mark.parametrize(
    "key",
    ["{{cuf_123}}", " {{order_id}} ", "order-{{order_id}}", "null", "undefined", "None", "N/A", "0", "--", "\u200b"],
)
def test_an_idempotency_key_that_the_bot_could_not_fill_swallows_no_event(key: str) -> None:
    assert len({receive(opportunity(), second, Idempotency_Key=key).id for second in (0, 1)}) == 2


@pytest.mark.parametrize("date", ["", FOREVER])
def test_one_stamp_is_one_event_at_the_stamps_time_whichever_server_takes_it_and_whenever(date: str) -> None:
    sent = [receive(opportunity(date), seconds, X_Request_Stamp=stamp()) for seconds in (0.1, 5, 3600, 86_000)]
    assert len({event.id for event in sent}) == 1
    assert {event.order for event in sent} == {(NOW, NOW, sent[0].id)}
    assert receive(opportunity(date), 5, X_Request_Stamp=stamp(OTHER)).id != sent[0].id


def test_what_the_standby_took_while_odoo_was_frozen_is_newer_than_what_odoo_takes_when_it_wakes() -> None:
    nineteen = [receive(opportunity(stage=19), seconds, X_Request_Stamp=stamp(ONE)) for seconds in (4, 600)]
    later = stamp(OTHER, NOW + timedelta(seconds=6))
    twenty_five = receive(opportunity(stage=25), 6.1, X_Request_Stamp=later)
    assert max([nineteen[0], twenty_five, nineteen[1]], key=lambda event: event.order) is twenty_five


@pytest.mark.parametrize(
    "text",
    [
        "",
        "k",
        ONE,
        f"{NOW.timestamp():.3f}",
        f"{NOW.timestamp():.0f} {ONE}",
        f"{NOW.timestamp():.3f} {ONE}0",
        f"{NOW.timestamp():.3f}\t{ONE}",
        f"99999999999.999 {ONE}",
        f"-{NOW.timestamp():.3f} {ONE}",
        f"nan {ONE}",
        f"{stamp()},{stamp(OTHER)}",
        stamp(at=NOW - MAX_STAMP_AGE - timedelta(seconds=1)),
        stamp(at=NOW + MAX_STAMP_AHEAD + timedelta(seconds=1)),
        "1" * 100_000,
    ],
    ids=lambda text: text[:40],
)
def test_a_stamp_that_cannot_be_believed_is_as_if_there_was_none(text: str) -> None:
    first, again = (receive(opportunity(), second, X_Request_Stamp=text) for second in (0, 1))
    assert first.id != again.id
    assert first.id == receive(opportunity()).id
    assert first.occurred_at == NOW


def test_a_stamp_is_believed_within_its_bounds() -> None:
    for at in (NOW - MAX_STAMP_AGE, NOW, NOW + MAX_STAMP_AHEAD):
        assert receive(opportunity(), X_Request_Stamp=stamp(at=at)).occurred_at == at


def test_whether_a_date_is_believed_does_not_change_while_odoo_sleeps() -> None:
    """Its receipt is the stamp's time: the date is as far ahead of it at either server."""
    date = (NOW + MAX_CLOCK_SKEW + timedelta(minutes=1)).isoformat()
    ids = {receive(opportunity(date), seconds, X_Request_Stamp=stamp()).id for seconds in (1, 600)}
    assert len(ids) == 1


def test_a_bare_payload_that_a_queue_delivers_again_is_one_event() -> None:
    content = json.dumps({"manychat_id": "MC1", **opportunity(FOREVER)})
    queue = EventType.OPPORTUNITY.queue
    assert len({decode(content, queue=queue, inserted_at=NOW).id for _ in range(2)}) == 1
    assert decode(content, queue=queue, inserted_at=NOW + timedelta(seconds=1)).occurred_at > NOW


@pytest.mark.parametrize("headers", [{"Idempotency_Key": "k"}, {"X_Request_Stamp": stamp()}, {}], ids=str)
def test_what_is_read_from_the_queue_is_what_was_accepted(headers: dict[str, str]) -> None:
    event = receive(opportunity(FOREVER), 7, **headers)
    assert decode(event.encode(), queue=event.type.queue, inserted_at=NOW) == event


def test_a_key_given_twice_is_one_key_and_two_different_ones_are_another() -> None:
    def one(text: str) -> str:
        return accept(
            EventType.OPPORTUNITY,
            {"manychat_id": "MC1", **opportunity()},
            received_at=NOW,
            source="odoo",
            idempotency_key=RequestHeaders(lambda _name: text).idempotency_key,
        ).id

    assert one("k") == one("k ") == one("k,k") == one(" k , k") != one("k,l")

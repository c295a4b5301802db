"""What waits for ManyChat, on any database: newest wins, one bridge at a time, flows once, echoes once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa

from bridge.contract.opportunity_state import Actor, read_state
from bridge.store import (
    audit,
    database_clock,
    manychat_echoes,
    manychat_flows,
    manychat_wishes,
    manychat_writes,
    schema,
)
from bridge.store.manychat_wishes import Wish
from bridge.store.manychat_writes import Claim, Idle

from .conftest import NOON as NOON_OF_EVENTS
from .conftest import Store, opportunity, state

#: After write-back was switched on by :func:`switched_on`.
NOW = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(minutes=5)


def wish(minute: float = 0, *, moved: bool = False, **fields: Any) -> Wish:
    as_of = (NOW + timedelta(minutes=minute)).isoformat()
    found = read_state({**state(0), "as_of": as_of, "manychat_stage": "A", "manychat_stage_id": 17, **fields})
    assert found
    return Wish("MC1", found, Actor.PERSON, f"e{minute}", moved=moved)


@pytest.fixture
def on(store: Store) -> Store:
    store.run(manychat_writes.take_over, {"write_back": {"enabled": True}})
    return store


def claim(store: Store, minute: float = 0, lease: str = "a") -> Claim:
    found = store.run(manychat_writes.claim, "MC1", NOW + timedelta(minutes=minute), lease)
    assert isinstance(found, Claim)
    return found


def test_bridges_that_note_wishes_at_once_keep_the_newest(on: Store) -> None:
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda minute: on.run(manychat_wishes.want, [wish(minute, stage_id=1 + minute % 3)]), range(12)))
    [row] = on.rows("manychat_writes")
    assert row.wanted_as_of == NOW + timedelta(minutes=11)


def test_of_bridges_that_claim_at_once_one_gets_the_person(on: Store) -> None:
    on.run(manychat_wishes.want, [wish()])
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda n: on.run(manychat_writes.claim, "MC1", NOW, f"lease{n}"), range(6)))
    assert [isinstance(each, Claim) for each in found].count(True) == 1
    assert found.count(Idle.BUSY) == 5


def test_a_claim_of_a_bridge_that_was_killed_ends_and_what_it_began_is_unknown(on: Store) -> None:
    on.run(manychat_wishes.want, [wish()])
    assert on.run(manychat_writes.begin, claim(on), {"field:1": None, "tag:2": None})
    assert on.run(manychat_writes.claim, "MC1", NOW, "b") is Idle.BUSY
    with on.engine.begin() as connection:
        connection.execute(schema.manychat_writes.update().values(leased_until=NOW - timedelta(days=1)))
    assert claim(on, lease="b").sent == {"field:1": None, "tag:2": None}
    assert not on.run(manychat_writes.begin, claim_of("a"), {})


def claim_of(lease: str) -> Claim:
    return Claim("MC1", lease, {}, NOW, Actor.PERSON.value, "e", {}, False, 0, None, None, "")


def test_a_flow_that_is_wanted_during_a_call_is_not_lost(on: Store) -> None:
    on.run(manychat_wishes.want, [wish(1)])
    mine = claim(on, 1)
    on.run(manychat_wishes.want, [wish(0, moved=True)])
    on.run(manychat_writes.finish, mine, {}, None)
    assert claim(on, 1, "b").flow_event_id == "e0"


def test_a_newer_state_that_comes_during_a_call_is_written_after_it(on: Store) -> None:
    on.run(manychat_wishes.want, [wish(0)])
    mine = claim(on)
    on.run(manychat_wishes.want, [wish(1, manychat_stage="B")])
    on.run(manychat_writes.finish, mine, {"field:1": "A"}, None)
    assert on.run(manychat_writes.claim, "MC1", NOW, "b") is Idle.OVERTAKEN
    assert claim(on, 1, "c").state["stage"] == "B"


def test_of_bridges_that_note_a_flow_at_once_one_may_start_it(on: Store) -> None:
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: on.run(manychat_flows.note, "e", "MC1", "flow"), range(6)))
    assert sorted(found, key=str) == sorted([None, *[manychat_flows.UNKNOWN] * 5], key=str)


def test_the_hundred_and_first_flow_of_an_hour_is_not_started_and_one_of_the_next_hour_is(on: Store) -> None:
    for number in range(100):
        assert on.run(manychat_flows.note, f"x{number}", "MC1", "flow") is None
    assert on.run(manychat_flows.note, "one more", "MC1", "flow") == "too_many_flows"
    assert on.run(manychat_flows.note, "another's", "MC2", "flow") is None
    with on.engine.begin() as connection:
        earlier = datetime.now(timezone.utc) - timedelta(minutes=61)
        connection.execute(schema.manychat_flows.update().values(started_at=earlier))
    assert on.run(manychat_flows.note, "one more", "MC1", "flow") is None


def test_bridges_that_recognise_an_echo_at_once_agree(on: Store) -> None:
    on.run(manychat_wishes.want, [wish()])
    mine = claim(on)
    on.run(manychat_echoes.expect, "MC1", mine.state, mine.as_of)
    [row] = on.rows("manychat_echoes")
    event = opportunity((row.written_at - NOON_OF_EVENTS).total_seconds() / 60, state={"stage_id": 17})
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: on.run(manychat_echoes.recognise, [event])[0].echo_of, range(6)))
    assert set(found) == {mine.as_of}
    assert on.run(manychat_echoes.recognise, [event])[0].echo_of == mine.as_of


def test_an_event_that_was_here_before_the_write_is_no_echo_of_it_whenever_it_is_tried(on: Store) -> None:
    """Marked at its second attempt, it would be older in Odoo than in SQL, which has had it since its first."""
    on.run(manychat_wishes.want, [wish()])
    mine = claim(on)
    now = on.run(database_clock.now)
    minute = (now - NOON_OF_EVENTS).total_seconds() / 60
    before, after = (opportunity(minute, state={"stage_id": 17, "summary": text}) for text in ("Uno", "Dos"))
    on.run(audit.accept, before)
    on.run(manychat_echoes.expect, "MC1", mine.state, mine.as_of)
    on.run(audit.accept, after)
    marked = on.run(manychat_echoes.recognise, [before, after])
    assert [(each.echo_of, each.may_echo) for each in marked] == [(None, False), (mine.as_of, False)]


def test_switched_off_and_on_what_waited_is_settled(on: Store) -> None:
    on.run(manychat_wishes.want, [wish(moved=True)])
    on.run(manychat_writes.take_over, {"write_back": {"enabled": False}})
    assert on.run(manychat_writes.summary) == manychat_writes.Summary(enabled=False)
    on.run(manychat_writes.take_over, {"write_back": {"enabled": True}})
    assert on.run(manychat_writes.claim, "MC1", NOW, "a") is Idle.SENT
    assert on.run(manychat_writes.unqueued, 10) == []
    with on.engine.connect() as connection:
        assert connection.scalar(sa.select(schema.manychat_writes.c.flow_event_id)) is None

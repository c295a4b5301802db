"""How often the standby API refused requests: rows that stay few, and are reported to Odoo without a gap."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from bridge.store import api_keys, standby_refusals
from bridge.store.standby_refusals import Refusal, Tally

from .conftest import NOON, Store

DAY = timedelta(days=1)
PATH = "/api/v1/manychat/webhook/contact"


def counted(
    number: int, *, code: str = "wrong_key", key_id: int | None = None, began: datetime = NOON, requests: int = 1
) -> dict[Refusal, Tally]:
    """``number`` counts, a second after each other: of one key with as many paths, or of as many addresses."""
    counts = {}
    for second in range(number):
        now = began + timedelta(seconds=second)
        address = "" if key_id else f"192.0.2.{second}"
        path = f"{PATH}/{second}" if key_id else PATH
        counts[Refusal(now.date(), path, code, key_id, address)] = Tally(requests, now, now)
    return counts


def add(store: Store, counts: dict[Refusal, Tally]) -> None:
    store.run(standby_refusals.add, counts)


def test_requests_of_one_kind_and_day_are_one_row(store: Store) -> None:
    add(store, counted(2))
    add(store, counted(1, requests=4, began=NOON + timedelta(hours=1)))
    add(store, counted(1, began=NOON + DAY))
    rows = store.rows("standby_refusals")
    assert [(row.address, row.requests) for row in rows] == [("192.0.2.0", 5), ("192.0.2.1", 1), ("192.0.2.0", 1)]
    assert (rows[0].first_at, rows[0].last_at) == (NOON, NOON + timedelta(hours=1))
    assert (rows[0].path, rows[0].code, rows[0].key_name, rows[0].key_prefix) == (PATH, "wrong_key", "", "")


def test_a_row_names_the_key_that_was_valid(store: Store) -> None:
    store.run(api_keys.add, name="Bot de ventas", prefix="mck_abcdefgh", digest="d", scope="webhook")
    [key] = store.run(api_keys.all_keys)
    add(store, counted(1, key_id=key.id, code="not_json") | counted(1, key_id=key.id + 1, code="not_json"))
    rows = {(row.key_name, row.key_prefix, row.address, row.code) for row in store.rows("standby_refusals")}
    assert rows == {("Bot de ventas", "mck_abcdefgh", "", "not_json"), ("", "", "", "not_json")}


def test_attackers_make_no_more_rows_than_a_day_may_have_and_none_of_their_requests_is_left_out(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standby_refusals, "MOST_PER_DAY", 5)
    add(store, counted(8))
    add(store, counted(20))
    add(store, counted(3, key_id=1, code="invalid"))
    rows = store.rows("standby_refusals")
    without_key = [row for row in rows if row.code == "wrong_key"]
    assert len(without_key) == 6, "five addresses, and one row for all others"
    assert sum(row.requests for row in without_key) == 28
    assert {row.requests for row in without_key if row.address} == {2}
    assert len(rows) == 9, "the bots of valid keys have rows of their own"
    add(store, counted(1, began=NOON + DAY))
    assert len(store.rows("standby_refusals")) == 10, "the next day has room again"


def test_odoo_learns_each_total_and_again_when_it_has_grown(store: Store) -> None:
    def unreported() -> list[int]:
        return [row.requests for row in store.run(standby_refusals.unreported, NOON)]

    add(store, counted(2, requests=3))
    rows = store.run(standby_refusals.unreported, NOON)
    add(store, counted(1))  # while Odoo answers
    store.run(standby_refusals.mark_reported, rows)
    assert unreported() == [4]
    store.run(standby_refusals.mark_reported, store.run(standby_refusals.unreported, NOON))
    store.run(standby_refusals.mark_reported, rows)  # of another bridge, which was slower
    assert unreported() == []
    assert [row.requests for row in store.run(standby_refusals.lately, NOON)] == [4, 3]
    assert store.run(standby_refusals.lately, NOON + DAY) == []

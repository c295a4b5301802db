"""An UPDATE of many rows at once writes what one UPDATE for each row would write, whatever their values are."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError

from bridge.store import schema
from bridge.store.batch_update import BatchUpdate
from bridge.store.sql_errors import is_too_long

from .conftest import NOON, Store

CONTACTS = schema.contacts
COLUMNS = ("first_name", "extra", "channel_id", "subscribed_at")
UPDATE = BatchUpdate(
    lambda new: (
        CONTACTS.update()
        .where(CONTACTS.c.manychat_id == new.manychat_id)
        .values({name: getattr(new, name) for name in COLUMNS} | {"updated_at": sa.bindparam("now")})
    ),
    **{name: CONTACTS.c[name].type for name in ("manychat_id", *COLUMNS)},
)
LATER = NOON + timedelta(microseconds=1)

#: What a server, its driver or JSON may treat as something else.
TEXTS = [
    "José Ñandú 😀 𝒳",
    "trailing blanks  ",
    " leading",
    "",
    'a "quoted" \\ back\\\\slash',
    '"',
    "\\",
    '{"ad": "\\u00e9", "list": [1, "~q"]}',
    "~ ~~ ~t ~q ~b ~n ~r ~h ~tn ~~t",
    "line\nline\r\nline\ttab",
    "\x01\x1f\x7f\u2028",
    "'; DROP TABLE contacts; --",
    "? :new_rows %s {0}",
    "NULL",
    "null",
    "İ ı ß ﬁ",
    "e\u0301",
]
LONG = [text * number for number in (1000, 1001, 2000, 2001, 3999, 4000, 4001) for text in ("á", "~", '"', "😀")]
LONG += ["y" * 10_000, 'z"\n' * 20_000]


def fill(store: Store, people: list[str]) -> None:
    with store.engine.begin() as connection:
        connection.execute(CONTACTS.delete())
        times = {"created_at": NOON, "updated_at": NOON}
        connection.execute(CONTACTS.insert(), [{"manychat_id": person, **times} for person in people])


def row(person: str, **values: Any) -> dict[str, Any]:
    return {"manychat_id": person, **dict.fromkeys(COLUMNS), **values}


def written(store: Store) -> dict[str, tuple[Any, ...]]:
    return {each.manychat_id: tuple(getattr(each, name) for name in COLUMNS) for each in store.rows("contacts")}


def test_every_text_is_written_as_it_is(store: Store) -> None:
    short = {f"MC{n}": text for n, text in enumerate(TEXTS)}
    long = {f"L{n}": text for n, text in enumerate(TEXTS + LONG)}
    fill(store, [*short, *long, "other"])
    rows = [row(person, first_name=text) for person, text in short.items()]
    rows += [row(person, extra=text) for person, text in long.items()]
    store.run(UPDATE.execute, rows, now=LATER)

    assert written(store) == {
        **{person: (text, None, None, None) for person, text in short.items()},
        **{person: (None, text, None, None) for person, text in long.items()},
        "other": (None, None, None, None),
    }
    assert {each.updated_at for each in store.rows("contacts")} == {NOON, LATER}


def test_nulls_moments_and_numbers_are_written_as_they_are(store: Store) -> None:
    with store.engine.begin() as connection:
        channel = {"name": "c", "name_key": "c", "created_at": NOON, "updated_at": NOON}
        [channel_id] = connection.execute(schema.channels.insert().values(channel)).inserted_primary_key or ()
    moments = [
        datetime(1, 1, 1, tzinfo=timezone.utc),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone.utc),
        datetime(2025, 6, 10, 7, 0, 0, 1, tzinfo=timezone(timedelta(hours=-5))),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone.utc),
    ]
    values = [row(f"MC{n}", subscribed_at=moment, channel_id=channel_id) for n, moment in enumerate(moments)]
    values.append(row("MC-none"))
    people = [each["manychat_id"] for each in values]
    fill(store, people)
    # What was there is emptied, too.
    store.run(UPDATE.execute, [row(person, first_name="x", subscribed_at=NOON) for person in people], now=NOON)
    store.run(UPDATE.execute, values, now=LATER)

    wanted = {each["manychat_id"]: (None, None, each["channel_id"], each["subscribed_at"]) for each in values}
    assert written(store) == wanted


def test_a_key_finds_its_own_row_only(store: Store) -> None:
    people = ["abc", "ABC", "ábc", "abc~", 'a"c', "a\\c", "😀"]
    fill(store, people)
    store.run(UPDATE.execute, [row(person, first_name=f"of {person}") for person in people[1:]], now=LATER)

    assert written(store) == {
        "abc": (None,) * 4,
        **{person: (f"of {person}", None, None, None) for person in people[1:]},
    }


def test_rows_that_are_not_there_and_no_rows_change_nothing(store: Store) -> None:
    fill(store, ["MC1"])
    store.run(UPDATE.execute, [row("MC2", first_name="x")], now=LATER)
    store.run(UPDATE.execute, [], now=LATER)

    assert written(store) == {"MC1": (None,) * 4}


def test_a_text_that_is_too_long_is_an_error_and_is_not_cut(store: Store) -> None:
    if store.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no lengths")
    fill(store, ["MC1"])
    with pytest.raises(DBAPIError) as caught, store.engine.begin() as connection:
        UPDATE.execute(connection, [row("MC1", first_name="x" * 257)], now=LATER)
    assert store.engine.dialect.name == "postgresql" or is_too_long(caught.value)


def test_a_moment_needs_its_time_zone(store: Store) -> None:
    fill(store, ["MC1"])
    with pytest.raises((ValueError, sa.exc.StatementError), match="time zone"):
        store.run(UPDATE.execute, [row("MC1", subscribed_at=NOON.replace(tzinfo=None))], now=LATER)


def test_any_texts_are_what_one_update_each_would_write(store: Store) -> None:
    # PostgreSQL stores no NUL, and no server a half of a character.
    texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
    people = [f"MC{n}" for n in range(8)]

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(st.none() | texts, st.none() | texts), min_size=8, max_size=8))
    def check(values: list[tuple[str | None, str | None]]) -> None:
        fill(store, people)
        rows = [row(person, first_name=one, extra=two) for person, (one, two) in zip(people, values, strict=True)]
        store.run(UPDATE.execute, rows, now=LATER)
        assert [written(store)[person][:2] for person in people] == values

    check()


def test_a_batch_is_one_statement_on_a_server(store: Store) -> None:
    if store.engine.dialect.name == "sqlite":
        pytest.skip("SQLite takes rows one by one, in the process")
    people = [f"MC{n}" for n in range(32)]
    fill(store, people)
    seen = []

    def see(_connection, _cursor, _statement, parameters, _context, executemany) -> None:  # type: ignore[no-untyped-def]
        seen.append(len(parameters) if executemany else 1)

    sa.event.listen(store.engine, "before_cursor_execute", see)
    try:
        store.run(UPDATE.execute, [row(person, first_name="x", extra='{"a": "b"}') for person in people], now=LATER)
    finally:
        sa.event.remove(store.engine, "before_cursor_execute", see)
    assert seen == [1]

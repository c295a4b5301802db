"""Dates as bots send them: each notation that means one moment is read, and no other."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.contract import dates

BOGOTA = ZoneInfo("America/Bogota")  # UTC-5 all year
EVENING = datetime(2025, 10, 20, 22, 41, tzinfo=timezone.utc)
MIDNIGHT = datetime(2025, 10, 20, 5, tzinfo=timezone.utc)


def read(value: Any) -> datetime:
    return dates.read(value, BOGOTA)


@pytest.mark.parametrize(
    "given",
    [
        "2025-07-11T17:14:31.220Z",
        "2025-07-11T12:14:31.220",
        "2025-07-11 12:14:31.22",
        "2025-07-11T12:14:31.220-05:00",
        "2025-07-11T12:14:31.220-0500",
        "2025-07-11T12:14:31.220 -05",
        "2025-07-11t17:14:31,220000z",
        "2025-07-11T17:14:31.220000000Z",
        "1752254071220",
        1752254071220,
        1752254071.22,
        "1752254071.22",
    ],
)
def test_iso_8601_and_unix_time(given: Any) -> None:
    assert read(given) == datetime(2025, 7, 11, 17, 14, 31, 220000, tzinfo=timezone.utc)


@pytest.mark.parametrize("given", ["1752254071", 1752254071, 1752254071.0, "1752254071000", 1752254071000])
def test_unix_time_in_seconds_and_milliseconds(given: Any) -> None:
    assert read(given) == datetime(2025, 7, 11, 17, 14, 31, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "given",
    [
        # As ManyChat writes them, and its neighbours.
        *("20 Oct 2025, 05:41pm", "20 Oct 2025 05:41 PM", "20 oct. 2025, 17:41", "Oct 20, 2025 5:41 PM"),
        *("Oct 20, 2025, 5:41:00 PM", "October 20, 2025 at 5:41 PM", "October 20th, 2025 17:41"),
        *("20-Oct-2025 17:41", "20 October 2025 - 17:41", "Mon, 20 Oct 2025 17:41:00", "5:41 PM, Oct 20, 2025"),
        # In Spanish and Portuguese.
        *("20 de octubre de 2025 a las 17:41", "20 de octubre del 2025, 5:41 p. m.", "octubre 20 de 2025 17:41"),
        *("lunes, 20 de octubre de 2025, 5:41 p.m.", "20 OCTUBRE 2025 17:41 hrs", "20 de outubro de 2025 às 17:41"),
        # In figures.
        *("2025-10-20 17:41:00", "2025/10/20 17:41", "2025.10.20 5:41pm", "20/10/2025 17:41", "20.10.2025 17:41"),
        *("10/20/2025, 5:41:00 PM", "20-10-2025T17:41", "17:41 20/10/2025", "20/10/2025 17h41", "2025-10-20 17:41 pm"),
        # With an offset, which counts for more than the zone.
        *("20 Oct 2025, 10:41pm UTC", "Mon, 20 Oct 2025 22:41:00 GMT", "20 Oct 2025 23:41 +0100"),
        *(
            "Mon Oct 20 2025 17:41:00 GMT-0500 (hora estándar de Colombia)",
            "20/10/2025 22:41Z",
            "20 Oct 2025 5:41 pm (UTC-5)",
        ),
        # Thin blanks, and a mark of direction, as browsers write them.
        *("Oct 20, 2025, 5:41\u202fPM", "20\u00a0oct\u00a02025 17:41"),
    ],
)
def test_dates_in_words_and_figures(given: str) -> None:
    assert read(given) == EVENING


@pytest.mark.parametrize(
    "given", ["2025-10-20", "20 Oct 2025", "Oct 20, 2025", "20/10/2025", "10/20/2025", "lunes 20 de octubre de 2025"]
)
def test_a_date_alone_is_its_midnight_in_the_zone(given: str) -> None:
    assert read(given) == MIDNIGHT


@pytest.mark.parametrize(
    ("given", "hour", "minute"),
    [("12:05am", 5, 5), ("12:05pm", 17, 5), ("12:00 a. m.", 5, 0), ("1 pm", 18, 0), ("00:05 am", 5, 5)],
)
def test_twelve_hours(given: str, hour: int, minute: int) -> None:
    assert read(f"20 Oct 2025, {given}") == MIDNIGHT.replace(hour=hour, minute=minute)


@pytest.mark.parametrize("given", ["03/04/2025", "3.4.2025 10:00", "12-11-2025", "10:00 01/02/2025"])
def test_a_date_that_can_be_two_is_not_read(given: str) -> None:
    with pytest.raises(ValueError, match="two months"):
        read(given)


def test_a_day_and_a_month_with_one_number_are_one_date() -> None:
    assert read("04/04/2025 12:00") == datetime(2025, 4, 4, 17, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "given",
    [
        *("yesterday", "ahora", "x", "20 Oct", "Oct 2025", "20 Oct 25", "20/10/25", "2025-02-30", "31 Feb 2025"),
        *("2025-07-11T25:00Z", "20 Oct 2025, 17:61", "20 Oct 2025, 17:41 am", "20 Oct 2025 17", "20 Oct 2025 EST"),
        # A name that several zones have.
        *("20 Oct 2025 17:41 EST", "20 Oct 2025 17:41 IST"),
        *("20/13/2025", "0/10/2025", "2025-10-20 to 2025-10-21", "20 Oct 2025 17:41 20 Oct 2025", "20/10-2025"),
        # Figures that are no Unix time: a day, a year, other units.
        *("20251020", "2025", "175225407", "17522540710000000", 1, 0.5, -1, 2025, 20251020, 1e30),
        *(True, False, [], {}, ["2025-10-20"], {"date": "2025-10-20"}),
        *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1969-12-31", "31 Dec 1969"),
        "9" * 10_000,
        "Mon " * 10_000,
    ],
    ids=lambda given: str(given)[:40],
)
def test_what_is_no_date_is_not_read(given: Any) -> None:
    with pytest.raises(ValueError, match=r"must be a date and time|after 1970"):
        read(given)


@given(
    st.integers(10**9 + 10**6, 7 * 10**9).map(lambda seconds: datetime.fromtimestamp(seconds, timezone.utc)),
    st.sampled_from(["UTC", "America/Bogota", "Asia/Tokyo"]),
)
def test_every_moment_in_the_words_of_manychat(moment: datetime, zone: str) -> None:
    """No moment of its notation is misread. ``strftime`` writes what the reader does not share code with."""
    moment = moment.replace(second=0, microsecond=0)
    there = moment.replace(tzinfo=dates.zone_named(zone))
    months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    text = f"{moment.day} {months[moment.month - 1]} {moment.year}, {moment:%I:%M}{'am' if moment.hour < 12 else 'pm'}"
    assert dates.read(text, dates.zone_named(zone)) == there
    assert dates.read(int(there.timestamp()), timezone.utc) == there


@given(st.text(max_size=120))
def test_any_text_is_a_date_or_none(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert dates.read(text, BOGOTA).utcoffset() == timedelta(0)


@pytest.mark.parametrize("name", ["UTC", "utc", "America/Bogota", "Europe/Madrid", "Etc/GMT+5"])
def test_a_zone_is_known_by_its_name(name: str) -> None:
    assert EVENING.astimezone(dates.zone_named(name)) == EVENING


@pytest.mark.parametrize("name", ["", "Bogota", "America", "../../etc/passwd", "/etc/localtime", "GMT-5", "\0"])
def test_no_other_name_is_a_zone(name: str) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        dates.zone_named(name)


def test_a_zone_counts_with_its_summer_time() -> None:
    madrid = dates.zone_named("Europe/Madrid")
    assert dates.read("2025-07-01 12:00", madrid).hour == 10
    assert dates.read("2025-12-01 12:00", madrid).hour == 11

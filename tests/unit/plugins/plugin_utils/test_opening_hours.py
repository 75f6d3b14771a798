# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Weekly hours: midnight, changes of daylight saving time, and texts that are wrong."""

from __future__ import annotations

import zoneinfo
from datetime import datetime

import pytest
from ansible_collections.gce.guest.plugins.plugin_utils._opening_hours import BadHours, closes_at, opens_at, parse_hours

NIGHTS = "Mon-Fri 22:00-04:00 Europe/Berlin"


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def closing(hours: str | list[str], now: str) -> str | None:
    """When they close, in UTC, without the date's century."""
    end = closes_at(parse_hours(hours), at(now))
    return None if end is None else f"{datetime.fromtimestamp(end, zoneinfo.ZoneInfo('UTC')):%m-%d %H:%M}"


def opening(hours: str | list[str], now: str) -> str | None:
    start = opens_at(parse_hours(hours), at(now))
    return None if start is None else f"{datetime.fromtimestamp(start, zoneinfo.ZoneInfo('UTC')):%m-%d %H:%M}"


@pytest.mark.parametrize(
    "now, closes",
    [
        # 2026-11-27 is a Friday.
        ("2026-11-27T21:59:59+01:00", None),
        ("2026-11-27T22:00:00+01:00", "11-28 03:00"),
        ("2026-11-27T23:59:59+01:00", "11-28 03:00"),
        # The night belongs to the day on which it starts.
        ("2026-11-28T03:59:59+01:00", "11-28 03:00"),
        ("2026-11-28T04:00:00+01:00", None),
        ("2026-11-28T22:30:00+01:00", None),
        ("2026-11-30T03:00:00+01:00", None),
        ("2026-11-30T22:00:00+01:00", "12-01 03:00"),
        # The same instant from elsewhere.
        ("2026-11-27T16:00:00-05:00", "11-28 03:00"),
    ],
)
def test_a_night(now: str, closes: str | None) -> None:
    assert closing(NIGHTS, now) == closes


@pytest.mark.parametrize(
    "hours, now, closes",
    [
        # At 2:00 on 2026-03-29 the clock is put forward to 3:00, and at 3:00 on 2026-10-25 back to 2:00.
        ("22:00-04:00 Europe/Berlin", "2026-03-28T23:00:00+01:00", "03-29 02:00"),
        ("22:00-04:00 Europe/Berlin", "2026-10-24T23:00:00+02:00", "10-25 03:00"),
        # A time that is skipped is that of the change.
        ("22:00-02:30 Europe/Berlin", "2026-03-28T23:00:00+01:00", "03-29 01:00"),
        ("02:30-05:00 Europe/Berlin", "2026-03-29T03:00:00+02:00", "03-29 03:00"),
        ("02:30-05:00 Europe/Berlin", "2026-03-29T01:59:59+01:00", None),
        # A time that comes twice is the first one.
        ("22:00-02:30 Europe/Berlin", "2026-10-25T02:29:00+02:00", "10-25 00:30"),
        ("22:00-02:30 Europe/Berlin", "2026-10-25T02:29:00+01:00", None),
        ("02:30-05:00 Europe/Berlin", "2026-10-25T02:30:00+02:00", "10-25 04:00"),
        ("02:30-05:00 Europe/Berlin", "2026-10-25T02:10:00+01:00", "10-25 04:00"),
        # A whole night within the hour that is skipped does not exist.
        ("02:10-02:50 Europe/Berlin", "2026-03-29T03:00:00+02:00", None),
        # Daylight saving time of half an hour.
        ("22:00-02:15 Australia/Lord_Howe", "2026-10-03T23:00:00+10:30", "10-03 15:30"),
    ],
)
def test_daylight_saving_time(hours: str, now: str, closes: str | None) -> None:
    assert closing(hours, now) == closes


def test_opens_again() -> None:
    assert opening(NIGHTS, "2026-11-27T21:00:00+01:00") == "11-27 21:00"
    assert opening(NIGHTS, "2026-11-27T23:00:00+01:00") == "11-30 21:00"
    assert opening(NIGHTS, "2026-11-28T12:00:00+01:00") == "11-30 21:00"
    assert opening("Sun 10:00-11:00 UTC", "2026-11-29T10:00:00+00:00") == "12-06 10:00"
    # On that day, the hours do not exist.
    assert opening("Sun 02:10-02:50 Europe/Berlin", "2026-03-28T12:00:00+01:00") == "04-05 00:10"


def test_hours_that_continue_each_other_close_once() -> None:
    assert closing(["Fri 22:00-24:00 UTC", "Sat 00:00-06:00 UTC"], "2026-11-27T23:00:00+00:00") == "11-28 06:00"
    assert closing(["Fri 22:00-23:00 UTC", "Sat 00:00-06:00 UTC"], "2026-11-27T22:30:00+00:00") == "11-27 23:00"
    always = closing("00:00-24:00 UTC", "2026-11-27T23:00:00+00:00")
    assert always is not None
    assert always > "12-04"


def test_days() -> None:
    for days, members in [
        ("Mon", {0}),
        ("sat-MON", {5, 6, 0}),
        ("Mon,Wed-Thu", {0, 2, 3}),
        ("Tue, Fri", {1, 4}),
        ("Mon-Sun", set(range(7))),
    ]:
        [hours] = parse_hours(f"{days} 10:00-11:00 UTC")
        assert hours.days == members, days


@pytest.mark.parametrize(
    "text, word",
    [
        ("22:00-04:00", "time zone"),
        ("Mon-Fri 22-04 UTC", "not understood"),
        ("", "not understood"),
        ("Mon-Fry 22:00-04:00 UTC", "mon-fry"),
        ("Mon- 22:00-04:00 Europe", "Europe"),
        ("22:60-04:00 UTC", "22:60"),
        ("22:00-24:01 UTC", "24:01"),
        ("22:00-04:00 Europe/Berlni", "Europe/Berlni"),
        ("22:00-04:00 x/../../etc/passwd", "unknown"),
    ],
)
def test_wrong_texts(text: str, word: str) -> None:
    with pytest.raises(BadHours) as caught:
        parse_hours(text)
    assert word in str(caught.value)
    assert "Europe/Berlin" in str(caught.value) or "24:00" in str(caught.value)


def test_without_time_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a control node without tzdata."""
    zoneinfo.ZoneInfo.clear_cache()
    zoneinfo.reset_tzpath(["/nonexistent"])
    # The package of PyPI is the fallback.
    monkeypatch.setitem(__import__("sys").modules, "tzdata", None)
    monkeypatch.setitem(__import__("sys").modules, "tzdata.zoneinfo.Europe", None)
    try:
        with pytest.raises(BadHours) as caught:
            parse_hours(NIGHTS)
    finally:
        zoneinfo.reset_tzpath()
        zoneinfo.ZoneInfo.clear_cache()
    assert "tzdata" in str(caught.value)

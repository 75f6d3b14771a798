# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Weekly hours in a time zone, such as "Mon-Fri 22:00-04:00 Europe/Berlin". Pure, but for the database of time zones.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EXAMPLE = "Mon-Fri 22:00-04:00 Europe/Berlin"
_TEXT = re.compile(
    r"\s*(?:(?P<days>[A-Za-z][A-Za-z, -]*?)\s+)?"
    r"(?P<start>\d\d:\d\d)\s*-\s*(?P<end>\d\d:\d\d)\s+(?P<zone>[A-Za-z]\S*)\s*"
)


class BadHours(ValueError):
    """Hours that cannot be understood. The text says why, and what to do."""


@dataclass(frozen=True)
class Hours:
    """Hours on some days. They belong to the day on which they start, and end on the next one if `end` <= `start`.

    `start` and `end` are minutes after midnight by the wall clock of `zone`.
    """

    days: frozenset[int]
    start: int
    end: int
    zone: ZoneInfo

    def around(self, now: float) -> Iterator[tuple[float, float]]:
        """The open times from two days before `now` (epoch seconds) to nine days after it, as (start, end)."""
        today = datetime.fromtimestamp(now, self.zone).date()
        for offset in range(-2, 10):
            day = today + timedelta(days=offset)
            if day.weekday() in self.days:
                last = day if self.end > self.start else day + timedelta(days=1)
                yield _instant(day, self.start, self.zone), _instant(last, self.end, self.zone)


def parse_hours(texts: str | Sequence[str]) -> tuple[Hours, ...]:
    """The hours of one text, or of several. Raises BadHours."""
    return tuple(_parse(text) for text in ([texts] if isinstance(texts, str) else texts))


def closes_at(hours: Sequence[Hours], now: float) -> float | None:
    """When the hours end in which `now` is, in epoch seconds. None if it is in none."""
    end = now
    # Hours that continue others.
    while True:
        later = [close for each in hours for open_, close in each.around(now) if open_ <= end < close]
        if not later or end > now + 8 * 86400:
            return end if end > now else None
        end = max(later)


def opens_at(hours: Sequence[Hours], now: float) -> float | None:
    """When the next hours start after `now`, in epoch seconds."""
    return min(
        (open_ for each in hours for open_, close in each.around(now) if open_ > now and close > open_), default=None
    )


def _parse(text: str) -> Hours:
    match = _TEXT.fullmatch(text)
    if match is None:
        raise BadHours(f"The hours {text!r} are not understood. Write days, times and a time zone: {EXAMPLE!r}.")
    return Hours(
        _days(match["days"], text), _minutes(match["start"], text), _minutes(match["end"], text), _zone(match["zone"])
    )


def _days(text: str | None, whole: str) -> frozenset[int]:
    found: set[int] = set()
    for part in (text or "Mon-Sun").lower().split(","):
        first, _dash, last = (each.strip() for each in part.partition("-"))
        last = last or first
        if first not in DAYS or last not in DAYS:
            known = ", ".join(day.capitalize() for day in DAYS)
            raise BadHours(f"The hours {whole!r} have {part.strip()!r}. The days are {known}, as in {EXAMPLE!r}.")
        number, end = DAYS.index(first), DAYS.index(last)
        # From Sat to Mon over the end of the week.
        found.update(each % 7 for each in range(number, end + 1 if end >= number else end + 8))
    return frozenset(found)


def _minutes(text: str, whole: str) -> int:
    hour, minute = map(int, text.split(":"))
    if minute > 59 or hour * 60 + minute > 24 * 60:
        raise BadHours(f"The hours {whole!r} have the time {text}, which does not exist. The last one is 24:00.")
    return hour * 60 + minute


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    # A directory of the database, such as Europe, is an OSError.
    except (KeyError, ValueError, OSError):
        pass
    try:
        ZoneInfo("Europe/Berlin")
    except (KeyError, ValueError, OSError):
        raise BadHours(
            f"The time zone {name} is unknown, because the control node has no time zones. Install them there: "
            "the package tzdata of its distribution, or 'pip install tzdata' for the Python that runs Ansible."
        ) from None
    raise BadHours(f"The time zone {name!r} is unknown. Write it as in {EXAMPLE!r}, or UTC.")


def _instant(day: date, minutes: int, zone: ZoneInfo) -> float:
    """The first instant at which the wall clock shows this time of a day, or a later one if it skips it."""
    wall = datetime(day.year, day.month, day.day) + timedelta(minutes=minutes)
    low, high = sorted(wall.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))
    if _wall(low, zone) == wall:
        return low
    # The clock is put forward over this time, somewhere between.
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _wall(middle, zone) >= wall else (middle, high)
    return high


def _wall(instant: float, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(instant, timezone.utc).astimezone(zone).replace(tzinfo=None, fold=0)

# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Timestamps of the Compute API, and times in filters. Pure."""

from __future__ import annotations

import datetime
import re

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def pacific_time(moment: datetime.datetime) -> str:
    """RFC 3339 with milliseconds and Pacific time, as in all timestamps of the API.

    Daylight saving time is computed here, because a minimal VM has no time zone database.
    """
    moment = moment.astimezone(datetime.timezone.utc)
    # 02:00 local time of the second Sunday in March and of the first one in November.
    begin = _sunday(moment.year, 3, 2) + datetime.timedelta(hours=10)
    end = _sunday(moment.year, 11, 1) + datetime.timedelta(hours=9)
    offset = datetime.timedelta(hours=-7 if begin <= moment < end else -8)
    return moment.astimezone(datetime.timezone(offset)).isoformat(timespec="milliseconds")


def instant(text: str) -> float | None:
    """An RFC 3339 time as seconds since the epoch, or None for any other text."""
    if not _RFC3339.fullmatch(text):
        return None
    try:
        # Python 3.9 parses neither Z nor fractions without 3 or 6 digits.
        moment = datetime.datetime.fromisoformat(re.sub(r"\.\d+", "", text.upper().replace("Z", "+00:00")))
    except ValueError:
        return None
    fraction = re.search(r"\.\d+", text)
    return moment.timestamp() + (float(fraction.group()) if fraction else 0.0)


def _sunday(year: int, month: int, number: int) -> datetime.datetime:
    first = datetime.datetime(year, month, 1, tzinfo=datetime.timezone.utc)
    return first + datetime.timedelta(days=(6 - first.weekday()) % 7 + 7 * (number - 1))

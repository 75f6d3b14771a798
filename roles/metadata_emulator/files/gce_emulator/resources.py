# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The resources of the Compute API, made from the project's state. Pure."""

from __future__ import annotations

import datetime

SERVICE_URL = "https://www.googleapis.com/compute/v1"
"""Where resources say that they are; not where they are served (https://compute.googleapis.com/compute/v1)."""


def pacific_time(moment: datetime.datetime) -> str:
    """RFC 3339 with milliseconds and the offset of California, as in all timestamps of the API.

    The rule of the Energy Policy Act of 2005 is spelled out, because a minimal VM has no time zone database.
    """
    moment = moment.astimezone(datetime.timezone.utc)
    # 02:00 local time of the second Sunday in March and of the first one in November.
    begin = _sunday(moment.year, 3, 2) + datetime.timedelta(hours=10)
    end = _sunday(moment.year, 11, 1) + datetime.timedelta(hours=9)
    offset = datetime.timedelta(hours=-7 if begin <= moment < end else -8)
    return moment.astimezone(datetime.timezone(offset)).isoformat(timespec="milliseconds")


def _sunday(year: int, month: int, number: int) -> datetime.datetime:
    first = datetime.datetime(year, month, 1, tzinfo=datetime.timezone.utc)
    return first + datetime.timedelta(days=(6 - first.weekday()) % 7 + 7 * (number - 1))

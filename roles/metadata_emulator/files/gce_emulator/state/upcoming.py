# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An announced maintenance window: its normal form, and how guests and the API spell it."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

from .clock import Clock

TYPES = ("UNKNOWN_TYPE", "SCHEDULED", "UNSCHEDULED", "MULTIPLE")
STATUSES = ("UNKNOWN", "PENDING", "ONGOING", "COMPLETE")

# As seen on VMs; as on Google's page on live migration notices; as on the AI Hypercomputer pages.
STYLES = ("snake", "camel", "strings")
NONE_ANSWERS = ("503", "NONE", "404", "{}")

_TIMES = ("window_start_time", "window_end_time", "latest_window_start_time")
_SPELLINGS = {
    "type": "type",
    "maintenance_type": "type",
    "maintenanceType": "type",
    "can_reschedule": "can_reschedule",
    "canReschedule": "can_reschedule",
    "window_start_time": "window_start_time",
    "windowStartTime": "window_start_time",
    "window_end_time": "window_end_time",
    "windowEndTime": "window_end_time",
    "latest_window_start_time": "latest_window_start_time",
    "latestWindowStartTime": "latest_window_start_time",
    "maintenance_status": "maintenance_status",
    "maintenanceStatus": "maintenance_status",
    "maintenance_on_shutdown": "maintenance_on_shutdown",
    "maintenanceOnShutdown": "maintenance_on_shutdown",
    "maintenance_reasons": "maintenance_reasons",
    "maintenanceReasons": "maintenance_reasons",
}


@dataclasses.dataclass(frozen=True)
class UpcomingMaintenance:
    """One window. Times are aware UTC datetimes."""

    window_start_time: datetime.datetime
    window_end_time: datetime.datetime
    latest_window_start_time: datetime.datetime
    type: str = "SCHEDULED"
    can_reschedule: bool = True
    maintenance_status: str = "PENDING"
    maintenance_on_shutdown: bool | None = None
    maintenance_reasons: tuple[str, ...] = ()

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any]) -> UpcomingMaintenance:
        """Read a window in any spelling; only the start is required. Raises ValueError."""
        fields: dict[str, Any] = {}
        for key, value in given.items():
            if key not in _SPELLINGS:
                raise ValueError(
                    f"an upcoming maintenance has no {key!r}; it has {', '.join(dict.fromkeys(_SPELLINGS.values()))}"
                )
            fields[_SPELLINGS[key]] = value
        for key in _TIMES:
            if key in fields:
                fields[key] = parse_time(fields[key], key)
        start = fields.get("window_start_time")
        if start is None:
            raise ValueError("an upcoming maintenance needs window_start_time")
        fields.setdefault("window_end_time", start + datetime.timedelta(hours=4))
        fields.setdefault("latest_window_start_time", start)
        for key in ("can_reschedule", "maintenance_on_shutdown"):
            if key in fields:
                fields[key] = _parse_bool(fields[key], key)
        for key, known in (("type", TYPES), ("maintenance_status", STATUSES)):
            if key in fields and fields[key] not in known:
                raise ValueError(f"{key} is {fields[key]!r}; it can be {', '.join(known)}")
        fields["maintenance_reasons"] = _parse_reasons(fields.get("maintenance_reasons", ()))
        return cls(**fields)

    @classmethod
    def after(cls, clock: Clock, starts_in: float, length: float, can_reschedule: bool) -> UpcomingMaintenance:
        """A window `starts_in` platform seconds from now, `length` platform seconds long."""
        # Whole seconds, as they are shown, so that the event never comes early.
        start = clock.after(starts_in).replace(microsecond=0)
        return cls(
            window_start_time=start,
            window_end_time=start + datetime.timedelta(seconds=clock.real_seconds(length)),
            latest_window_start_time=start,
            can_reschedule=can_reschedule,
        )

    def ongoing(self) -> UpcomingMaintenance:
        """The window once its maintenance has begun."""
        return dataclasses.replace(self, maintenance_status="ONGOING", can_reschedule=False)

    def moved(self, by: datetime.timedelta) -> UpcomingMaintenance:
        """The window at another time."""
        return dataclasses.replace(
            self,
            window_start_time=self.window_start_time + by,
            window_end_time=self.window_end_time + by,
            latest_window_start_time=self.latest_window_start_time + by,
        )

    def to_api(self) -> dict[str, Any]:
        """The UpcomingMaintenance resource: camelCase and times with `Z`. Recursive JSON of guests has it, too."""
        shown: dict[str, Any] = {
            "canReschedule": self.can_reschedule,
            "latestWindowStartTime": _zulu(self.latest_window_start_time),
            "maintenanceStatus": self.maintenance_status,
            "type": self.type,
            "windowEndTime": _zulu(self.window_end_time),
            "windowStartTime": _zulu(self.window_start_time),
        }
        if self.maintenance_on_shutdown is not None:
            shown["maintenanceOnShutdown"] = self.maintenance_on_shutdown
        if self.maintenance_reasons:
            shown["maintenanceReasons"] = list(self.maintenance_reasons)
        return shown

    def to_text(self) -> str:
        """The text of a plain GET: sorted `key value` lines without a final newline."""
        lines = {
            "can_reschedule": str(self.can_reschedule).lower(),
            "latest_window_start_time": _offset(self.latest_window_start_time),
            "maintenance_status": self.maintenance_status,
            "type": self.type,
            "window_end_time": _offset(self.window_end_time),
            "window_start_time": _offset(self.window_start_time),
        }
        return "\n".join(f"{key} {value}" for key, value in lines.items())

    def to_json(self, style: str) -> dict[str, Any]:
        """The value with `alt=json`, in one of STYLES."""
        if style == "camel":
            # `maintenanceType` for `type`, and a string for the boolean.
            return {
                "maintenanceType": self.type,
                "canReschedule": str(self.can_reschedule).lower(),
                "latestWindowStartTime": _zulu(self.latest_window_start_time),
                "maintenanceStatus": self.maintenance_status,
                "windowEndTime": _zulu(self.window_end_time),
                "windowStartTime": _zulu(self.window_start_time),
            }
        time = _zulu if style == "strings" else _offset
        shown: dict[str, Any] = {
            "can_reschedule": str(self.can_reschedule).lower() if style == "strings" else self.can_reschedule,
            "latest_window_start_time": time(self.latest_window_start_time),
            "maintenance_status": self.maintenance_status,
        }
        if style == "strings":
            shown["maintenance_reasons"] = list(self.maintenance_reasons) or ["PLANNED_UPDATE"]
        else:
            shown["start_time_window"] = {
                "earliest": time(self.window_start_time),
                "latest": time(self.latest_window_start_time),
            }
        shown["type"] = self.type
        shown["window_end_time"] = time(self.window_end_time)
        shown["window_start_time"] = time(self.window_start_time)
        return shown


def parse_time(value: Any, name: str) -> datetime.datetime:
    """An RFC 3339 string, or a datetime as YAML parses it, as an aware UTC datetime. Raises ValueError."""
    moment = value
    if isinstance(value, str):
        try:
            # Python before 3.11 does not parse Z.
            moment = datetime.datetime.fromisoformat(value[:-1] + "+00:00" if value.endswith(("Z", "z")) else value)
        except ValueError:
            moment = None
    if not isinstance(moment, datetime.datetime) or moment.tzinfo is None:
        raise ValueError(f"{name} is {value!r}; it must be a time such as 2026-01-31T12:00:00Z")
    return moment.astimezone(datetime.timezone.utc)


def _parse_bool(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise ValueError(f"{name} is {value!r}; it must be true or false")


def _parse_reasons(value: Any) -> tuple[str, ...]:
    if isinstance(value, (list, tuple)) and all(isinstance(reason, str) for reason in value):
        return tuple(value)
    raise ValueError(f"maintenance_reasons is {value!r}; it must be a list of strings")


def _zulu(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _offset(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S+00:00")

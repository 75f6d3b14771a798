# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics in the text format of Prometheus, for the textfile collector of node_exporter."""

from __future__ import annotations

from collections.abc import Mapping

_PREFIX = "gce_maintenance_handler_"

# The beginning of a file with metrics.
FIRST_BYTES = f"# HELP {_PREFIX}".encode()

HELP = {
    "info": ("gauge", "The handler's version, and the digest of its configuration."),
    "healthy": ("gauge", "1 while the handler is healthy, as shown by its command status."),
    "last_good_answer_timestamp_seconds": (
        "gauge",
        "Time of the last successful metadata request, by key.",
    ),
    "event": ("gauge", "1 while an event is announced or rehearsed."),
    "event_deadline_timestamp_seconds": ("gauge", "Time of an event that is announced or rehearsed."),
    "last_drain_seconds": ("gauge", "Seconds from the notice of an event to the end of its last drain step."),
    "last_drain_notice_left_seconds": (
        "gauge",
        "Seconds of notice left when the last drain step ended; negative if it ended after the event.",
    ),
    "held_tasks": ("gauge", "Tasks that are drained and not restored yet."),
    "not_restored_tasks": ("gauge", "Tasks whose restore failed and has not been acknowledged."),
    "polls_total": ("counter", "Requests to the metadata server, by key and result."),
    "incidents_total": ("counter", "Closed incidents, by the event that opened them."),
    "steps_total": ("counter", "Ended steps, by event, phase and outcome."),
    "step_seconds_total": ("counter", "Total duration of steps in seconds, by event, phase and outcome."),
    "fleet_limit_waiting_tasks": ("gauge", "Tasks that wait for a slot of the fleet limit."),
    "fleet_limit_slot_held": ("gauge", "1 while this VM holds a slot of the fleet limit."),
    "fleet_limit_exceeded_total": ("counter", "Events for which tasks were drained without a slot."),
    "fleet_limit_unanswered_total": ("counter", "Questions that the store of the fleet limit has not answered."),
    "missed_migrations_total": ("counter", "Live migrations that were detected without a notice."),
    "unannounced_restarts_total": ("counter", "Boots of the VM that were not preceded by an orderly stop."),
    "lock_failures_total": (
        "counter",
        "Starts without the lock that detects a second handler.",
    ),
    "journal_set_aside_total": (
        "counter",
        "Journals that were unreadable or belonged to another instance.",
    ),
    "wall_clock_jumps_total": ("counter", "Jumps of the wall clock by more than a few seconds."),
    "journal_failures_total": ("counter", "Failed writes of the journal. The steps run anyway."),
    "reload_failures_total": ("counter", "Configurations that were rejected on reload."),
    "status_writes_total": ("counter", "Writes of the status to its guest attribute, by result."),
    "notifications_queued": ("gauge", "Notifications that wait to be sent, by target."),
    "notifications_sent_total": ("counter", "Notifications that a target has accepted."),
    "notifications_failed_total": ("counter", "Notifications that were given up, by target."),
}

Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Values by name and labels."""

    def __init__(self) -> None:
        self._values: dict[str, dict[Labels, float]] = {}

    def count(self, name: str, **labels: str) -> None:
        self.add(name, 1, **labels)

    def set(self, name: str, value: float, **labels: str) -> None:
        self._values.setdefault(name, {})[tuple(sorted(labels.items()))] = value

    def add(self, name: str, value: float, **labels: str) -> None:
        values = self._values.setdefault(name, {})
        key = tuple(sorted(labels.items()))
        values[key] = values.get(key, 0) + value

    def clear(self, name: str) -> None:
        """Delete all values of a name."""
        self._values.pop(name, None)

    def counters(self) -> dict[tuple[str, Labels], float]:
        """The counters without polls_total, which increases all the time."""
        return {
            (name, labels): value
            for name, values in self._values.items()
            if name.endswith("_total") and name != "polls_total"
            for labels, value in values.items()
        }

    def counted(self, name: str, **labels: str) -> float:
        """The current value; 0 if there is none."""
        return self._values.get(name, {}).get(tuple(sorted(labels.items())), 0)

    def text(self) -> str:
        """The metrics in Prometheus' text format."""
        lines = []
        for name, (kind, help_text) in HELP.items():
            values = self._values.get(name)
            if not values:
                continue
            lines += [f"# HELP {_PREFIX}{name} {help_text}", f"# TYPE {_PREFIX}{name} {kind}"]
            lines += [f"{_PREFIX}{name}{_labels(dict(labels))} {value:.15g}" for labels, value in values.items()]
        return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

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
    "healthy": ("gauge", "1 while the handler is healthy, as its command status says."),
    "last_good_answer_timestamp_seconds": ("gauge", "When the metadata server last answered for a key."),
    "event": ("gauge", "1 while an event is announced, or rehearsed."),
    "event_deadline_timestamp_seconds": ("gauge", "When an event comes that is announced, or rehearsed."),
    "last_drain_seconds": ("gauge", "Seconds from the notice of an event to the end of its last drain step."),
    "last_drain_notice_left_seconds": (
        "gauge",
        "Seconds of notice that were left when the last drain step ended; negative if it ended after the event.",
    ),
    "held_tasks": ("gauge", "Tasks that were drained and not restored."),
    "not_restored_tasks": ("gauge", "Tasks whose restore failed, and that nobody has acknowledged."),
    "polls_total": ("counter", "Questions to the metadata server, by key and result."),
    "incidents_total": ("counter", "Incidents that were closed, by the event that opened them."),
    "steps_total": ("counter", "Steps that ended, by event, phase and outcome."),
    "step_seconds_total": ("counter", "Seconds that steps took, by event, phase and outcome."),
    "missed_migrations_total": ("counter", "Migrations that nothing had announced."),
    "unannounced_restarts_total": ("counter", "Boots of the VM without an orderly stop before them."),
    "lock_failures_total": ("counter", "Starts without a lock; a second handler would not have been noticed."),
    "journal_set_aside_total": ("counter", "Journals that were not readable, or another instance's."),
    "wall_clock_jumps_total": ("counter", "Times the wall clock was set by more than a few seconds."),
    "journal_failures_total": ("counter", "Journal writes that failed; the step ran all the same."),
    "reload_failures_total": ("counter", "Configurations that were refused; the one before stayed."),
    "status_writes_total": ("counter", "Writes of the guest attribute, by result."),
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
        """What was counted, apart from polls, which are counted all the time."""
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
        """In Prometheus' text format."""
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

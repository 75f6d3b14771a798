# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of notices: for the status, the metrics and the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..io.log import Log
    from ..io.metrics import Metrics
    from .config import Config

LEVELS = ("debug", "info", "warning", "error")


class Deliveries:
    """Numbers by target, since the handler started."""

    def __init__(self, config: Config, log: Log, metrics: Metrics) -> None:
        self._log = log
        self._metrics = metrics
        self._targets: dict[str, dict[str, Any]] = {}
        self.configured(config)

    def configured(self, config: Config) -> None:
        """Another configuration is in force."""
        names = [target["name"] for target in config.notify]
        none = {"queued": 0, "sent": 0, "failed": 0, "problem": ""}
        self._targets = {name: self._targets.get(name, none) for name in names}
        self._metrics.clear("notifications_queued")
        for name, target in self._targets.items():
            self._metrics.set("notifications_queued", target["queued"], target=name)
            for counter in ("sent", "failed"):
                self._metrics.add(f"notifications_{counter}_total", 0, target=name)

    def reported(self, report: Mapping[str, Any]) -> None:
        """Take a report of the notifier (`io.notified`)."""
        for level, text in report.get("log", ()):
            if level in LEVELS:
                getattr(self._log, level)(text)
        for name, target in self._targets.items():
            queued = report.get("queued", {}).get(name, target["queued"])
            sent, failed = (report.get(counter, {}).get(name, 0) for counter in ("sent", "failed"))
            self._targets[name] = {
                "queued": queued,
                "sent": target["sent"] + sent,
                "failed": target["failed"] + failed,
                "problem": report.get("problems", {}).get(name, target["problem"]),
            }
            self._metrics.set("notifications_queued", queued, target=name)
            self._metrics.add("notifications_sent_total", sent, target=name)
            self._metrics.add("notifications_failed_total", failed, target=name)

    def document(self) -> dict[str, dict[str, Any]]:
        """For the status: by target, how many notices wait, were sent and were given up, and the current problem."""
        return dict(self._targets)

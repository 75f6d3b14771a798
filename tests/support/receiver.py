# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A receiver of notifications: an HTTP server on a real socket that can be down, slow, hang, or answer with garbage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .json_service import Call, Certificate, JsonService


class Receiver(JsonService):
    """Accepts everything. `answers` are used up first, each a status and a value."""

    def __init__(self, certificate: Certificate | None = None) -> None:
        self.answers: list[tuple[int, Any]] = []
        super().__init__(certificate)

    def answer(self, call: Call) -> tuple[int, Any]:
        return self.answers.pop(0) if self.answers else (200, "ok")

    @property
    def bodies(self) -> list[Any]:
        """The bodies of all requests, oldest first."""
        with self.lock:
            return [call.body for call in self.calls]

    def kinds(self) -> list[str]:
        return [body["kind"] for body in self.bodies]


def queued_kinds(state_dir: Path) -> list[str]:
    """The ids of the notices in the queue of a handler, oldest first."""
    return sorted(path.name for path in (state_dir / "notices").glob("*.json") if path.name[0].isdigit())

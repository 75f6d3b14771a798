# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a unit counts as started: a service of type simple is active before its program has shown that it can run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from recipes import systemd
from recipes.record import Record
from recipes.run import Refusal, Run, Unfinished

ACTIVE_FROM = 1000.0


class Systemctl:
    """The unit worker.service, active from its start. `later` gives the state from the seconds since then."""

    def __init__(self, kind: str, later: Callable[[float], str]) -> None:
        self.now = ACTIVE_FROM
        self._kind = kind
        self._later = later
        self._state = "inactive"

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def output(self, command: Sequence[str], *, timeout: float) -> str:
        if "start" in command:
            self._state = "active"
        elif self._state != "inactive":
            self._state = self._later(self.now - ACTIVE_FROM)
        since = round(ACTIVE_FROM * 1e6)
        return (
            f"ActiveState={self._state}\nSubState=running\nResult=exit-code\nJob=0\nType={self._kind}\n"
            f"ActiveEnterTimestampMonotonic={since}\n"
        )


def starts(systemctl: Systemctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> float:
    """Start the unit. Returns the seconds that this took."""
    monkeypatch.setattr(systemd, "output", systemctl.output)
    monkeypatch.setattr(systemd, "shuts_down", lambda: False)
    record = Record(tmp_path / "record.json", "machine", locked=False)
    environ = {"GCE_TASK_TIMEOUT_SECONDS": "10"}
    run = Run({}, "restore", environ, record, clock=systemctl.clock, sleep=systemctl.sleep)
    systemd.start_and_wait(["worker.service"], run)
    return systemctl.now - ACTIVE_FROM


@pytest.mark.parametrize("kind, seconds", [("simple", 0.5), ("idle", 0.5), ("exec", 0), ("notify", 0), ("forking", 0)])
def test_a_service_that_counts_as_active_at_once_stays_active_for_a_moment(
    kind: str, seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert starts(Systemctl(kind, lambda _after: "active"), tmp_path, monkeypatch) == seconds


@pytest.mark.parametrize(
    "state, error, words",
    [
        ("failed", Refusal, r"worker\.service does not start \(exit-code\)"),
        # systemd starts it again and again.
        ("activating", Unfinished, r"worker\.service is activating"),
    ],
)
def test_a_service_that_ends_just_after_its_start_is_not_restored(
    state: str, error: type[Exception], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemctl = Systemctl("simple", lambda after: "active" if after < 0.2 else state)
    with pytest.raises(error, match=words):
        starts(systemctl, tmp_path, monkeypatch)

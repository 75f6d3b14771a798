# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict on a test of the handler distinguishes errors from allowed behaviour."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.handler import HandlerProcess, task
from support.proof import Run, Verdict, judged

CLEAN = ("drain a", "drain b", "restore b", "restore a")


@pytest.mark.parametrize(
    "trace, interrupted, verdict",
    [
        (CLEAN, (), Verdict()),
        ((*CLEAN, *CLEAN), (), Verdict()),
        (("drain a", "drain b", "restore b"), (), Verdict(left_drained=("a",))),
        (("drain a", *CLEAN), (), Verdict(run_twice=("drain a",))),
        (("drain a", *CLEAN), (("drain", "a"),), Verdict()),
        (("drain a", "drain a", *CLEAN), (("drain", "a"),), Verdict(run_twice=("drain a",))),
        ((*CLEAN, "restore a"), (), Verdict(run_twice=("restore a",))),
        ((*CLEAN, "restore a"), (("restore", "a"),), Verdict()),
        # Never started: not to be restored, unless the journal had it as running.
        (("restore a",), (), Verdict(run_twice=("restore a",))),
        (("restore a",), (("drain", "a"),), Verdict()),
        (("drain once", "drain once"), (), Verdict()),
    ],
)
def test_verdict_on_the_trace_of_tasks(
    trace: tuple[str, ...], interrupted: tuple[Run, ...], verdict: Verdict, tmp_path: Path
) -> None:
    tasks = [task("a"), task("b"), task("once", restore=None)]
    handler = HandlerProcess(tmp_path, "nowhere", tasks)
    (tmp_path / "trace").write_text("\n".join(trace) + "\n", encoding="utf-8")
    assert judged(handler, [], interrupted) == verdict


def test_cancelled_drain_may_have_left_no_trace(tmp_path: Path) -> None:
    handler = HandlerProcess(tmp_path, "nowhere", [task("a"), task("b")])
    handler.state_dir.mkdir()
    steps = [{"phase": "drain", "task": "a", "outcome": "cancelled"}, {"phase": "drain", "task": "b", "outcome": "ok"}]
    (handler.state_dir / "history.jsonl").write_text(
        json.dumps({"id": "1", "past": [], "held": [], "steps": steps}) + "\n", encoding="utf-8"
    )
    (tmp_path / "trace").write_text("restore a\nrestore b\n", encoding="utf-8")
    assert judged(handler, []) == Verdict(run_twice=("restore b",))


def test_announced_event_without_an_incident_is_an_error(tmp_path: Path) -> None:
    handler = HandlerProcess(tmp_path, "nowhere", [task("a")])
    handler.state_dir.mkdir()
    incident = {"id": "1", "past": [{"event": "migrate"}], "held": ["a"]}
    (handler.state_dir / "history.jsonl").write_text(json.dumps(incident) + "\n", encoding="utf-8")
    assert judged(handler, ["migrate", "preempt", "migrate"]) == Verdict(("preempt", "migrate"), ("a",))

# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program fleet_limit as a separate process, as the handler runs it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from .handler import PACKAGE_FOLDER
from .recipes import PATIENCE
from .vm_python import VM_PYTHON

PROGRAM = PACKAGE_FOLDER / "fleet_limit"


def started(verb: str, question: Any) -> subprocess.Popen[str]:
    """The program with a question as input, which may be text that is not JSON."""
    process = subprocess.Popen(
        [VM_PYTHON, "-I", str(PROGRAM), verb],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(question if isinstance(question, str) else json.dumps(question))
    process.stdin.flush()
    process.stdin.close()
    process.stdin = None
    return process


def ended(process: subprocess.Popen[str], timeout: float = 10.0) -> dict[str, Any]:
    """The answer."""
    with process:
        try:
            said, errors = process.communicate(timeout=timeout + PATIENCE)
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, "")
    answer: dict[str, Any] = json.loads(said)
    assert set(answer) == {"outcome", "state", "holders", "slots", "detail"}
    assert "Traceback" not in answer["detail"]
    assert "\n" not in answer["detail"]
    return answer


@dataclass(frozen=True)
class Vm:
    """One VM of a fleet with a limit."""

    id: str
    limit: dict[str, Any]

    def starts(self, verb: str, timeout: float = 10.0, **more: Any) -> subprocess.Popen[str]:
        question = {"limit": self.limit, "id": self.id, "reason": "terminate", "timeout": timeout, "state": {}}
        return started(verb, {**question, **more})

    def asks(self, verb: str, timeout: float = 10.0, **more: Any) -> dict[str, Any]:
        """Run a verb to its end. Returns the answer."""
        return ended(self.starts(verb, timeout, **more), timeout)

    def does(self, verb: str, timeout: float = 10.0, **more: Any) -> str:
        """Run a verb to its end. Returns its outcome."""
        return str(self.asks(verb, timeout, **more)["outcome"])

    @property
    def holders(self) -> list[str]:
        """The ids of all holders of the group, according to the store."""
        answer = self.asks("holders")
        assert answer["outcome"] == "ok", answer
        return sorted(one["id"] for one in answer["holders"])

# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions to the store of a fleet limit, each by a process: the libraries would cost the handler memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .._vm.records import dataclass, field
from ..core.observations import DENIED, FINE, HELD, INVALID, RELEASED, UNREACHABLE, SlotAnswered
from .files import read_own, write_whole
from .process import environment_for

# Beside the handler's package.
PROGRAM = Path(__file__).resolve().parents[2] / "fleet_limit"

CHECK = "check"
ACQUIRE = "acquire"
RENEW = "renew"
RELEASE = "release"
UNLOCK = "unlock"

# Seconds for an answer, and after them for the end of the process, which has to start and to report.
PATIENCE = 3.0
_GRACE = 2.0
_OUTCOMES = (HELD, DENIED, RELEASED, FINE, UNREACHABLE, INVALID)
_MOST_HOLDERS = 100
_LONGEST = 300
# Variables that would send the question, and the credentials in it, elsewhere.
_PROXIES = (b"http_proxy", b"https_proxy", b"all_proxy")


@dataclass(frozen=True)
class Question:
    """A question. `limit` are the settings for the program, `id` is the VM or, to unlock, the holder."""

    number: int
    verb: str
    limit: Mapping[str, Any]
    id: str = ""
    reason: str = ""
    state: Mapping[str, Any] = field(default_factory=dict)
    timeout: float = PATIENCE


class Ledger:
    """A file that exists while this VM may hold a slot: what is needed to give it back after a crash."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "fleet_limit.json"

    def read(self) -> tuple[str, dict[str, Any]] | None:
        """The id and the state with which a slot may be held; None if none is. Never raises."""
        try:
            raw = json.loads(read_own(self._path))
            return str(raw["id"]), dict(raw["state"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            self.clear()
            return None

    def write(self, holder: str, state: Mapping[str, Any]) -> None:
        """Never raises: a slot that is not recorded expires."""
        with suppress(OSError):
            write_whole(self._path, json.dumps({"id": holder, "state": state}).encode())

    def clear(self) -> None:
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def ask(question: Question) -> SlotAnswered:
    """The answer, in bounded time. Never raises: a failure is an answer with the outcome `unreachable`."""
    try:
        said = _said(question)
    except subprocess.TimeoutExpired:
        return _unreachable(question, f"no answer within {question.timeout:g} s")
    except (OSError, subprocess.SubprocessError, ValueError) as exc:
        return _unreachable(question, f"the program that asks the store cannot be started: {exc}")
    try:
        return _answer(question, json.loads(said))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return _unreachable(question, "the program that asks the store ended without an answer")


def _said(question: Question) -> bytes:
    words = {name: getattr(question, name) for name in ("limit", "id", "reason", "timeout", "state")}
    inherited = environment_for(None, {"LC_ALL": "C.UTF-8"})
    process = subprocess.Popen(
        [sys.executable, "-I", "-X", "utf8", str(PROGRAM), question.verb],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
        env={name: value for name, value in inherited.items() if name.lower() not in _PROXIES},
    )
    try:
        return process.communicate(json.dumps(words).encode(), timeout=question.timeout + _GRACE)[0]
    finally:
        # The process group exists as long as the process has not been waited for.
        if process.returncode is None:
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):
                    pipe is None or pipe.close()


def _answer(question: Question, raw: Any) -> SlotAnswered:
    """Raises ValueError, KeyError, TypeError or AttributeError."""
    if raw["outcome"] not in _OUTCOMES:
        raise ValueError(raw["outcome"])
    slots = raw.get("slots")
    holders = [
        {name: _line(holder.get(name)) for name in ("id", "reason", "since")}
        for holder in (raw.get("holders") or [])[:_MOST_HOLDERS]
    ]
    return SlotAnswered(
        question.number,
        raw["outcome"],
        _line(raw.get("detail")),
        tuple(holders),
        slots if isinstance(slots, int) else None,
        dict(raw.get("state") or {}),
    )


def _line(value: Any) -> str:
    """Text that may come from the network, as one line."""
    text = value if isinstance(value, str) else ""
    return "".join(one if one.isprintable() else "?" for one in text[:_LONGEST])


def _unreachable(question: Question, detail: str) -> SlotAnswered:
    return SlotAnswered(question.number, UNREACHABLE, detail, state=question.state)

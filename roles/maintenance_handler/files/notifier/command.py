# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: `run`, for the handler, and `test`, for a person who tries a target."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any

from maintenance_handler.core.notice_document import TEST, document
from maintenance_handler.core.notices import Notice
from maintenance_handler.io.notice_queue import NoticeQueue
from notifier import vm
from notifier.outcome import Refused, Unavailable
from notifier.service import Service, sender

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2

# Lower than the handler's, which drains: it must react on an overloaded VM.
_NICENESS = 10
# Presets that open something, which a test has to resolve.
_OPENING = ("pagerduty", "alertmanager")


def main(arguments: Sequence[str]) -> int:
    """Run it. Returns the exit status. The settings, one line of JSON on standard input, have secrets."""
    if list(arguments) not in (["run"], ["test"]):
        print("usage: run|test, with settings on standard input", file=sys.stderr)
        return EXIT_USAGE
    # Unbuffered: Python aborts at its end if a thread still waits in a buffered read of standard input.
    commands = FileIO(sys.stdin.fileno(), closefd=False)
    settings = json.loads(commands.readline())
    queue = NoticeQueue(Path(settings["state_dir"]))
    if arguments[0] == "test":
        worked = [_test(target, queue, settings) for target in settings["targets"]]
        return EXIT_OK if all(worked) else EXIT_FAILED
    _step_back()
    try:
        Service(settings, queue, commands, sys.stdout).run()
    except OSError as exc:
        print(json.dumps({"log": [["error", f"sending notices: {exc}"]]}), flush=True)
        return EXIT_FAILED
    finally:
        # The handler may have died. Python would fail to write again what is left when it closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_OK


def _test(target: Mapping[str, Any], queue: NoticeQueue, settings: Mapping[str, Any]) -> bool:
    """Send a notice to a target, print what came back, and return whether that worked."""
    now = time.time()
    names = vm.names(queue, settings.get("metadata_host"))
    for resolves in (False, True) if target.get("preset") in _OPENING else (False,):
        text = "this is a test" + (": it is over" if resolves else ", no action is required")
        notice = Notice(
            id=f"{TEST}-{int(now * 1000):x}", kind=TEST, text=text, at=now, opened_at=now, resolves=resolves
        )
        try:
            said = sender(target)(target, document(notice.to_dict(), names.values))
        except (Refused, Unavailable) as exc:
            print(f"{target['name']}: FAILED: {exc}", flush=True)
            return False
        print(f"{target['name']}: {said}", flush=True)
    return True


def _step_back() -> None:
    with suppress(OSError):
        os.nice(_NICENESS)
    # The handler is protected from being killed when memory is short (OOMScoreAdjust=-900), this process need not be.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("0", encoding="ascii")

# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that sends notices: started while there are some, so that its libraries never use the handler's memory.

It gets its settings, which have secrets, on standard input, not by arguments, which other users could see. Every
further line makes it look for new notices. When its standard input ends, because the handler stops or has died, it
tries once more to send what is queued, and ends.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Callable

from .notified import Notified

# Beside the handler's package. `python3 -I` takes it for a program.
PROGRAM = Path(__file__).resolve().parents[2] / "notifier"

# Characters of a report. Longer lines are not the notifier's.
_LONGEST = 1_000_000


class NotifierProcess:
    """A running notifier. `on_end` is called with its exit status, in another thread."""

    def __init__(
        self, settings: Mapping[str, Any], on_report: Callable[[Notified], None], on_end: Callable[[int], None]
    ) -> None:
        """Raises OSError."""
        self._process = subprocess.Popen(
            command("run"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Interrupted only with the handler, which hands over in its own time.
            start_new_session=True,
        )
        self._send(json.dumps(settings).encode())
        threading.Thread(target=self._read, args=(on_report, on_end), name="notifier", daemon=True).start()

    def look(self) -> bool:
        """Make it look for new notices. Returns whether it could be told."""
        return self._send(b"")

    def close(self) -> None:
        """Make it try once more, and end."""
        if self._process.stdin is not None:
            # What could not be written any more does not matter.
            with suppress(OSError):
                self._process.stdin.close()

    def _send(self, line: bytes) -> bool:
        if self._process.stdin is None or self._process.stdin.closed:
            return False
        try:
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()
        except (OSError, ValueError):
            # It has ended just now, and its pipe may be closed.
            return False
        return True

    def _read(self, on_report: Callable[[Notified], None], on_end: Callable[[int], None]) -> None:
        output = self._process.stdout
        if output is not None:
            with output:
                for line in iter(partial(output.readline, _LONGEST), b""):
                    with suppress(ValueError, RecursionError):
                        report = json.loads(line)
                        if isinstance(report, dict):
                            on_report(Notified(report))
        status = self._process.wait()
        self.close()
        on_end(status)


def command(*arguments: str) -> list[str]:
    """The command that runs the notifier."""
    return [sys.executable, "-I", "-X", "utf8", str(PROGRAM), *arguments]

# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of the demo."""

from __future__ import annotations

from pathlib import Path


class DemoError(Exception):
    """The demo cannot continue. The message is the reason."""


def end_of(log: Path, lines: int = 15) -> str:
    """The last lines of a log, indented, for a message."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])

# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page docs/docsite/rst/zero_loss.rst: introduction.rst, and a section with a table for each service."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from .machine import FOLDER
from .results import Result, restructured_text

_HEADING = re.compile(r"^(?P<title>.+)\n-+\n", re.MULTILINE)


def write_guide(path: Path, titles: Sequence[str], measured: Sequence[Result], day: str) -> None:
    """Write the sections in the order of `titles`. Those that were not measured now stay as they are in the file."""
    sections = _sections(path.read_text(encoding="utf-8")) if path.exists() else {}
    for title in dict.fromkeys(one.tier for one in measured):
        sections[title] = f"Measured on {day}.\n\n{restructured_text(title, measured)}"
    parts = [(FOLDER / "introduction.rst").read_text(encoding="utf-8").rstrip()]
    parts += (f"{title}\n{'-' * len(title)}\n\n{sections[title]}" for title in titles if title in sections)
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _sections(page: str) -> dict[str, str]:
    """The text of each section by its title."""
    headings = list(_HEADING.finditer(page))
    ends = [*(heading.start() for heading in headings[1:]), len(page)]
    return {heading["title"]: page[heading.end() : end].strip() for heading, end in zip(headings, ends, strict=True)}

# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page docs/docsite/rst/zero_loss.rst: introduction.rst, and the tables of a run."""

from __future__ import annotations

from pathlib import Path

from .machine import FOLDER
from .results import Result, restructured_text


def write_guide(path: Path, measured: list[Result]) -> None:
    introduction = (FOLDER / "introduction.rst").read_text(encoding="utf-8").rstrip()
    tiers = dict.fromkeys(one.tier for one in measured)
    parts = [introduction, *(f"{tier}\n{'-' * len(tier)}\n\n{restructured_text(tier, measured)}" for tier in tiers)]
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")

# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The handler's metrics."""

from __future__ import annotations

import re
from pathlib import Path


def parsed_metrics(path: Path) -> dict[str, float]:
    """Samples by name and labels, none before the first are written. Fails on text that a collector would reject."""
    if not path.exists():
        return {}
    samples: dict[str, float] = {}
    kinds: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        comment = re.fullmatch(r"# (HELP|TYPE) (\w+) (.+)", line)
        if comment:
            if comment[1] == "TYPE":
                assert comment[3] in ("gauge", "counter")
                assert comment[2] not in kinds
                kinds[comment[2]] = comment[3]
            continue
        sample = re.fullmatch(r'(\w+)(\{(?:\w+="(?:[^"\\\n]|\\["\\n])*"(?:,(?=\w)|(?=\})))*\})? (\S+)', line)
        assert sample, line
        assert sample[1] in kinds
        key = sample[1] + (sample[2] or "")
        assert key not in samples
        samples[key] = float(sample[3])
    return samples

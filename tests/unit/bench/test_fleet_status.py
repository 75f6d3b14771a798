# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The arithmetic of bench.fleet_status, and its requests."""

from __future__ import annotations

import pytest

from bench.fleet_status import MODULE, PLAYBOOK, POOL, Measured, measure, table, verdicts
from bench.turns import Turn


def turns(*seconds: float) -> list[Turn]:
    return [Turn(each, 1.0, 50.0, 10) for each in seconds]


@pytest.mark.parametrize("playbook, module, words", [(1.3, 1.2, ("met", "met")), (1.5, 1.31, ("missed", "missed"))])
def test_goals(playbook: float, module: float, words: tuple[str, str]) -> None:
    measured = Measured({PLAYBOOK: turns(playbook), MODULE: turns(module), POOL: turns(1.0)}, 500_000, 2_000_000)
    assert tuple(line.split("]")[1].split("[")[0] for line in verdicts(measured)[:2]) == words
    assert "the page has 500 kB" in verdicts(measured)[2]
    assert table(measured, 3000).row_count == 3


def test_all_processes_send_the_same_requests() -> None:
    measured = measure(instances=4, turns=1)
    # Two lists, and a request for each.
    assert {kind: each[0].requests for kind, each in measured.turns.items()} == dict.fromkeys(measured.turns, 2 + 4)
    assert measured.page > 1000
    assert measured.json > 1000

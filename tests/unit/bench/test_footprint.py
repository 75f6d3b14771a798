# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the footprint benchmark reads /proc and counts requests a minute."""

from __future__ import annotations

import os
import subprocess
from collections import Counter

import pytest

from bench.footprint import Footprint, cpu_seconds, family, memory_of, most_requests, verdicts


@pytest.mark.parametrize("seconds, most", [(1, 1), (60, 1), (61, 2), (120, 2), (180, 3)])
def test_one_request_a_minute(seconds: float, most: int) -> None:
    assert most_requests(seconds) == most


def test_family_has_all_descendants_of_a_process() -> None:
    with subprocess.Popen(
        ["sh", "-c", "sleep 60 & cat; kill $!"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as shell:
        try:
            assert shell.stdin is not None
            assert shell.stdout is not None
            shell.stdin.write(b"x")
            shell.stdin.flush()
            # Once cat has answered, both children are there.
            shell.stdout.read(1)
            assert len(list(family(shell.pid))) == 3
        finally:
            shell.communicate()


def test_reads_memory_and_time_of_a_process() -> None:
    memory = memory_of(os.getpid())
    assert 0 < memory["Pss"] <= memory["Rss"]
    before = cpu_seconds(os.getpid())
    while cpu_seconds(os.getpid()) == before:
        sum(range(10_000))


def test_reports_whether_each_goal_is_met() -> None:
    handler = Footprint(
        "the handler", 66, 200, 0.0, Counter({"instance/preempted": 3, "instance/maintenance-event": 1})
    )
    sample = Footprint("the sample", 100, 200, 0.0, Counter())
    lines = verdicts({"handler": handler, "sample": sample}, 120)
    assert ["met" in line for line in lines] == [False, False, False]
    assert "not measured" in lines[2]
    lines = verdicts({"handler": handler, "sample": sample}, 180)
    assert ["met" in line for line in lines] == [False, True, False]
    assert "0.66 × the sample's" in lines[0]
    assert "no key more than 3 times" in lines[1]


@pytest.mark.parametrize("added, is_met", [(-100, True), (1536, True), (1700, False)])
def test_reports_what_a_limit_adds(added: int, is_met: bool) -> None:
    handler = Footprint("the handler", 10_000, 20_000, 0.0, Counter())
    sample = Footprint("the sample", 20_000, 30_000, 0.0, Counter())
    limited = Footprint("limited", 10_000 + added, 20_000, 0.0, Counter())
    line = verdicts({"handler": handler, "sample": sample, "limited": limited}, 60)[2]
    assert ("met" in line) == is_met
    assert f"adds {added / 1024:.1f} MiB" in line

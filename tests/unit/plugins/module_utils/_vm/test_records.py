# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records behave as the data classes of the standard library do."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import pytest

from maintenance_handler._vm import records


def classes(module: Any) -> tuple[type, type]:
    @module.dataclass(frozen=True)
    class Point:
        x: float
        y: float = 2.0
        labels: dict[str, str] = module.field(default_factory=dict)

        @property
        def total(self) -> float:
            return self.x + self.y

    @module.dataclass
    class Job:
        name: str
        done: bool = False

    return Point, Job


POINT, JOB = classes(records)
PEER_POINT, PEER_JOB = classes(dataclasses)


@pytest.mark.parametrize(
    "positional, named",
    [((1.0,), {}), ((1.0, 3.0), {}), ((), {"x": 1.0, "labels": {"a": "b"}}), ((1.0,), {"y": 0})],
)
def test_constructor_fields_and_repr(positional: tuple[float, ...], named: dict[str, Any]) -> None:
    ours, peer = POINT(*positional, **named), PEER_POINT(*positional, **named)
    assert vars(ours) == vars(peer)
    assert list(vars(ours)) == list(vars(peer))
    assert repr(ours) == repr(peer)
    assert ours.total == peer.total


@pytest.mark.parametrize(
    "positional, named", [((), {}), ((1, 2, {}, 4), {}), ((1,), {"x": 1}), ((1,), {"unknown": 1}), ((), {"y": 1})]
)
def test_wrong_arguments(positional: tuple[float, ...], named: dict[str, Any]) -> None:
    for kind in (POINT, PEER_POINT):
        with pytest.raises(TypeError):
            kind(*positional, **named)


def test_default_is_created_for_each_object() -> None:
    POINT(1).labels["a"] = "b"
    assert POINT(1).labels == {}


def test_equality() -> None:
    for point, job in ((POINT, JOB), (PEER_POINT, PEER_JOB)):
        assert point(1) == point(1, 2.0)
        assert point(1) != point(2)
        assert job("1") == job("1")
        assert job("1") != point("1")


def test_only_frozen_records_have_a_hash() -> None:
    @records.dataclass(frozen=True)
    class Pair:
        a: int
        b: int

    assert len({Pair(1, 2), Pair(1, 2), Pair(2, 1)}) == 2
    for job in (JOB, PEER_JOB):
        with pytest.raises(TypeError):
            hash(job("1"))


def test_without_equality_an_object_equals_itself_only() -> None:
    @records.dataclass(eq=False)
    class Running:
        name: str

    one = Running("a")
    assert one in {one}
    assert one != Running("a")


def test_only_frozen_records_refuse_changes() -> None:
    for point, job in ((POINT(1), JOB("a")), (PEER_POINT(1), PEER_JOB("a"))):
        with pytest.raises(AttributeError):
            point.x = 2
        with pytest.raises(AttributeError):
            del point.x
        job.name = "b"
        assert job.name == "b"


def test_replace() -> None:
    point = POINT(1, labels={"a": "b"})
    assert records.replace(point, x=5) == POINT(5, labels={"a": "b"})
    assert point.x == 1
    with pytest.raises(TypeError):
        records.replace(point, unknown=1)


def test_handler_does_not_import_dataclasses() -> None:
    code = "import sys, maintenance_handler.app.cli_run; print(*{'dataclasses', 'inspect'}.intersection(sys.modules))"
    environ = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, [])

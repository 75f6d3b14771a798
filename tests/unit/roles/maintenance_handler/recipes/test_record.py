# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record that a recipe writes before it changes something."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from recipes.record import Record
from support.recipes import RECIPES

ENVIRON = "GCE_RECIPE_RECORDS"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {ENVIRON: str(tmp_path / "state" / "recipes")}


def test_next_run_reads_the_record(environ: dict[str, str]) -> None:
    with Record.of("lb web/one", environ, locked=True) as record:
        assert "one" not in record
        record.note("one", {"was": "UP"})
        record.note("two", None)
    with Record.of("lb web/one", environ, locked=True) as record:
        assert record.get("one") == {"was": "UP"}
        assert record.keys() == ["one", "two"]
        record.forget("one")
        record.forget("two")
        record.forget("three")
        assert record.keys() == []
    with Record.of("lb web/two", environ, locked=True) as other:
        assert other.keys() == []


def test_record_is_private(environ: dict[str, str], tmp_path: Path) -> None:
    with Record.of("lb", environ, locked=True) as record:
        record.note("one", "UP")
    assert [path.stat().st_mode & 0o077 for path in (tmp_path / "state" / "recipes").iterdir()] == [0, 0]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"machine": "another one", "changed": {"one": "UP"}}'])
def test_damaged_record_and_one_of_another_machine_are_ignored(text: str, environ: dict[str, str]) -> None:
    with Record.of("lb", environ, locked=True) as record:
        record.path.write_text(text, encoding="utf-8")
        assert record.keys() == []
        record.note("two", "UP")
        assert record.keys() == ["two"]


def test_any_name_has_a_file(environ: dict[str, str]) -> None:
    identities = [
        "lb ../../etc/passwd",
        "lb a\nb",
        "lb " + "x" * 300,
        "lb " + "x" * 299 + "y",
        "lb ü",
        "lb a/b",
        "lb a b",
    ]
    for identity in identities:
        with Record.of(identity, environ, locked=True) as record:
            record.note("one", identity)
            assert record.path.parent == Path(environ[ENVIRON])
    for identity in identities:
        with Record.of(identity, environ, locked=False) as record:
            assert record.get("one") == identity


def test_second_run_waits_for_the_first_one(environ: dict[str, str]) -> None:
    """As by hand while the handler runs it."""
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); from recipes.record import Record\n"
        "with Record.of('lb', os.environ, locked=True) as record: print(record.get('one'))"
    )
    with Record.of("lb", environ, locked=True) as record:
        other = subprocess.Popen(
            [sys.executable, "-c", code, str(RECIPES.parent)],
            env={**os.environ, **environ},
            stdout=subprocess.PIPE,
            text=True,
        )
        record.note("one", "noted while the other waited")
    assert other.communicate(timeout=20)[0].strip() == "noted while the other waited"


def test_record_is_readable_text(environ: dict[str, str]) -> None:
    with Record.of("lb", environ, locked=True) as record:
        record.note("one", "UP")
        assert json.loads(record.path.read_bytes())["changed"] == {"one": "UP"}

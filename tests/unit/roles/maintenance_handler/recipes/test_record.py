# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record that a recipe writes before it changes something."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from recipes.record import Record
from support.emulator import eventually
from support.recipes import PATIENCE, RECIPES, Recipe
from support.vm_python import VM_PYTHON

ENVIRON = "GCE_RECIPE_RECORDS"
SHORT_NAME = socket.gethostname().partition(".")[0]


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
            [VM_PYTHON, "-c", code, str(RECIPES.parent)],
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


def test_record_survives_a_change_between_the_short_and_the_full_host_name(tmp_path: Path) -> None:
    """DHCP sets one or the other while a VM starts."""
    file = tmp_path / "state"
    recipe = Recipe("lame_duck", tmp_path / "records", file=str(file), drain_seconds=0)
    for name in (f"{SHORT_NAME}.c.project-1.internal", SHORT_NAME):
        recipe.does("drain")
        rename(recipe, name)
        assert "by this recipe" in recipe.does("state")
        recipe.does("restore")
        assert not file.exists()
        assert recipe.record == {}


def test_restore_refuses_the_record_of_another_host_name(tmp_path: Path) -> None:
    file = tmp_path / "state"
    recipe = Recipe("lame_duck", tmp_path / "records", file=str(file), drain_seconds=0)
    recipe.does("drain")
    rename(recipe, "localhost-before-dhcp")
    words = recipe.refuses("restore")
    assert "is the record of host localhost-before-dhcp" in words
    assert "delete the file" in words
    assert list(recipe.record) == [str(file)]
    rename(recipe, SHORT_NAME)
    recipe.does("restore")
    # No changes are in it, so the name does not matter.
    rename(recipe, "localhost-before-dhcp")
    assert "nothing to restore" in recipe.does("restore")


def rename(recipe: Recipe, host: str) -> None:
    """As if the host had had this name when it wrote the record."""
    [path] = recipe.records.glob("*.json")
    document = json.loads(path.read_bytes())
    document["machine"] = f"{document['machine'].partition(' ')[0]} {host}"
    path.write_text(json.dumps(document), encoding="utf-8")


@pytest.mark.parametrize("verb", ["drain", "restore"])
def test_run_waits_for_another_one_within_its_time(verb: str, tmp_path: Path) -> None:
    recipe = Recipe("lame_duck", tmp_path / "records", file=str(tmp_path / "state"), drain_seconds=0)
    recipe.does(verb)
    [lock] = recipe.records.glob("*.lock")
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = recipe.run(verb, timeout=1.0)
        assert (done.returncode, done.stdout) == (
            3,
            "the time is over: another run of this recipe is still working\n",
        )
        assert "health check" in recipe.does("state")
        waiting = recipe.start(verb, timeout=60.0)
        # It handles SIGTERM before it opens the lock.
        eventually(lambda: has_open(waiting.pid, lock))
        waiting.terminate()
        assert waiting.communicate(timeout=PATIENCE)[0] == done.stdout
        assert waiting.returncode == 3
        after = recipe.start(verb, timeout=60.0)
    assert after.communicate(timeout=PATIENCE)[0]
    assert after.returncode == 0


def has_open(process: int, path: Path) -> bool:
    # Unlike readlink, realpath ignores a descriptor that was closed in the meantime.
    return any(os.path.realpath(one) == str(path) for one in Path(f"/proc/{process}/fd").iterdir())

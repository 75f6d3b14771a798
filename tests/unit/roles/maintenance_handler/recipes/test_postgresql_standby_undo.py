# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recipe postgresql_standby when commands of the user fail or hang, with substitutes for PostgreSQL's programs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.emulator import eventually
from support.recipes import PATIENCE, Recipe

# Servers are files in its folder: `own` and `peer`, with their roles.
PSQL = """
case "$*" in *host=peer*) server=peer ;; *) server=own ;; esac
case "$*" in
    *"case when pg_is_in_recovery"*) echo 0/3000000 ;;
    *pg_is_in_recovery*)
        case $(cat "$FOLDER/$server") in
            primary) echo f ;;
            standby) echo t ;;
            *) echo "connection refused" >&2; exit 2 ;;
        esac ;;
    *system_identifier*) echo 42 ;;
    *wal_receiver*) echo streaming ;;
    *pg_wal_lsn_diff*) echo -1 ;;
    *server_version_num*) echo 150000 ;;
    *data_directory*) echo "$FOLDER" ;;
esac
"""
CONTROL_DATA = """
echo "Database cluster state:               shut down"
echo "Latest checkpoint location:           0/2000028"
"""
STOP = 'echo down > "$FOLDER/own"'
START = 'echo primary > "$FOLDER/own"'
PROMOTE = 'echo primary > "$FOLDER/peer"'
HANG = "exec sleep 60"
# Seconds for a run that has to use all of them.
SHORT = 16.0


class Pair:
    """A primary, its standby, and the commands of the recipe."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.set("own", "primary")
        self.set("peer", "standby")
        (folder / "standby.signal").touch()
        self.script("psql", PSQL)
        self.script("pg_isready", "exit 2")
        self.script("pg_controldata", CONTROL_DATA)

    def set(self, server: str, role: str) -> None:
        (self.folder / server).write_text(f"{role}\n", encoding="utf-8")

    @property
    def roles(self) -> tuple[str, str]:
        return self._read("own"), self._read("peer")

    @property
    def steps(self) -> list[str]:
        return self._read("steps").split()

    def script(self, name: str, body: str) -> str:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\nFOLDER={self.folder}\n{body}\n", encoding="utf-8")
        path.chmod(0o755)
        return str(path)

    def recipe(self, *, promote: str = PROMOTE, demote: str | None = STOP, start: str | None = START) -> Recipe:
        bodies = {"promote": promote, "demote": demote, "start": start}
        commands = {
            name: [self.script(name, f'echo {name} >> "$FOLDER/steps"\n{body}'), "--token", "hunter2"]
            for name, body in bodies.items()
            if body is not None
        }
        return Recipe(
            "postgresql_standby",
            self.folder / "records",
            environ={"PATH": f"{self.bin}:{os.environ['PATH']}"},
            connection="host=own",
            peer="host=peer",
            bin_dir=str(self.bin),
            **commands,
        )

    def _read(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8").strip()


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def test_is_handed_over(pair: Pair) -> None:
    pair.recipe().does("drain", timeout=60)
    assert (pair.steps, pair.roles) == (["demote", "promote"], ("down", "primary"))


def test_the_primary_is_started_again_if_promote_succeeds_in_vain(pair: Pair) -> None:
    line = pair.recipe(promote="exit 0").refuses("drain", timeout=SHORT)
    assert line == "the peer has not become the primary: the peer is a standby"
    assert (pair.steps, pair.roles) == (["demote", "promote", "start"], ("primary", "standby"))


def test_the_primary_is_started_again_if_demote_hangs(pair: Pair) -> None:
    line = pair.recipe(demote=f"{STOP}\n{HANG}").refuses("drain", timeout=SHORT)
    assert line.startswith(f"the peer has not become the primary: {pair.bin}/demote did not end within ")
    assert (pair.steps, pair.roles) == (["demote", "start"], ("primary", "standby"))


def test_a_late_promote_is_not_undone_and_the_report_has_what_to_do(pair: Pair) -> None:
    line = pair.recipe(promote=HANG).refuses("drain", timeout=SHORT)
    assert f"{pair.bin}/promote did not end within " in line
    assert line.endswith("; the peer may still be promoted: if it is not, run start by hand")
    assert (pair.steps, pair.roles) == (["demote", "promote"], ("down", "standby"))


def test_the_primary_is_started_again_if_promote_cannot_be_run(pair: Pair) -> None:
    recipe = pair.recipe()
    (pair.bin / "promote").unlink()
    assert "/promote cannot be run: No such file" in recipe.refuses("drain", timeout=SHORT)
    assert (pair.steps, pair.roles) == (["demote", "start"], ("primary", "standby"))


def test_a_peer_that_may_be_the_primary_is_not_given_a_second_one(pair: Pair) -> None:
    line = pair.recipe(promote='echo down > "$FOLDER/peer"; exit 1').refuses("drain", timeout=SHORT)
    assert line.endswith("; the peer may still be promoted: if it is not, run start by hand")
    assert (pair.steps, pair.roles) == (["demote", "promote"], ("down", "down"))


@pytest.mark.parametrize(
    "start, why", [("echo no space left >&2; exit 3", "start failed with status 3: no space left"), (HANG, "start did")]
)
def test_a_failed_start_does_not_hide_why_it_was_necessary(start: str, why: str, pair: Pair) -> None:
    line = pair.recipe(promote="echo cannot reach peer >&2; exit 1", start=start).refuses("drain", timeout=SHORT)
    assert line.startswith(
        f"the peer has not become the primary: {pair.bin}/promote failed with status 1: cannot reach peer; "
    )
    assert f"; this server is down or not a primary, run start by hand: {pair.bin}/{why}" in line
    assert pair.roles == ("down", "standby")


def test_without_start_the_report_has_the_role_of_this_server(pair: Pair) -> None:
    recipe = pair.recipe(demote=None, start=None, promote=f"{STOP}; exit 1")
    line = recipe.refuses("drain", timeout=SHORT)
    assert line.endswith("/promote failed with status 1; this VM's PostgreSQL is down or unreachable")


@pytest.mark.parametrize(
    "hanging, open_still",
    [
        ("demote", "demote had not ended, and this server may be stopped"),
        ("promote", "promote had not ended, and this server is stopped"),
    ],
)
def test_when_it_is_terminated_it_reports_the_command_that_ran(hanging: str, open_still: str, pair: Pair) -> None:
    recipe = pair.recipe(**{hanging: HANG})
    with recipe.start("drain", timeout=60) as drain:
        eventually(lambda: (pair.folder / "steps").exists() and hanging in pair.steps, within=30)
        drain.terminate()
        said, _none = drain.communicate(timeout=PATIENCE)
    assert (drain.returncode, said.splitlines()[-1]) == (3, f"the time is over: {open_still}")
    # The restore makes it the primary again, whatever had happened.
    recipe.does("restore", timeout=30)
    assert (pair.roles, recipe.record) == (("primary", "standby"), {})


def test_arguments_of_commands_are_not_in_the_report(pair: Pair) -> None:
    done = pair.recipe(promote="exit 1", start="exit 1").run("drain", timeout=SHORT)
    assert done.returncode == 1
    assert "hunter2" not in done.stdout

# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PostgreSQL server: its role, its position in the WAL, and what it left when it was shut down."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from recipes.commands import Failed, output
from recipes.psql import query
from recipes.run import Refusal, Run

PRIMARY = "a primary"
STANDBY = "a standby"
STARTING = "starting or stopping"
DOWN = "down or unreachable"
# It accepts connections, and does not answer in time: it may well be a primary.
SILENT = "not answering"

_TIMEOUT = 10.0
# By the exit status of pg_isready(1): the server rejects connections, there is no response, pg_isready was too slow.
_ROLES = {1: STARTING, 2: DOWN, None: SILENT}
# Where Debian and the PostgreSQL project put the programs of a version.
_FOLDERS = ("/usr/lib/postgresql/{}/bin", "/usr/pgsql-{}/bin")
_SHUT_DOWN = ("shut down", "shut down in recovery")


class Server:
    """A server that a connection string leads to."""

    def __init__(self, target: str, run: Run) -> None:
        self._target = target
        self._run = run

    def ask(self, statement: str) -> str:
        return query(self._target, statement, self._run.bounded(_TIMEOUT))

    def role(self) -> str:
        """Its role now. Raises `Refusal` if it runs and does not let us in."""
        try:
            return STANDBY if self.ask("select pg_is_in_recovery()") == "t" else PRIMARY
        except Failed as exc:
            if self._run.left() <= 0:
                # We have not waited for the server, so that nothing is known.
                raise
            if exc.status is None or "timeout expired" in str(exc):
                return SILENT
            status = self._readiness()
            if status not in _ROLES:
                raise
            return _ROLES[status]

    def system(self) -> str:
        """The identifier that the servers of a cluster share."""
        return self.ask("select system_identifier from pg_control_system()")

    def streams(self) -> bool:
        """Whether this standby receives WAL from another server."""
        return self.ask("select status from pg_stat_wal_receiver") == "streaming"

    def position(self) -> str:
        """The end of the WAL that it has written, or replayed as a standby."""
        return self.ask(
            "select case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end"
        )

    def missing(self, position: str) -> int:
        """The bytes between what this standby has replayed and a position; negative if it is beyond it."""
        return int(self.ask(f"select pg_wal_lsn_diff('{position}', pg_last_wal_replay_lsn())") or 1)

    def synchronous_standbys(self) -> tuple[str, int]:
        """The setting of this primary, and how many standbys could acknowledge commits."""
        names = self.ask("show synchronous_standby_names")
        return names, int(self.ask("select count(*) from pg_stat_replication where sync_state <> 'async'"))

    def _readiness(self) -> int | None:
        """The exit status of pg_isready; None if it takes too long."""
        command = ["pg_isready", "-q", "-t", "3", "-d", self._target]
        try:
            output(command, timeout=self._run.bounded(_TIMEOUT))
        except Failed as exc:
            return exc.status
        return 0


class ControlFile:
    """What pg_controldata shows of a server that does not run."""

    def __init__(self, program: str, data_directory: str) -> None:
        self.program = program
        self.data_directory = data_directory

    @classmethod
    def of(cls, server: Server, bin_dir: str | None) -> ControlFile:
        """The one of a server that runs. Raises `Refusal` if pg_controldata is not found."""
        version = int(server.ask("show server_version_num")) // 10000
        folders = [bin_dir] if bin_dir else [folder.format(version) for folder in _FOLDERS]
        path = os.pathsep.join(folders)
        program = shutil.which("pg_controldata", path=path) or (None if bin_dir else shutil.which("pg_controldata"))
        if program is None:
            raise Refusal(f"pg_controldata is not in {path}: set 'bin_dir'")
        return cls(program, server.ask("show data_directory"))

    def check(self) -> None:
        """Raises `Refusal` if it cannot be read."""
        self._fields()

    def shutdown_position(self) -> str:
        """Where the last checkpoint of a clean shutdown begins. Raises `Refusal` if the shutdown was not clean."""
        fields = self._fields()
        state = fields.get("Database cluster state")
        position = fields.get("Latest checkpoint location", "")
        if state not in _SHUT_DOWN or not re.fullmatch(r"[0-9A-F]+/[0-9A-F]+", position):
            raise Refusal(
                f"PostgreSQL was not shut down cleanly ({state}): the peer may lack transactions, and is not promoted"
            )
        return position

    def becomes_standby(self) -> bool:
        """Whether the server starts as a standby."""
        return Path(self.data_directory, "standby.signal").exists()

    def _fields(self) -> dict[str, str]:
        lines = output([self.program, "-D", self.data_directory], timeout=_TIMEOUT).splitlines()
        pairs = (line.partition(":")[::2] for line in lines)
        return {name.strip(): value.strip() for name, value in pairs}

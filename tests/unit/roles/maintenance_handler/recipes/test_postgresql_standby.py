# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recipe postgresql_standby, with two real PostgreSQLs and PgBouncer."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.emulator import eventually
from support.ports import free_port
from support.recipes import PATIENCE, Recipe

SEARCHED = f"/usr/sbin:/usr/bin:{os.environ.get('PATH', '')}"
BINARIES = "/usr/lib/postgresql/15/bin"
MISSING = [
    name
    for name in ("pgbouncer", "psql", "runuser", f"{BINARIES}/pg_ctl", f"{BINARIES}/pgbench")
    if shutil.which(name, path=SEARCHED) is None
]

pytestmark = pytest.mark.skipif(
    bool(MISSING) or os.geteuid() != 0, reason=f"needs root, and {', '.join(MISSING) or 'all is installed'}"
)


def as_postgres(*command: str, check: bool = True) -> str:
    done = subprocess.run(
        ["runuser", "-u", "postgres", "--", *command], check=False, stdout=subprocess.PIPE, text=True, cwd="/"
    )
    assert done.returncode == 0 or not check, command
    return done.stdout.strip()


class Postgres:
    def __init__(self, name: str, folder: Path) -> None:
        self.data = folder / name
        self.port = free_port()
        self._log = folder / f"{name}.log"
        self._folder = folder

    @property
    def target(self) -> str:
        return f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"

    def create(self) -> None:
        as_postgres(f"{BINARIES}/initdb", "-D", str(self.data), "-A", "trust", "--no-sync", "-E", "UTF8")
        self.configure()

    def copy(self, other: Postgres) -> None:
        where = ["-h", "127.0.0.1", "-p", str(other.port), "-U", "postgres"]
        as_postgres(f"{BINARIES}/pg_basebackup", *where, "-D", str(self.data), "-c", "fast", "--no-sync")
        self.configure()
        self.follow(other)

    def configure(self) -> None:
        with (self.data / "postgresql.conf").open("a", encoding="utf-8") as config:
            config.write(f"listen_addresses = '127.0.0.1'\nport = {self.port}\nfsync = off\nwal_log_hints = on\n")
            config.write(f"unix_socket_directories = '{self._folder}'\n")

    def follow(self, other: Postgres) -> None:
        as_postgres("touch", str(self.data / "standby.signal"))
        with (self.data / "postgresql.conf").open("a", encoding="utf-8") as config:
            config.write(f"primary_conninfo = 'host=127.0.0.1 port={other.port} user=postgres'\n")

    def start_first(self) -> None:
        """Start it on a port that nobody else on this machine has taken in the meantime."""
        for _time in range(5):
            if self._start(check=False):
                return
            self.port = free_port()
            with (self.data / "postgresql.conf").open("a", encoding="utf-8") as config:
                config.write(f"port = {self.port}\n")
        self.start()

    def start(self) -> None:
        self._start(check=True)

    def _start(self, check: bool) -> bool:
        command = [f"{BINARIES}/pg_ctl", "start", "-w", "-D", str(self.data), "-l", str(self._log)]
        return "server started" in as_postgres(*command, check=check)

    def stop(self, how: str = "fast") -> None:
        as_postgres(f"{BINARIES}/pg_ctl", "stop", "-w", "-m", how, "-D", str(self.data), check=False)

    def sql(self, statement: str) -> str | None:
        done = subprocess.run(
            ["psql", "-XAtw", self.target, "-c", statement], check=False, capture_output=True, text=True
        )
        return done.stdout.strip() if done.returncode == 0 else None

    @property
    def role(self) -> str:
        return {"f": "primary", "t": "standby", None: "down"}[self.sql("select pg_is_in_recovery()")]

    def streams(self) -> bool:
        return self.sql("select status from pg_stat_wal_receiver") == "streaming"


class Pair:
    """The primary `one` and its standby `two`, a PgBouncer, and scripts for the recipe on the VM of `one`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.one, self.two = Postgres("one", folder), Postgres("two", folder)
        self.one.create()
        self.one.start_first()
        self.two.copy(self.one)
        self.two.start_first()
        eventually(self.two.streams, within=60)
        # For the day when it is a standby.
        with (self.one.data / "postgresql.conf").open("a", encoding="utf-8") as config:
            config.write(f"primary_conninfo = 'host=127.0.0.1 port={self.two.port} user=postgres'\n")
        self.one.sql("create table written (at timestamptz default now())")
        self.pooler_port = free_port()
        self.pooler = f"host=127.0.0.1 port={self.pooler_port} user=postgres dbname=pgbouncer"
        self._config = folder / "pgbouncer.ini"
        self._start_pgbouncer()
        ctl = f"runuser -u postgres -- {BINARIES}/pg_ctl -w -D {self.one.data} -l {folder}/one.log"
        signal_file = f"{self.one.data}/standby.signal"
        to_two = f"sed -i 's/ port={self.one.port}/ port={self.two.port}/' {self._config}"
        reload = f"psql -XAtqw '{self.pooler}' -c RELOAD"
        self.scripts = {
            "demote": self.script("demote", f"{ctl} stop -m fast\ntouch {signal_file}\nchown postgres {signal_file}"),
            "promote": self.script(
                "promote", f"psql -XAtqw '{self.two.target}' -c 'select pg_promote()' | grep -q t\n{to_two}\n{reload}"
            ),
            "start": self.script("start", f"rm -f {signal_file}\n{ctl} start"),
            "rejoin": self.script("rejoin", f"touch {signal_file}\nchown postgres {signal_file}\n{ctl} restart"),
        }

    def script(self, name: str, body: str) -> str:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\nset -e\necho {name} >> {self.folder}/steps\n{body}\n", encoding="utf-8")
        path.chmod(0o755)
        return str(path)

    @property
    def steps(self) -> list[str]:
        path = self.folder / "steps"
        return path.read_text(encoding="utf-8").split() if path.exists() else []

    @property
    def roles(self) -> tuple[str, str]:
        return self.one.role, self.two.role

    def pooled(self, statement: str) -> str | None:
        target = f"host=127.0.0.1 port={self.pooler_port} user=postgres dbname=postgres"
        done = subprocess.run(["psql", "-XAtw", target, "-c", statement], check=False, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else None

    def stop(self) -> None:
        self.two.stop("immediate")
        self.one.stop("immediate")
        self._pgbouncer.terminate()
        self._pgbouncer.wait(PATIENCE)

    def _start_pgbouncer(self) -> None:
        users = self.folder / "users.txt"
        users.write_text('"postgres" ""\n', encoding="utf-8")
        self._config.write_text(
            f"[databases]\n* = host=127.0.0.1 port={self.one.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {self.pooler_port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {users}\n"
            "admin_users = postgres\npool_mode = transaction\n",
            encoding="utf-8",
        )
        for path in (users, self._config):
            shutil.chown(path, "postgres")
        with (self.folder / "pgbouncer.log").open("ab") as log:
            command = ["runuser", "-u", "postgres", "--", "pgbouncer", str(self._config)]
            environment = {**os.environ, "PATH": SEARCHED}
            self._pgbouncer = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd="/")
        eventually(lambda: self.pooled("select 1") == "1", within=30)


@pytest.fixture
def pair() -> Iterator[Pair]:
    # Not below pytest's folder, which only root may enter.
    folder = Path(tempfile.mkdtemp(prefix="gce-guest-postgresql-"))
    shutil.chown(folder, "postgres", "postgres")
    folder.chmod(0o755)
    started = Pair(folder)
    yield started
    started.stop()
    shutil.rmtree(folder)


@pytest.fixture
def make(pair: Pair, tmp_path: Path) -> Callable[..., Recipe]:
    given = {"connection": pair.one.target, "peer": pair.two.target, "pgbouncers": pair.pooler, **pair.scripts}
    return lambda **parameters: Recipe("postgresql_standby", tmp_path / "records", **{**given, **parameters})


def start_load(pair: Pair, seconds: int) -> subprocess.Popen[str]:
    script = pair.folder / "load.sql"
    script.write_text("insert into written default values;\n", encoding="utf-8")
    where = ["-h", "127.0.0.1", "-p", str(pair.pooler_port), "-U", "postgres"]
    how = ["-n", "-f", str(script), "-c", "4", "-R", "100", "-T", str(seconds)]
    command = [f"{BINARIES}/pgbench", *where, *how, "postgres"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_no_transaction_fails_through_pgbouncer_and_none_is_lost(make: Callable[..., Recipe], pair: Pair) -> None:
    recipe = make()
    assert "is a primary, the peer is a standby" in recipe.does("check", timeout=60)
    assert pair.steps == []
    load = start_load(pair, seconds=15)
    eventually(lambda: int(pair.pooled("select count(*) from written") or 0) > 50)
    said = recipe.does("drain", timeout=60)
    assert "would start as a primary" not in said
    report, _none = load.communicate(timeout=120)
    assert load.returncode == 0, report
    [processed] = re.findall(r"number of transactions actually processed: (\d+)", report)
    assert "number of failed transactions: 0" in report
    assert pair.two.sql("select count(*) from written") == processed
    assert pair.steps == ["demote", "promote"]
    recipe.does("drain", timeout=60)
    assert pair.steps == ["demote", "promote"]
    assert "handed over by this recipe" in recipe.does("state")
    # The boot: as demote left it, the server starts as a standby.
    pair.one.start()
    for _time in range(2):
        recipe.does("restore", timeout=60)
    assert pair.roles == ("standby", "primary")
    assert (pair.one.streams(), recipe.record) == (True, {})
    assert pair.steps == ["demote", "promote"]


def test_a_standby_that_lags_is_not_promoted(make: Callable[..., Recipe], pair: Pair) -> None:
    pair.two.sql("select pg_wal_replay_pause()")
    pair.one.sql("insert into written default values")
    recipe = make()
    done = recipe.run("drain", timeout=30)
    assert done.returncode == 3, done.stdout
    assert re.search(r"the peer has \d+ bytes of WAL to replay", done.stdout)
    assert (pair.steps, pair.roles) == ([], ("primary", "standby"))
    assert pair.pooled("select 1") == "1"
    pair.two.sql("select pg_wal_replay_resume()")
    assert "nothing to restore" in recipe.does("restore")


def test_the_primary_is_started_again_if_promote_fails(make: Callable[..., Recipe], pair: Pair) -> None:
    recipe = make(promote=pair.script("promote", "echo the peer says no; exit 7"))
    line = recipe.refuses("drain", timeout=60)
    assert "the peer has not become the primary" in line
    assert "failed with status 7: the peer says no" in line
    assert pair.steps == ["demote", "promote", "start"]
    assert pair.roles == ("primary", "standby")
    assert pair.pooled("insert into written default values") == "INSERT 0 1"
    recipe.does("restore", timeout=60)
    assert pair.steps == ["demote", "promote", "start"]


def test_a_server_that_was_not_shut_down_cleanly_is_not_given_up(make: Callable[..., Recipe], pair: Pair) -> None:
    ctl = f"runuser -u postgres -- {BINARIES}/pg_ctl -w -D {pair.one.data}"
    recipe = make(demote=pair.script("demote", f"{ctl} stop -m immediate"))
    assert "was not shut down cleanly (in production)" in recipe.refuses("drain", timeout=60)
    assert pair.steps == ["demote", "start"]
    assert pair.roles == ("primary", "standby")


def test_is_restored_after_it_was_cut_off(make: Callable[..., Recipe], pair: Pair) -> None:
    recipe = make(promote=pair.script("promote", "sleep 60"))
    with recipe.start("drain", timeout=90) as drain:
        eventually(lambda: "promote" in pair.steps, within=60)
        drain.send_signal(signal.SIGKILL)
        drain.communicate(timeout=PATIENCE)
    assert pair.roles == ("down", "standby")
    recipe.does("restore", timeout=20)
    assert pair.steps == ["demote", "promote", "start"]
    assert (pair.roles, recipe.record) == (("primary", "standby"), {})
    assert pair.pooled("select 1") == "1"


def test_a_second_primary_after_the_boot_rejoins(make: Callable[..., Recipe], pair: Pair) -> None:
    recipe = make(demote=pair.script("demote", f"runuser -u postgres -- {BINARIES}/pg_ctl -w -D {pair.one.data} stop"))
    assert "would start as a primary after the boot" in recipe.does("drain", timeout=60)
    pair.one.start()
    assert pair.roles == ("primary", "primary")
    recipe.parameters["rejoin"] = None
    done = recipe.run("restore", timeout=8)
    assert (done.returncode, "are both primaries: stop one of them" in done.stdout) == (3, True), done.stdout
    recipe.parameters["rejoin"] = pair.scripts["rejoin"]
    done = recipe.run("restore", timeout=30)
    # It has written a checkpoint of its own: a DBA has to rewind it, and the restore does not claim success before.
    assert pair.roles == ("standby", "primary")
    assert done.returncode == 3, done.stdout
    assert "does not receive WAL yet" in done.stdout


def test_a_standby_is_left_alone_or_taken_out_by_a_command(make: Callable[..., Recipe], pair: Pair) -> None:
    pair.one.sql("alter system set synchronous_standby_names = '*'")
    pair.one.sql("select pg_reload_conf()")
    eventually(lambda: pair.one.sql("select sync_state from pg_stat_replication") == "sync", within=60)
    recipe = make(connection=pair.two.target, peer=pair.one.target)
    recipe.does("check", timeout=60)
    assert "commits may wait" in recipe.does("drain", timeout=60)
    assert "nothing to restore" in recipe.does("restore")
    assert pair.steps == []
    recipe = make(
        connection=pair.two.target,
        peer=pair.one.target,
        leave=pair.script("leave", ":"),
        enter=pair.script("enter", ":"),
    )
    for _time in range(2):
        recipe.does("drain", timeout=60)
    assert pair.steps == ["leave"]
    pair.two.stop()
    done = recipe.run("restore", timeout=6)
    assert (done.returncode, "is down or unreachable" in done.stdout) == (3, True), done.stdout
    pair.two.start()
    for _time in range(2):
        recipe.does("restore", timeout=60)
    assert (pair.steps, pair.roles) == (["leave", "enter"], ("primary", "standby"))


def test_a_server_that_hangs_is_not_taken_for_stopped(make: Callable[..., Recipe], pair: Pair) -> None:
    [postmaster] = (pair.one.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()[:1]
    promote = f"psql -XAtqw '{pair.two.target}' -c 'select pg_promote()'\nkill -STOP {postmaster}"
    recipe = make(demote=None, start=None, pgbouncers=None, promote=pair.script("promote", promote))
    try:
        done = recipe.run("drain", timeout=12)
    finally:
        os.kill(int(postmaster), signal.SIGCONT)
    assert (done.returncode, "this VM's PostgreSQL is not answering" in done.stdout) == (3, True), done.stdout


def test_check_refuses_what_cannot_work(make: Callable[..., Recipe], pair: Pair, tmp_path: Path) -> None:
    other = Postgres("other", pair.folder)
    other.create()
    other.follow(pair.one)
    other.start_first()
    nobody = f"host=127.0.0.1 port={free_port()} user=postgres dbname=postgres"
    try:
        for wrong, words in (
            ({"promote": "/no/such"}, "'/no/such' of 'promote' does not exist"),
            ({"start": None}, "demote needs start"),
            ({"connection": nobody}, "this VM's PostgreSQL is down or unreachable"),
            ({"connection": pair.one.target.replace("user=postgres", "user=nobody")}, 'role "nobody" does not exist'),
            ({"peer": nobody}, "its peer is down or unreachable"),
            ({"peer": pair.one.target}, "its peer is a primary"),
            ({"peer": other.target}, "belongs to another cluster"),
            ({"peer": f"{pair.two.target} password=hunter2"}, "put it into ~/.pgpass"),
            ({"peer": "postgresql://postgres:hunter2@127.0.0.1/postgres"}, "put it into ~/.pgpass"),
            ({"bin_dir": "/usr/share"}, "pg_controldata is not in /usr/share: set 'bin_dir'"),
            ({"pgbouncers": nobody}, "psql"),
            ({"primary": pair.two.target}, "leads to a standby"),
        ):
            line = make(**wrong).refuses(timeout=60)
            assert words in line
            assert "hunter2" not in line
        eventually(pair.two.streams, within=60)
        pair.two.sql("alter system set primary_conninfo = ''")
        pair.two.sql("select pg_reload_conf()")
        eventually(lambda: not pair.two.streams(), within=60)
        assert "does not receive WAL" in make().refuses(timeout=60)
    finally:
        other.stop("immediate")
    assert (pair.steps, (tmp_path / "records").exists()) == ([], False)

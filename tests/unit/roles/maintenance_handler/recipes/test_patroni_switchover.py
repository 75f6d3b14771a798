# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recipe patroni_switchover, with two real PostgreSQLs under Patroni, etcd, HAProxy and PgBouncer."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from client.http import request
from recipes.run import Refusal
from support.emulator import eventually
from support.ports import free_port
from support.recipes import PATIENCE, Recipe

SEARCHED = f"/usr/sbin:/usr/bin:{os.environ.get('PATH', '')}"
BINARIES = "/usr/lib/postgresql/15/bin"
MISSING = [
    name
    for name in ("etcd", "patroni", "pgbouncer", "haproxy", "psql", "runuser", f"{BINARIES}/pgbench")
    if shutil.which(name, path=SEARCHED) is None
]

pytestmark = pytest.mark.skipif(
    bool(MISSING) or os.geteuid() != 0, reason=f"needs root, and {', '.join(MISSING) or 'all is installed'}"
)


class Member:
    def __init__(self, name: str, folder: Path, etcd_port: int) -> None:
        self.name = name
        self.port, self.rest_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.rest_port}"
        hba = ["local all all trust", "host all all 127.0.0.1/32 trust", "host replication all 127.0.0.1/32 trust"]
        config = {
            "scope": "test",
            "name": name,
            "restapi": {"listen": f"127.0.0.1:{self.rest_port}", "connect_address": f"127.0.0.1:{self.rest_port}"},
            "etcd3": {"host": f"127.0.0.1:{etcd_port}"},
            "bootstrap": {
                "dcs": {"ttl": 20, "loop_wait": 1, "retry_timeout": 3, "postgresql": {"use_pg_rewind": True}},
                "initdb": [{"encoding": "UTF8"}, "no-sync"],
            },
            "postgresql": {
                "listen": f"127.0.0.1:{self.port}",
                "connect_address": f"127.0.0.1:{self.port}",
                "data_dir": str(folder / name),
                "bin_dir": BINARIES,
                "pgpass": str(folder / f"{name}.pgpass"),
                "authentication": {"superuser": {"username": "postgres"}, "replication": {"username": "replicator"}},
                "parameters": {"unix_socket_directories": str(folder), "fsync": "off"},
                "pg_hba": hba,
            },
        }
        self._config = folder / f"{name}.yml"
        self._config.write_text(yaml.safe_dump(config), encoding="utf-8")
        self.log = folder / f"{name}.log"
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            command = ["runuser", "-u", "postgres", "--", "patroni", str(self._config)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)

    def answers(self, path: str) -> bool:
        try:
            return request(f"{self.url}{path}", timeout=5).status == 200
        except Refusal:
            return False


class Cluster:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        etcd_port, peer_port = free_port(), free_port()
        clients, peers = f"http://127.0.0.1:{etcd_port}", f"http://127.0.0.1:{peer_port}"
        self._spawn(
            "etcd",
            *(f"--data-dir={folder}/etcd", f"--listen-client-urls={clients}", f"--advertise-client-urls={clients}"),
            *(f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}"),
            f"--initial-cluster=default={peers}",
        )
        eventually(lambda: self._etcd_answers(clients), within=30)
        self.one = Member("one", folder, etcd_port)
        eventually(lambda: self.one.answers("/primary"), within=60, what="the first leader")
        self.two = Member("two", folder, etcd_port)
        eventually(lambda: self.two.answers("/replica"), within=60, what="the standby")
        self.balancer_port, self.pooler_port = free_port(), free_port()
        self._start_haproxy()
        self._start_pgbouncer()
        self.pooler = f"host=127.0.0.1 port={self.pooler_port} user=postgres dbname=pgbouncer"
        self.primary = f"host=127.0.0.1 port={self.balancer_port} user=postgres dbname=postgres"
        eventually(lambda: self.sql("create table written (at timestamptz default now())") == "CREATE TABLE", within=30)

    def sql(self, statement: str) -> str | None:
        """What psql prints, by way of PgBouncer; None if it fails."""
        target = f"host=127.0.0.1 port={self.pooler_port} user=postgres dbname=postgres"
        done = subprocess.run(["psql", "-XAtw", target, "-c", statement], check=False, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else None

    def start_load(self, seconds: int) -> subprocess.Popen[str]:
        script = self.folder / "load.sql"
        script.write_text("insert into written default values;\n", encoding="utf-8")
        where = ["-h", "127.0.0.1", "-p", str(self.pooler_port), "-U", "postgres"]
        how = ["-n", "-f", str(script), "-c", "4", "-R", "100", "-T", str(seconds)]
        command = [f"{BINARIES}/pgbench", *where, *how, "postgres"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def roles(self) -> tuple[str, str]:
        return tuple("leader" if one.answers("/primary") else "standby" for one in (self.one, self.two))  # type: ignore[return-value]

    def stop(self) -> None:
        for member in (self.two, self.one):
            member.process.send_signal(signal.SIGCONT)
            member.stop()
        for process in reversed(self._processes):
            process.terminate()
            process.wait(30)

    def _spawn(self, *command: str) -> None:
        with (self.folder / "others.log").open("ab") as log:
            environment = {**os.environ, "PATH": SEARCHED}
            self._processes.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment))

    def _etcd_answers(self, url: str) -> bool:
        try:
            return request(f"{url}/health", timeout=5).status == 200
        except Refusal:
            return False

    def _start_haproxy(self) -> None:
        servers = "".join(
            f"  server {one.name} 127.0.0.1:{one.port} check port {one.rest_port}\n" for one in (self.one, self.two)
        )
        config = self.folder / "haproxy.cfg"
        config.write_text(
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n"
            f"listen leader\n  bind 127.0.0.1:{self.balancer_port}\n  option httpchk GET /primary\n"
            "  # For 5 s after a switchover, both servers are up.\n"
            f"  default-server inter 200ms fall 25 rise 1 on-marked-down shutdown-sessions\n{servers}",
            encoding="utf-8",
        )
        self._spawn("haproxy", "-db", "-q", "-f", str(config))

    def _start_pgbouncer(self) -> None:
        users = self.folder / "users.txt"
        users.write_text('"postgres" ""\n', encoding="utf-8")
        config = self.folder / "pgbouncer.ini"
        config.write_text(
            f"[databases]\n* = host=127.0.0.1 port={self.balancer_port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {self.pooler_port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {users}\n"
            "admin_users = postgres\npool_mode = transaction\n",
            encoding="utf-8",
        )
        for path in (users, config):
            shutil.chown(path, "postgres")
        self._spawn("runuser", "-u", "postgres", "--", "pgbouncer", str(config))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    # Not below pytest's folder, into which only root may look.
    folder = Path(tempfile.mkdtemp(prefix="gce-guest-patroni-"))
    shutil.chown(folder, "postgres", "postgres")
    folder.chmod(0o750)
    started = Cluster(folder)
    yield started
    started.stop()
    shutil.rmtree(folder)


@pytest.fixture
def make(cluster: Cluster, tmp_path: Path) -> Any:
    """Makes the recipe for the member that leads, or that does not."""

    def make_one(leads: bool = True, **parameters: Any) -> tuple[Recipe, Member, Member]:
        eventually(lambda: sorted(cluster.roles()) == ["leader", "standby"], within=60)
        one, two = (cluster.one, cluster.two) if cluster.one.answers("/primary") else (cluster.two, cluster.one)
        eventually(lambda: two.answers("/replica"), within=60)
        given = {"pgbouncers": cluster.pooler, "primary": cluster.primary, **parameters}
        this = one if leads else two
        return Recipe("patroni_switchover", tmp_path / "records", rest_api=this.url, **given), one, two

    return make_one


def test_loses_no_transaction_through_pgbouncer(make: Any, cluster: Cluster) -> None:
    recipe, old, new = make()
    recipe.does("check")
    before = int(cluster.sql("select count(*) from written") or 0)
    load = cluster.start_load(seconds=15)
    eventually(lambda: int(cluster.sql("select count(*) from written") or 0) > before + 50)
    recipe.does("drain", timeout=60)
    assert (old.answers("/primary"), new.answers("/primary")) == (False, True)
    report, _none = load.communicate(timeout=120)
    assert load.returncode == 0, report
    [processed] = re.findall(r"number of transactions actually processed: (\d+)", report)
    assert "number of failed transactions: 0" in report
    assert int(cluster.sql("select count(*) from written") or 0) - before == int(processed)
    # Again, it is not the leader any more.
    recipe.does("drain")
    assert "switched over by this recipe" in recipe.does("state")
    for _time in range(2):
        recipe.does("restore", timeout=60)
    assert (old.answers("/primary"), new.answers("/primary")) == (False, True)
    assert recipe.record == {}


def test_standby_is_unchanged(make: Any, cluster: Cluster) -> None:
    recipe, leader, _standby = make(leads=False)
    for verb in ("check", "drain", "restore"):
        recipe.does(verb)
    assert leader.answers("/primary")


def test_switches_over_despite_an_open_transaction(make: Any, cluster: Cluster) -> None:
    recipe, _old, new = make(pause_seconds=1)
    target = f"host=127.0.0.1 port={cluster.pooler_port} user=postgres dbname=postgres"
    held = subprocess.Popen(["psql", "-Xw", target, "-c", "select pg_sleep(60)"], stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: cluster.sql("select count(*) from pg_stat_activity where query like '%pg_sl_ep%'") != "0")
        assert "transactions open after 1 s" in recipe.does("drain", timeout=60)
        assert new.answers("/primary")
        assert eventually(lambda: cluster.sql("select 1"), within=30) == "1"
    finally:
        held.kill()
        held.wait(PATIENCE)
    recipe.does("restore", timeout=60)


def test_clients_continue_after_a_kill_and_a_restore(make: Any, cluster: Cluster) -> None:
    recipe, _old, _new = make()
    environ = {"GCE_EVENT": "terminate"}
    with recipe.start("drain", timeout=60, **environ) as drain:
        eventually(lambda: "paused" in (recipe.record if any(recipe.records.glob("*.json")) else {}))
        drain.send_signal(signal.SIGKILL)
        drain.communicate(timeout=PATIENCE)
    recipe.does("restore", timeout=60)
    assert cluster.sql("select 1") == "1"
    assert recipe.record == {}


def test_fails_without_a_candidate_and_pauses_no_pool(make: Any, cluster: Cluster) -> None:
    recipe, leader, standby = make()
    standby.stop()
    try:
        eventually(lambda: "no member can take over" in recipe.run("check").stdout, within=60)
        assert "no member can take over" in recipe.refuses("drain")
        assert cluster.sql("select 1") == "1"
        assert leader.answers("/primary")
    finally:
        standby.start()
        eventually(lambda: standby.answers("/replica"), within=60)


def test_check_reports_invalid_parameters(make: Any, cluster: Cluster, tmp_path: Path) -> None:
    recipe, _leader, standby = make()
    right = dict(recipe.parameters)
    for wrong, words in (
        ({"rest_api": f"http://127.0.0.1:{free_port()}"}, "Connection refused"),
        ({"candidate": "three"}, "the candidate three is not a member"),
        ({"pgbouncers": f"host=127.0.0.1 port={free_port()} dbname=pgbouncer user=postgres"}, "psql"),
        ({"primary": f"host=127.0.0.1 port={standby.port} user=postgres dbname=postgres"}, "leads to a standby"),
        ({"primary": "host=127.0.0.1 password=hunter2"}, "put it into ~/.pgpass"),
        ({"auth_file": "/no/such"}, "/no/such cannot be read"),
    ):
        recipe.parameters = {**right, **wrong}
        assert words in recipe.refuses()
    assert not (tmp_path / "records").exists()

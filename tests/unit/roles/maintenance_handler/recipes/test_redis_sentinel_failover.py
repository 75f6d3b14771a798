# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recipe redis_sentinel_failover, with two real Redis servers and a Sentinel."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recipes.run import Refusal
from support.emulator import eventually
from support.ports import free_port
from support.recipes import PATIENCE, RECIPES, Recipe

needs_redis = pytest.mark.skipif(
    not all(map(shutil.which, ("redis-server", "redis-sentinel"))),
    reason="redis-server and redis-sentinel are not installed",
)
pytestmark = needs_redis


def _connection_class() -> Any:
    import importlib.util

    spec = importlib.util.spec_from_file_location("redis_program", RECIPES / "redis_sentinel_failover" / "program.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Connection


Connection = _connection_class()


class Server:
    """A Redis server or a Sentinel."""

    def __init__(self, folder: Path, port: int, *lines: str, program: str = "redis-server") -> None:
        self.port = port
        self.address = f"tcp:127.0.0.1:{port}"
        folder.mkdir()
        self._program = program
        self._config = folder / "redis.conf"
        common = ["bind 127.0.0.1", f"port {port}", f"dir {folder}", 'save ""', "repl-diskless-sync-delay 0"]
        if program == "redis-sentinel":
            common = common[:3]
        self._config.write_text("\n".join([*common, *lines]) + "\n", encoding="utf-8")
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen([self._program, str(self._config)], stdout=subprocess.DEVNULL)
        eventually(lambda: self.ask("PING") == "PONG")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)

    def ask(self, *words: str) -> Any:
        """The answer; None without one."""
        try:
            connection = Connection(self.address, None, PATIENCE)
        except Refusal:
            return None
        try:
            return connection(*words)
        except Refusal:
            return None
        finally:
            connection.close()

    @property
    def role(self) -> str:
        return str((self.ask("ROLE") or ["gone"])[0])

    @property
    def priority(self) -> str:
        return str(self.ask("CONFIG", "GET", "replica-priority")[1])


class Cluster:
    def __init__(self, folder: Path) -> None:
        ports = [free_port() for _each in range(3)]
        self.one = Server(folder / "one", ports[0])
        self.two = Server(folder / "two", ports[1], f"replicaof 127.0.0.1 {ports[0]}")
        self.sentinels: list[Server] = []
        self.sentinel = self.add_sentinel(folder / "sentinel", ports[2])

    def add_sentinel(self, folder: Path, port: int) -> Server:
        sentinel = Server(
            folder,
            port,
            f"sentinel monitor mymaster 127.0.0.1 {self.one.port} 1",
            "sentinel down-after-milliseconds mymaster 60000",
            "sentinel failover-timeout mymaster 5000",
            program="redis-sentinel",
        )
        self.sentinels.append(sentinel)
        eventually(lambda: known_replicas(sentinel) == 1, within=30, what="that Sentinel knows the replica")
        return sentinel

    def master_port(self) -> int:
        return int(self.sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster")[1])

    def stop(self) -> None:
        for server in (*self.sentinels, self.two, self.one):
            server.stop()


def known_replicas(sentinel: Server) -> int:
    replicas = sentinel.ask("SENTINEL", "REPLICAS", "mymaster")
    return sum("disconnected" not in one[9] for one in replicas or [])


def enter_tilt_mode(sentinel: Server) -> None:
    """As after a live migration. It stays in this mode: each turn of its timer takes longer than 1 ms."""
    sentinel.ask("SENTINEL", "DEBUG", "tilt-trigger", "1")
    eventually(lambda: "sentinel_tilt:1" in sentinel.ask("INFO", "sentinel"), what="TILT mode")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    started = Cluster(tmp_path)
    yield started
    started.stop()


@pytest.fixture
def recipe(cluster: Cluster, tmp_path: Path) -> Recipe:
    return Recipe(
        "redis_sentinel_failover", tmp_path / "records", redis=cluster.one.address, sentinels=cluster.sentinel.address
    )


class Writer:
    """Writes to Sentinel's current master, and counts acknowledged writes."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._over = threading.Event()
        self.acknowledged: list[int] = []
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(PATIENCE)

    def _write(self) -> None:
        connection = None
        number = 0
        while not self._over.is_set():
            number += 1
            try:
                connection = connection or Connection(f"tcp:127.0.0.1:{self._cluster.master_port()}", None, PATIENCE)
                connection("RPUSH", "written", str(number))
                self.acknowledged.append(number)
            except (Refusal, TypeError):
                # Not acknowledged.
                if connection is not None:
                    connection.close()
                connection = None
        if connection is not None:
            connection.close()


def test_fails_over_without_loss_and_restores_twice_each(recipe: Recipe, cluster: Cluster) -> None:
    recipe.does("check")
    writer = Writer(cluster)
    try:
        eventually(lambda: len(writer.acknowledged) > 100)
        recipe.does("drain", timeout=30)
        count = len(writer.acknowledged)
        eventually(lambda: len(writer.acknowledged) > count + 100, within=30)
    finally:
        writer.stop()
    assert (cluster.one.role, cluster.two.role, cluster.master_port()) == ("slave", "master", cluster.two.port)
    assert cluster.one.priority == "0"
    written = {int(one) for one in cluster.two.ask("LRANGE", "written", "0", "-1")}
    assert set(writer.acknowledged) - written == set()
    recipe.does("drain")
    recipe.does("check")
    assert "set by this recipe" in recipe.does("state")
    for _time in range(2):
        recipe.does("restore", timeout=30)
        assert (cluster.one.role, cluster.one.priority) == ("slave", "100")
    assert recipe.record == {}
    # Not only until it is started again.
    cluster.one.stop()
    cluster.one.start()
    assert (cluster.one.role, cluster.one.priority) == ("slave", "100")


class SlowSentinel(socketserver.ThreadingTCPServer):
    """The Sentinel of a cluster, which does not know the run ID of the new master while the old one is not a replica.

    A busy one asks the new master for it some seconds after the failover.
    """

    daemon_threads = True

    def __init__(self, cluster: Cluster) -> None:
        # How often it did not tell.
        self.withheld = 0
        server = self
        former = f"127.0.0.1\r\n$4\r\nport\r\n${len(str(cluster.one.port))}\r\n{cluster.one.port}\r\n".encode()

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with socket.create_connection(("127.0.0.1", cluster.sentinel.port)) as real:
                    while asked := self.request.recv(65536):
                        real.sendall(asked)
                        answer = real.recv(65536)
                        if former not in answer and cluster.one.role == "master":
                            answer, count = re.subn(rb"runid\r\n\$40\r\n\w{40}\r\n", b"runid\r\n$0\r\n\r\n", answer)
                            server.withheld += count
                        self.request.sendall(answer)

        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"tcp:127.0.0.1:{self.server_address[1]}"


def test_clients_do_not_wait_for_the_sentinel_to_learn_the_run_id(cluster: Cluster, tmp_path: Path) -> None:
    with SlowSentinel(cluster) as slow:
        threading.Thread(target=slow.serve_forever, args=(0.05,), daemon=True).start()
        recipe = Recipe(
            "redis_sentinel_failover", tmp_path / "records", redis=cluster.one.address, sentinels=slow.address
        )
        said = recipe.does("drain", timeout=60)
        slow.shutdown()
    assert "another Redis is the master" in said
    assert (cluster.one.role, cluster.two.role) == ("slave", "master")
    # Otherwise the Sentinel makes the former master a replica, after 8 seconds.
    assert slow.withheld <= 1
    assert set(recipe.record) == {cluster.one.address}


def test_replica_is_only_excluded_from_promotion(cluster: Cluster, tmp_path: Path) -> None:
    recipe = Recipe(
        "redis_sentinel_failover", tmp_path / "records", redis=cluster.two.address, sentinels=cluster.sentinel.address
    )
    recipe.does("drain")
    assert (cluster.one.role, cluster.two.priority) == ("master", "0")
    cluster.two.stop()
    done = recipe.run("restore", timeout=1.0)
    assert (done.returncode, "does not accept a connection" in done.stdout) == (3, True)
    cluster.two.start()
    recipe.does("restore", timeout=30)
    assert cluster.two.priority == "100"


def test_keeps_a_priority_set_by_an_operator(recipe: Recipe, cluster: Cluster) -> None:
    cluster.one.ask("CONFIG", "SET", "replica-priority", "0")
    recipe.does("drain", timeout=30)
    recipe.does("restore")
    assert cluster.one.priority == "0"
    assert cluster.two.role == "master"


def test_fails_without_a_candidate_and_keeps_accepting_writes(recipe: Recipe, cluster: Cluster) -> None:
    cluster.two.stop()
    eventually(lambda: "connected_slaves:0" in str(cluster.one.ask("INFO", "replication")))
    assert "has no replica to take over" in recipe.refuses("drain")
    assert cluster.one.ask("SET", "a", "b") == "OK"
    recipe.does("restore")
    assert (cluster.one.role, cluster.one.priority) == ("master", "100")


def test_restores_after_a_cut_off_drain(recipe: Recipe, cluster: Cluster) -> None:
    # The replica hangs, so that it never has all.
    cluster.two.process.send_signal(signal.SIGSTOP)
    try:
        cluster.one.ask("SET", "a", "b")
        with recipe.start("drain", timeout=60) as drain:
            eventually(lambda: cluster.one.priority == "0")
            drain.send_signal(signal.SIGKILL)
            drain.communicate(timeout=PATIENCE)
    finally:
        cluster.two.process.send_signal(signal.SIGCONT)
    recipe.does("restore", timeout=30)
    assert cluster.one.priority == "100"


def test_asks_a_sentinel_that_is_not_in_tilt_mode(recipe: Recipe, cluster: Cluster, tmp_path: Path) -> None:
    other = cluster.add_sentinel(tmp_path / "other", free_port())
    recipe.parameters["sentinels"] = [cluster.sentinel.address, other.address]
    enter_tilt_mode(cluster.sentinel)
    recipe.does("drain", timeout=30)
    assert (cluster.one.role, cluster.two.role) == ("slave", "master")


def test_accepts_writes_while_every_sentinel_is_in_tilt_mode(recipe: Recipe, cluster: Cluster) -> None:
    enter_tilt_mode(cluster.sentinel)
    done = recipe.run("drain", timeout=1.0)
    assert (done.returncode, "is in TILT mode" in done.stdout) == (3, True)
    assert cluster.one.ask("SET", "a", "b") == "OK"
    recipe.does("restore")
    assert (cluster.one.role, cluster.one.priority) == ("master", "100")


def test_drains_while_another_sentinel_is_down(recipe: Recipe, cluster: Cluster) -> None:
    recipe.parameters["sentinels"] = [f"tcp:127.0.0.1:{free_port()}", cluster.sentinel.address]
    recipe.does("drain", timeout=30)
    assert (cluster.one.role, cluster.two.role) == ("slave", "master")


def test_check_reports_invalid_parameters(recipe: Recipe, cluster: Cluster, tmp_path: Path) -> None:
    right = dict(recipe.parameters)
    nobody = f"tcp:127.0.0.1:{free_port()}"
    for wrong, words in (
        ({"redis": nobody}, "Connection refused"),
        ({"sentinels": nobody}, "Connection refused"),
        ({"master": "other"}, "No such master"),
        ({"redis": "localhost:6379"}, "is not an address"),
        ({"password_file": "/no/such"}, "/no/such cannot be read"),
    ):
        recipe.parameters = {**right, **wrong}
        assert words in recipe.refuses()
    assert not (tmp_path / "records").exists()

# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recipe rabbitmq_drain, with a cluster of two real nodes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.emulator import eventually
from support.ports import free_port
from support.recipes import PATIENCE, Recipe

SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which(SERVER) is None, reason="needs root, and rabbitmq-server"
)


class Node:
    def __init__(self, name: str, folder: Path) -> None:
        self.name = f"{name}@localhost"
        self.port, self.dist_port = free_port(), free_port()
        self._folder = folder

    def start(self) -> None:
        environment = {
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(self.dist_port),
            "RABBITMQ_MNESIA_BASE": str(self._folder / self.name),
            "RABBITMQ_LOG_BASE": str(self._folder / f"{self.name}.log"),
            "RABBITMQ_CONFIG_FILE": str(self._folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "plugins"),
        }
        with (self._folder / f"{self.name}.out").open("ab") as log:
            self.process = subprocess.Popen(
                ["runuser", "-u", "rabbitmq", "--", SERVER],
                env={**os.environ, "HOME": "/var/lib/rabbitmq", **environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        eventually(self.listens, within=90, what=f"that {self.name} listens")

    def listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        # Not by rabbitmqctl, which may wait for a node in the middle of a drain for ever.
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(PATIENCE)
        eventually(lambda: not self.listens(), within=60)

    def ctl(self, *words: str) -> str:
        return subprocess.run(
            ["rabbitmqctl", "-q", "-n", self.name, *words], check=False, capture_output=True, text=True, timeout=60
        ).stdout

    def upgrade(self, word: str) -> None:
        subprocess.run(["rabbitmq-upgrade", "-n", self.name, word], check=True, capture_output=True)


@contextmanager
def client(node: Node) -> Iterator[None]:
    """A client that has opened a connection: AMQP 0-9-1's start-ok, tune-ok and open, as guest."""

    def short(text: bytes) -> bytes:
        return bytes([len(text)]) + text

    def frame(class_id: int, method_id: int, payload: bytes) -> bytes:
        body = struct.pack(">HH", class_id, method_id) + payload
        return struct.pack(">BHI", 1, 0, len(body)) + body + b"\xce"

    with socket.create_connection(("127.0.0.1", node.port), PATIENCE) as connection:
        connection.sendall(b"AMQP\x00\x00\x09\x01")
        connection.recv(65536)
        plain = b"\x00guest\x00guest"
        start_ok = struct.pack(">I", 0) + short(b"PLAIN") + struct.pack(">I", len(plain)) + plain + short(b"en_US")
        connection.sendall(frame(10, 11, start_ok))
        connection.recv(65536)
        connection.sendall(
            frame(10, 31, struct.pack(">HIH", 2047, 131072, 0)) + frame(10, 40, short(b"/") + b"\x00\x00")
        )
        connection.recv(65536)
        eventually(lambda: f"<{node.name}." in node.ctl("list_connections", "pid"), within=30, what="the client")
        yield


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[Node]]:
    folder = Path(tempfile.mkdtemp(prefix="gce-guest-rabbitmq-"))
    shutil.chown(folder, "rabbitmq")
    names = [f"gce{uuid.uuid4().hex[:6]}{number}" for number in (1, 2)]
    (folder / "rabbitmq.conf").write_text(
        "cluster_formation.peer_discovery_backend = classic_config\n"
        + "".join(f"cluster_formation.classic_config.nodes.{name[-1]} = {name}@localhost\n" for name in names),
        encoding="utf-8",
    )
    folder.chmod(0o755)
    started = [Node(name, folder) for name in names]
    for node in started:
        node.start()
    yield started
    for node in started:
        node.stop()
    shutil.rmtree(folder)


@pytest.fixture
def make(nodes: list[Node], tmp_path: Path) -> Callable[..., Recipe]:
    return lambda **parameters: Recipe(
        "rabbitmq_drain", tmp_path / "records", **{"node": nodes[0].name, "await_quorum": 5, **parameters}
    )


def test_drains_and_restores_twice_each(make: Callable[..., Recipe], nodes: list[Node]) -> None:
    recipe = make()
    recipe.does("check", timeout=60)
    with client(nodes[0]):
        recipe.does("drain", timeout=60)
        assert "running" not in nodes[0].ctl("list_connections", "state")
    for _time in range(2):
        recipe.does("drain", timeout=60)
        assert (nodes[0].listens(), nodes[1].listens()) == (False, True)
    assert "under maintenance, by this recipe" in recipe.does("state", timeout=60)
    for _time in range(2):
        recipe.does("restore", timeout=60)
        assert nodes[0].listens()
    assert recipe.record == {}


def test_keeps_an_operator_s_earlier_change(make: Callable[..., Recipe], nodes: list[Node]) -> None:
    nodes[0].upgrade("drain")
    recipe = make()
    try:
        for verb in ("drain", "restore"):
            recipe.does(verb, timeout=60)
            assert not nodes[0].listens()
    finally:
        nodes[0].upgrade("revive")


def test_restores_after_a_cut_off_drain_and_a_restart_of_the_node(
    make: Callable[..., Recipe], nodes: list[Node]
) -> None:
    recipe = make()
    with recipe.start("drain", timeout=60) as drain:
        eventually(lambda: any(recipe.records.glob("*.json")) and nodes[0].name in recipe.record, within=60)
        drain.send_signal(signal.SIGKILL)
        drain.communicate(timeout=PATIENCE)
    nodes[0].stop()
    with recipe.start("restore", timeout=120) as restore:
        nodes[0].start()
        said, _none = restore.communicate(timeout=150)
    assert restore.returncode == 0, said
    assert nodes[0].listens()


def test_check_reports_invalid_parameters(make: Callable[..., Recipe], nodes: list[Node], tmp_path: Path) -> None:
    assert "the node nobody@localhost does not answer" in make(node="nobody@localhost").refuses(timeout=60)
    nodes[1].stop()
    try:
        assert "is the only running node of its cluster" in make().refuses(timeout=60)
    finally:
        nodes[1].start()
    assert not (tmp_path / "records").exists()

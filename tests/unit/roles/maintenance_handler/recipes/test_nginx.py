# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recipe nginx, with a real nginx that systemd does not run; with one that it does, see test_systemd.py."""

from __future__ import annotations

import http.client
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.emulator import eventually
from support.ports import free_port
from support.recipes import PATIENCE, Recipe, Service, service

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin")

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


class Nginx:
    """An nginx in front of a service."""

    def __init__(self, folder: Path, behind: Service) -> None:
        self.port = free_port()
        self.pid_file = folder / "nginx.pid"
        config = folder / "nginx.conf"
        paths = "".join(
            f"{kind}_temp_path {folder}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        server = f"listen 127.0.0.1:{self.port}; location / {{ proxy_pass http://127.0.0.1:{behind.port}; }}"
        config.write_text(
            f"pid {self.pid_file};\nerror_log {folder}/error.log;\nevents {{}}\n"
            f"http {{ access_log off; {paths}\nserver {{ {server} }} }}\n",
            encoding="utf-8",
        )
        assert NGINX is not None
        self.start_command = [NGINX, "-e", f"{folder}/error.log", "-c", str(config)]
        self.start()

    def start(self) -> None:
        subprocess.run(self.start_command, check=True, capture_output=True)
        eventually(lambda: self.get() == 200)

    @property
    def pid(self) -> int | None:
        try:
            return int(self.pid_file.read_text())
        except FileNotFoundError:
            return None

    def get(self, path: str = "/") -> int | None:
        """The status; None if the connection is refused."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (ConnectionError, http.client.HTTPException):
            return None
        finally:
            connection.close()


@pytest.fixture
def behind() -> Iterator[Service]:
    with service() as started:
        yield started


@pytest.fixture
def nginx(tmp_path: Path, behind: Service) -> Iterator[Nginx]:
    started = Nginx(tmp_path, behind)
    yield started
    behind.release()
    if started.pid is not None:
        subprocess.run([*started.start_command, "-s", "stop"], check=False, capture_output=True)
        eventually(lambda: started.pid is None)


@pytest.fixture
def make(nginx: Nginx, tmp_path: Path) -> Callable[..., Recipe]:
    given = {"pid_file": str(nginx.pid_file), "start": nginx.start_command}
    return lambda **parameters: Recipe("nginx", tmp_path / "records", **{**given, **parameters})


def slow_request(nginx: Nginx, behind: Service) -> tuple[threading.Thread, list[int | None]]:
    statuses: list[int | None] = []
    thread = threading.Thread(target=lambda: statuses.append(nginx.get("/slow")))
    thread.start()
    assert behind.slow.wait(PATIENCE)
    return thread, statuses


def test_drains_and_restores_twice_each(make: Callable[..., Recipe], nginx: Nginx) -> None:
    recipe = make(health=f"http://127.0.0.1:{nginx.port}/")
    recipe.does("check")
    first = nginx.pid
    for _time in range(2):
        recipe.does("drain")
        assert nginx.get() is None
        recipe.does("check")
    recipe.does("restore")
    second = nginx.pid
    assert (nginx.get(), second == first) == (200, False)
    recipe.does("restore")
    assert nginx.pid == second
    assert recipe.record == {}


def test_completes_open_requests(make: Callable[..., Recipe], nginx: Nginx, behind: Service) -> None:
    thread, statuses = slow_request(nginx, behind)
    with make().start("drain") as drain:
        eventually(lambda: nginx.get() is None)
        assert drain.poll() is None
        behind.release()
        drain.communicate(timeout=PATIENCE)
    thread.join(PATIENCE)
    assert (drain.returncode, statuses) == (0, [200])


def test_reports_open_requests_at_its_timeout_and_restores(
    make: Callable[..., Recipe], nginx: Nginx, behind: Service
) -> None:
    recipe = make()
    thread, _statuses = slow_request(nginx, behind)
    done = recipe.run("drain", timeout=1.0)
    assert (done.returncode, "still answering requests" in done.stdout) == (3, True)
    # The same nginx, not a second signal.
    assert "is quitting" in recipe.does("state")
    recipe.does("restore")
    behind.release()
    thread.join(PATIENCE)
    assert nginx.get() == 200


def test_restores_after_a_kill(make: Callable[..., Recipe], nginx: Nginx, behind: Service) -> None:
    recipe = make()
    thread, _statuses = slow_request(nginx, behind)
    with recipe.start("drain") as drain:
        eventually(lambda: nginx.get() is None)
        drain.send_signal(signal.SIGKILL)
        drain.communicate(timeout=PATIENCE)
    behind.release()
    thread.join(PATIENCE)
    recipe.does("restore")
    assert nginx.get() == 200


def test_keeps_an_operator_s_change(make: Callable[..., Recipe], nginx: Nginx) -> None:
    recipe = make()
    subprocess.run([*nginx.start_command, "-s", "quit"], check=True, capture_output=True)
    eventually(lambda: nginx.pid is None)
    for verb in ("drain", "restore"):
        recipe.does(verb)
        assert nginx.pid is None
    nginx.start()
    recipe.does("drain")
    nginx.start()
    started = nginx.pid
    recipe.does("restore")
    assert (nginx.pid, recipe.record) == (started, {})


def test_check_reports_invalid_parameters(make: Callable[..., Recipe], tmp_path: Path) -> None:
    for wrong, words in (
        ({"start": None}, "pid_file and start must be given together"),
        ({"pid_file": "/no/such/nginx.pid"}, "the directory of the pid file"),
        ({"health": "here"}, "is not an address"),
    ):
        assert words in make(**wrong).refuses()
    assert "nginx" in make(start=["/no/such/nginx"]).does("drain")
    done = make(start=["/no/such/nginx"]).run("restore")
    assert (done.returncode, "/no/such/nginx cannot be run" in done.stdout) == (1, True)

# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small part of the drill without containers: HAProxy and nginx as plain processes, a host termination, and load."""

from __future__ import annotations

import http.client
import shutil
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drill.load.tally import Tally
from drill.load.web import WebLoad
from drill.machine import FOLDER
from support.emulator import Control, EmulatorProcess, eventually
from support.handler import HandlerProcess
from support.ports import free_port
from support.recipes import PATIENCE

SEARCHED = "/usr/sbin:/usr/local/sbin:/usr/bin"
HAPROXY, NGINX = (shutil.which(name, path=SEARCHED) for name in ("haproxy", "nginx"))

pytestmark = pytest.mark.skipif(not (HAPROXY and NGINX), reason="haproxy or nginx is not installed")

NAMES = ("web-1", "web-2")
# Seconds in which a busy machine also drains.
NOTICE = 20
# Without systemd: what boots a VM, and what cuts its power.
POWER = """\
cd "${0%/*}"
case $1 in
on)
    @PYTHON@ @APP@ @APP_PORT@ >app.log 2>&1 &
    echo $! >app.pid
    @NGINX@ -p "$PWD" -c nginx.conf -e error.log
    # It writes it in the background.
    until [ -s nginx.pid ]; do sleep 0.05; done
    ;;
off)
    kill -KILL "$(cat app.pid)" -"$(cat nginx.pid)"
    rm -f nginx.pid app.pid
    ;;
esac
"""


class WebVm:
    """nginx in front of the drill's app, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        app_port = free_port()
        folder.mkdir()
        config = (FOLDER / "files" / "nginx.conf").read_text(encoding="utf-8")
        for old, new in (
            ("listen 80", f"listen 127.0.0.1:{self.port}"),
            ("127.0.0.1:8080", f"127.0.0.1:{app_port}"),
            ("/run/nginx.pid", "nginx.pid"),
            ("access_log off;", "access_log off;\n" + "".join(f"{kind}_temp_path tmp;\n" for kind in TEMPORARY)),
        ):
            assert old in config
            config = config.replace(old, new)
        (folder / "nginx.conf").write_text(config, encoding="utf-8")
        power = POWER.replace("@PYTHON@", sys.executable).replace("@APP@", str(FOLDER / "files" / "app.py"))
        power = power.replace("@APP_PORT@", str(app_port)).replace("@NGINX@", str(NGINX))
        self._script = folder / "power"
        self._script.write_text(power, encoding="utf-8")

    def power(self, state: str) -> list[str]:
        return ["sh", str(self._script), state]

    def serves(self) -> bool:
        return answers(f"127.0.0.1:{self.port}")


def answers(address: str) -> bool:
    connection = http.client.HTTPConnection(address, timeout=PATIENCE)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@pytest.fixture
def web_vms(tmp_path: Path) -> Iterator[dict[str, WebVm]]:
    vms = {name: WebVm(tmp_path / name) for name in NAMES}
    for vm in vms.values():
        subprocess.run(vm.power("on"), check=True)
    for vm in vms.values():
        eventually(vm.serves, within=PATIENCE, what="an answer of nginx and of the app")
    yield vms
    for vm in vms.values():
        subprocess.run(vm.power("off"), check=False, stderr=subprocess.DEVNULL)


@pytest.fixture
def emulator(web_vms: dict[str, WebVm]) -> Iterator[EmulatorProcess]:
    instances = [
        {"name": name, "on_power_off": vm.power("off"), "on_boot": vm.power("on")} for name, vm in web_vms.items()
    ]
    with EmulatorProcess({"instances": instances}) as process:
        yield process


@pytest.fixture
def balancer(tmp_path: Path, web_vms: dict[str, WebVm]) -> Iterator[tuple[str, Path]]:
    """HAProxy in front of both: its address, and its stats socket."""
    port, admin = free_port(), tmp_path / "admin.sock"
    servers = "".join(f"  server {name} 127.0.0.1:{vm.port}\n" for name, vm in web_vms.items())
    config = tmp_path / "haproxy.cfg"
    config.write_text(
        f"global\n  stats socket {admin} mode 600 level admin\n"
        "defaults\n  mode http\n  retries 0\n  timeout connect 3s\n  timeout client 60s\n  timeout server 15s\n"
        # A busy machine delays the answer to a check; that of a VM without power is refused at once.
        "  timeout check 20s\n"
        f"frontend www\n  bind 127.0.0.1:{port}\n  default_backend web\n"
        "backend web\n  option httpchk GET /health\n  default-server check inter 500ms fall 3 rise 2\n" + servers,
        encoding="utf-8",
    )
    with subprocess.Popen([str(HAPROXY), "-db", "-q", "-f", str(config)]) as process:
        address = f"127.0.0.1:{port}"
        eventually(lambda: admin.exists() and answers(address), within=PATIENCE, what="an answer by HAProxy")
        yield address, admin
        process.terminate()


class Clients:
    """The drill's load on the balancer, in threads."""

    def __init__(self, address: str) -> None:
        self._load, self.tally, self._stop = WebLoad(address, workers=8), Tally(), threading.Event()
        self._threads = [
            threading.Thread(target=self._load.work, args=(number, self.tally, self._stop))
            for number in range(self._load.workers)
        ]
        for thread in self._threads:
            thread.start()

    def finish(self) -> dict[str, Any]:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)
        return self.tally.to_json()


def terminate(control: Control, notice: float) -> None:
    """Have the host of web-1 fail after the notice. The VM stays off until `boots`."""
    control.scenario("web-1", "host-termination", notice=notice, down=3600)
    eventually(lambda: control.instance("web-1")["status"] == "TERMINATED", within=notice + PATIENCE)


def boots(control: Control) -> None:
    control.request("POST", "instances/web-1/start")

    def booted() -> bool:
        runs = control.request("GET", "hooks?instance=web-1")["runs"]
        return [run["hook"] for run in runs if run["ended_at"]] == ["on_power_off", "on_boot"]

    eventually(booted, within=PATIENCE)


def test_without_the_handler_requests_fail(emulator: EmulatorProcess, balancer: tuple[str, Path]) -> None:
    clients = Clients(balancer[0])
    terminate(emulator.control, notice=1)
    eventually(lambda: clients.tally.to_json()["failed"] > 0, within=PATIENCE, what="a request that fails")
    boots(emulator.control)
    counts = clients.finish()
    assert counts["requests"] > counts["failed"]


def test_with_the_handler_none_fails(
    emulator: EmulatorProcess, balancer: tuple[str, Path], web_vms: dict[str, WebVm], tmp_path: Path
) -> None:
    address, admin = balancer
    folder = tmp_path / "handler"
    folder.mkdir()
    recipe = {
        "backend": "web",
        "server": "web-1",
        "socket": [str(admin)],
        "health": f"http://127.0.0.1:{web_vms['web-1'].port}/health",
    }
    handler = HandlerProcess(
        folder,
        emulator.metadata["web-1"],
        (),
        recipes=[{"haproxy_server": recipe, "on": ["terminate"], "lead": "at_once", "timeout": 15}],
        notice={"terminate": NOTICE},
    )
    try:
        handler.start()
        clients = Clients(address)
        terminate(emulator.control, notice=NOTICE)
        # The power is off for it as well.
        handler.kill()
        boots(emulator.control)
        handler.boot(str(uuid.uuid4()))
        handler.start()
        incident = handler.until_over()
        counts = clients.finish()
    finally:
        handler.close()
    assert [(step["phase"], step["outcome"]) for step in incident["steps"]] == [("drain", "ok"), ("restore", "ok")]
    assert counts["reasons"] == {}
    assert counts["requests"] > 20

# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recipe haproxy_server, with real HAProxys."""

from __future__ import annotations

import http.client
import shutil
import signal
import socket
import socketserver
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.emulator import eventually
from support.endless import Flow, endless, flood, trickle
from support.ports import free_port
from support.recipes import PATIENCE, Recipe, Service, service

HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin")

pytestmark = pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")


class Haproxy:
    """An HAProxy with a backend `web` of two servers, and its stats sockets."""

    def __init__(self, folder: Path, servers: dict[str, int], level: str = "admin", lines: str = "") -> None:
        self.folder = folder
        self.port, self.admin_port = free_port(), free_port()
        self.socket = str(folder / "admin.sock")
        self.tcp = f"tcp:127.0.0.1:{self.admin_port}"
        self._config = folder / "haproxy.cfg"
        self.configure(servers, level, lines)
        self.requests: list[threading.Thread] = []
        self.statuses: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def configure(self, servers: dict[str, int], level: str = "admin", lines: str = "") -> None:
        """Write its configuration: with these servers, and more lines of the backend and after it."""
        shown = [f"  server {name} 127.0.0.1:{port}" for name, port in servers.items()]
        self._config.write_text(
            "global\n"
            # Relative, because HAProxy limits the path to 97 characters.
            f"  stats socket unix@admin.sock mode 600 level {level}\n"
            f"  stats socket 127.0.0.1:{self.admin_port} level {level}\n"
            "defaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n"
            f"frontend www\n  bind 127.0.0.1:{self.port}\n  default_backend web\n"
            # It closes no idle connection by itself.
            "backend web\n  default-server check inter 50ms fall 2 rise 2 pool-purge-delay 1h\n"
            + "\n".join(shown)
            + f"\n{lines}\n",
            encoding="utf-8",
        )

    def start(self) -> None:
        assert HAPROXY is not None
        self._process = subprocess.Popen([HAPROXY, "-db", "-q", "-f", str(self._config)], cwd=self.folder)
        eventually(self._answers)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(PATIENCE)

    def ask(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as channel:
            channel.connect(self.socket)
            channel.sendall(f"{command}\n".encode())
            return channel.makefile().read()

    def status(self, server: str = "one") -> str:
        rows = [line.split(",") for line in self.ask("show stat").splitlines()]
        return next(row[17] for row in rows if row[:2] == ["web", server])

    def admin(self, server: str = "one") -> int:
        """The administrative state, a set of bits."""
        rows = [line.split() for line in self.ask("show servers state web").splitlines()]
        return next(int(row[6]) for row in rows if row[3:4] == [server])

    def idle(self, server: str = "one") -> int:
        """The connections to a server that wait for the next request."""
        head, *rows = [line.lstrip("# ").split() for line in self.ask("show servers conn web").splitlines() if line]
        return next(int(row[head.index("idle_cur")]) for row in rows if row[0] == f"web/{server}")

    def get(self, path: str = "/") -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            return connection.getresponse().status
        finally:
            connection.close()

    def begin_slow_request(self, server: Service) -> None:
        """Begin a request that a server does not answer until it is released."""
        while not server.slow.is_set():
            self.requests.append(threading.Thread(target=lambda: self.statuses.append(self.get("/slow"))))
            self.requests[-1].start()
            eventually(lambda: server.slow.is_set() or not self.requests[-1].is_alive())

    def _answers(self) -> bool:
        try:
            return self.ask("show info").startswith("Name: HAProxy") and self.status("two").startswith("UP")
        except OSError:
            return False


@contextmanager
def _name_server(port: int) -> Iterator[None]:
    """A DNS server that knows every name as 127.0.0.1."""

    class Handler(socketserver.DatagramRequestHandler):
        def handle(self) -> None:
            query = self.rfile.read()
            name = query[12 : query.index(b"\0", 12) + 1]
            # https://www.rfc-editor.org/rfc/rfc1035#section-4: one question, and one answer that lives for 60 s.
            counts = struct.pack("!HHHHH", 0x8180, 1, 1, 0, 0)
            answer = struct.pack("!HHHLH", 0xC00C, 1, 1, 60, 4) + socket.inet_aton("127.0.0.1")
            self.wfile.write(query[:2] + counts + name + struct.pack("!HH", 1, 1) + answer)

    with socketserver.UDPServer(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def one() -> Iterator[Service]:
    with service() as started:
        yield started


@pytest.fixture
def two() -> Iterator[Service]:
    with service() as started:
        yield started


@pytest.fixture
def make_haproxy(tmp_path: Path, one: Service, two: Service) -> Iterator[Callable[..., Haproxy]]:
    made: list[Haproxy] = []

    def make(**settings: Any) -> Haproxy:
        folder = tmp_path / f"haproxy-{len(made)}"
        folder.mkdir()
        made.append(Haproxy(folder, {"one": one.port, "two": two.port}, **settings))
        return made[-1]

    yield make
    for server in (one, two):
        server.release()
    for each in made:
        for thread in each.requests:
            thread.join(PATIENCE)
        each.stop()


@pytest.fixture
def haproxy(make_haproxy: Callable[..., Haproxy]) -> Haproxy:
    return make_haproxy()


@pytest.fixture
def recipe(haproxy: Haproxy, tmp_path: Path) -> Recipe:
    return Recipe("haproxy_server", tmp_path / "records", backend="web", server="one", socket=haproxy.socket)


def test_drains_and_restores_twice_each(recipe: Recipe, haproxy: Haproxy) -> None:
    recipe.does("check")
    assert haproxy.status().startswith("UP")
    for _time in range(2):
        recipe.does("drain")
        assert haproxy.status().startswith("DRAIN")
        assert "drained by this recipe" in recipe.does("state")
    for _time in range(2):
        recipe.does("restore")
        assert haproxy.status().startswith("UP")
    assert recipe.record == {}
    assert haproxy.status("two").startswith("UP")


def test_waits_for_open_requests_and_sends_new_ones_elsewhere(
    recipe: Recipe, haproxy: Haproxy, one: Service, two: Service
) -> None:
    two.release()
    haproxy.begin_slow_request(one)
    drain = recipe.start("drain", timeout=60)
    eventually(lambda: haproxy.status().startswith("DRAIN"))
    before = len(one.seen)
    assert [haproxy.get() for _request in range(4)] == [200] * 4
    assert len(one.seen) == before
    assert drain.poll() is None
    one.release()
    said, _none = drain.communicate(timeout=PATIENCE)
    assert (drain.returncode, "no session left" in said) == (0, True)
    for thread in haproxy.requests:
        thread.join(PATIENCE)
    assert set(haproxy.statuses) == {200}


def test_closes_idle_connections(recipe: Recipe, haproxy: Haproxy) -> None:
    """HAProxy would send a request on one of them if the VM lost its power meanwhile: nobody has told it."""
    eventually(lambda: haproxy.get() == 200 and haproxy.idle() and haproxy.idle("two"))
    recipe.does("drain")
    eventually(lambda: haproxy.idle() == 0)
    assert haproxy.idle("two") > 0
    assert haproxy.status().startswith("DRAIN")
    recipe.does("restore")
    assert haproxy.status().startswith("UP")


def test_ends_no_request_of_a_server_that_tracks_it(
    make_haproxy: Callable[..., Haproxy], one: Service, tmp_path: Path
) -> None:
    """Such a server follows it into maintenance, which ends requests with `on-marked-down shutdown-sessions`."""
    api = free_port()
    haproxy = make_haproxy(
        lines=f"frontend api\n  bind 127.0.0.1:{api}\n  default_backend api\nbackend api\n"
        f"  server one 127.0.0.1:{one.port} track web/one on-marked-down shutdown-sessions"
    )
    eventually(lambda: haproxy.get() == 200 and haproxy.idle())
    haproxy.port = api
    haproxy.begin_slow_request(one)
    Recipe("haproxy_server", tmp_path / "records", backend="web", server="one", socket=haproxy.socket).does("drain")
    one.release()
    haproxy.requests[-1].join(PATIENCE)
    assert haproxy.statuses[-1] == 200


def test_reports_open_connections_at_its_timeout_and_restores(
    recipe: Recipe, haproxy: Haproxy, one: Service, two: Service
) -> None:
    two.release()
    haproxy.begin_slow_request(one)
    done = recipe.run("drain", timeout=3.0)
    assert done.returncode == 3
    assert "web/one" in done.stdout
    assert "1 session" in done.stdout
    recipe.does("restore")
    assert haproxy.status().startswith("UP")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_restores_after_a_cut_off_drain(
    recipe: Recipe, haproxy: Haproxy, one: Service, two: Service, number: int
) -> None:
    two.release()
    haproxy.begin_slow_request(one)
    with recipe.start("drain", timeout=60) as drain:
        eventually(lambda: haproxy.status().startswith("DRAIN"))
        drain.send_signal(number)
        said, _none = drain.communicate(timeout=PATIENCE)
    assert drain.returncode != 0
    if number == signal.SIGTERM:
        assert "1 session" in said
    recipe.does("restore")
    assert haproxy.status().startswith("UP")


@pytest.fixture
def careful(haproxy: Haproxy, tmp_path: Path) -> Recipe:
    return Recipe(
        "haproxy_server",
        tmp_path / "records",
        backend="web",
        server="one",
        socket=haproxy.socket,
        keep_last=True,
    )


def test_keeps_the_last_server_in_service(careful: Recipe, haproxy: Haproxy, two: Service) -> None:
    for mode in ("maint", "drain"):
        haproxy.ask(f"set server web/two state {mode}")
        assert "web/one" in careful.does("drain")
        assert haproxy.status().startswith("UP")
        assert "nothing to restore" in careful.does("restore")
    haproxy.ask("set server web/two state ready")
    eventually(lambda: haproxy.status("two").startswith("UP"))
    careful.does("drain")
    assert haproxy.status().startswith("DRAIN")
    careful.does("restore")
    assert haproxy.status().startswith("UP")


def test_says_that_the_last_server_stays(careful: Recipe, haproxy: Haproxy) -> None:
    haproxy.ask("set server web/two state maint")
    said = careful.does("drain")
    assert "no other server of web" in said
    assert "no session left" not in said


def test_a_drain_goes_on_although_no_other_server_is_left(
    careful: Recipe, haproxy: Haproxy, one: Service, two: Service
) -> None:
    two.release()
    haproxy.begin_slow_request(one)
    drain = careful.start("drain", timeout=60)
    eventually(lambda: haproxy.status().startswith("DRAIN"))
    haproxy.ask("set server web/two state maint")
    assert drain.poll() is None
    one.release()
    said, _none = drain.communicate(timeout=PATIENCE)
    assert (drain.returncode, "no session left" in said) == (0, True)
    assert haproxy.status().startswith("DRAIN")


def test_keeps_it_only_where_it_is_the_last_one(make_haproxy: Callable[..., Haproxy], tmp_path: Path) -> None:
    lonely, other = make_haproxy(), make_haproxy()
    lonely.ask("set server web/two state maint")
    recipe = Recipe(
        "haproxy_server",
        tmp_path / "records",
        backend="web",
        server="one",
        socket=[lonely.socket, other.socket],
        keep_last=True,
    )
    said = recipe.does("drain")
    assert (lonely.status().startswith("UP"), other.status().startswith("DRAIN")) == (True, True)
    assert "no other server of web" in said
    assert f"no session left on web/one at {other.socket}" in said
    recipe.does("restore")
    assert other.status().startswith("UP")


@pytest.mark.parametrize("mode, status", [("maint", "MAINT"), ("drain", "DRAIN")])
def test_keeps_an_operator_s_earlier_change(recipe: Recipe, haproxy: Haproxy, mode: str, status: str) -> None:
    haproxy.ask(f"set server web/one state {mode}")
    for verb in ("drain", "restore", "restore"):
        recipe.does(verb)
        assert haproxy.status().startswith(status)


def test_keeps_an_operator_s_change_during_the_drain(recipe: Recipe, haproxy: Haproxy) -> None:
    recipe.does("drain")
    haproxy.ask("set server web/one state maint")
    assert "left as is" in recipe.does("restore")
    assert haproxy.status().startswith("MAINT")
    haproxy.ask("set server web/one state ready")
    haproxy.ask("set server web/one state drain")
    recipe.does("restore")
    assert haproxy.status().startswith("DRAIN")


def test_clears_its_drain_of_a_server_that_dns_does_not_find(
    make_haproxy: Callable[..., Haproxy], one: Service, tmp_path: Path
) -> None:
    dns_port = free_port()
    haproxy = make_haproxy(
        lines=f"  server named web.test:{one.port} resolvers local resolve-prefer ipv4 init-addr last,127.0.0.1\n"
        f"resolvers local\n  nameserver local 127.0.0.1:{dns_port}\n"
        "  resolve_retries 1\n  timeout resolve 1s\n  timeout retry 200ms\n"
        "  hold nx 1s\n  hold refused 1s\n  hold timeout 1s\n  hold other 1s\n"
    )
    recipe = Recipe("haproxy_server", tmp_path / "records", backend="web", server="named", socket=haproxy.socket)
    eventually(lambda: haproxy.status("named").startswith("MAINT"), within=PATIENCE)
    # HAProxy may find the address while this VM is away.
    recipe.does("drain")
    assert haproxy.admin("named") == 0x08 | 0x20
    done = recipe.run("restore", timeout=4.0)
    assert (done.returncode, "web/named" in done.stdout, "MAINT" in done.stdout) == (3, True, True)
    assert haproxy.admin("named") == 0x20
    assert recipe.record != {}
    with _name_server(dns_port):
        recipe.does("restore", timeout=60)
    assert haproxy.status("named").startswith("UP")
    assert recipe.record == {}


def test_clears_its_drain_of_a_server_that_tracks_one_in_maintenance(
    make_haproxy: Callable[..., Haproxy], one: Service, tmp_path: Path
) -> None:
    haproxy = make_haproxy(lines=f"  server tracking 127.0.0.1:{one.port} no-check track web/two")
    recipe = Recipe("haproxy_server", tmp_path / "records", backend="web", server="tracking", socket=haproxy.socket)
    recipe.does("drain")
    haproxy.ask("set server web/two state maint")
    done = recipe.run("restore", timeout=4.0)
    assert (done.returncode, "web/tracking" in done.stdout) == (3, True)
    haproxy.ask("set server web/two state ready")
    recipe.does("restore")
    assert haproxy.status("tracking").startswith("UP")


def test_drains_again_after_a_restart_of_haproxy(recipe: Recipe, haproxy: Haproxy) -> None:
    recipe.does("drain")
    haproxy.stop()
    haproxy.start()
    assert haproxy.status().startswith("UP")
    recipe.does("drain")
    assert haproxy.status().startswith("DRAIN")
    haproxy.stop()
    haproxy.start()
    recipe.does("restore")
    assert recipe.record == {}


def test_waits_for_a_restarting_haproxy(recipe: Recipe, haproxy: Haproxy) -> None:
    haproxy.stop()
    with recipe.start("drain", timeout=60) as drain:
        haproxy.start()
        said, _none = drain.communicate(timeout=PATIENCE)
    assert drain.returncode == 0, said
    assert haproxy.status().startswith("DRAIN")


def test_restore_waits_for_haproxy_s_health_check(recipe: Recipe, haproxy: Haproxy, one: Service) -> None:
    recipe.does("drain")
    one.close()
    eventually(lambda: haproxy.status().startswith("DOWN") or "DOWN" in haproxy.status())
    done = recipe.run("restore", timeout=1.0)
    assert done.returncode == 3
    assert "web/one" in done.stdout
    with service(one.port):
        recipe.does("restore")
        assert haproxy.status().startswith("UP")


def test_restore_waits_while_health_checks_fail(
    make_haproxy: Callable[..., Haproxy], one: Service, tmp_path: Path
) -> None:
    """Back in service before HAProxy has found it down, it would lose its first requests when HAProxy does."""
    haproxy = make_haproxy(lines=f"  option httpchk GET /health\n  server sick 127.0.0.1:{one.port} fall 10000")
    recipe = Recipe("haproxy_server", tmp_path / "records", backend="web", server="sick", socket=haproxy.socket)
    recipe.does("drain")
    # After maintenance, one check that fails would be enough.
    eventually(lambda: haproxy.status("sick") == "DRAIN")
    one.status = 503
    eventually(lambda: haproxy.status("sick").endswith("/10000"))
    done = recipe.run("restore", timeout=3.0)
    assert (done.returncode, "web/sick" in done.stdout, "/10000" in done.stdout) == (3, True, True)
    assert haproxy.status("sick").startswith("DRAIN")
    one.status = 200
    recipe.does("restore")
    assert haproxy.status("sick").startswith("UP")


def test_restore_checks_the_local_service_first(recipe: Recipe, haproxy: Haproxy, tmp_path: Path) -> None:
    with service() as local:
        recipe.parameters["health"] = f"http://127.0.0.1:{local.port}/healthz"
        recipe.does("drain")
        local.status = 503
        assert "answers 503" in recipe.reports("restore", local.looks_again())
        assert haproxy.status().startswith("DRAIN")
        local.status = 200
        recipe.does("restore")
        assert haproxy.status().startswith("UP")


def test_drains_in_several_haproxys(make_haproxy: Callable[..., Haproxy], tmp_path: Path) -> None:
    first, second = make_haproxy(), make_haproxy()
    sockets = [f"unix:{first.socket}", second.tcp]
    recipe = Recipe("haproxy_server", tmp_path / "records", backend=["web"], server="one", socket=sockets)
    recipe.does("check")
    recipe.does("drain")
    assert [each.status()[:5] for each in (first, second)] == ["DRAIN", "DRAIN"]
    second.stop()
    done = recipe.run("restore", timeout=3.0)
    # The others are put back all the same.
    assert (done.returncode, second.tcp in done.stdout) == (3, True)
    assert first.status().startswith("UP")
    second.start()
    recipe.does("restore")
    assert recipe.record == {}


@pytest.mark.parametrize("verb", ["drain", "restore"])
def test_one_haproxy_without_the_server_does_not_hold_up_the_others(
    make_haproxy: Callable[..., Haproxy], tmp_path: Path, two: Service, verb: str
) -> None:
    first, second = make_haproxy(), make_haproxy()
    sockets = [first.socket, second.socket]
    recipe = Recipe("haproxy_server", tmp_path / "records", backend="web", server="one", socket=sockets)
    if verb == "restore":
        recipe.does("drain")
    first.stop()
    first.configure({"two": two.port})
    first.start()
    line = recipe.refuses(verb)
    assert f"no server 'one' in backend 'web' at {first.socket}" in line
    assert second.status().startswith("DRAIN" if verb == "drain" else "UP")
    # What is not restored stays in the record.
    assert list(recipe.record) == [f"web/one at {(second if verb == 'drain' else first).socket}"]


def test_restores_where_it_has_drained_when_the_sockets_have_changed(
    make_haproxy: Callable[..., Haproxy], tmp_path: Path
) -> None:
    first, second = make_haproxy(), make_haproxy()
    recipe = Recipe("haproxy_server", tmp_path / "records", backend="web", server="one", socket=first.socket)
    recipe.does("drain")
    recipe.parameters["socket"] = second.tcp
    assert f"web/one at {first.socket} is DRAIN" in recipe.does("state")
    recipe.does("restore")
    assert first.status().startswith("UP")
    assert recipe.record == {}


@pytest.mark.parametrize(
    "flow, seconds, words",
    [
        (trickle, 2.0, ("'show servers state web'", "no answer in time")),
        (flood, 60.0, ("like HAProxy", "more than")),
    ],
)
def test_ends_with_an_answer_that_does_not_end(
    tmp_path: Path, flow: Flow, seconds: float, words: tuple[str, ...]
) -> None:
    with endless(b"", flow) as port:
        recipe = Recipe(
            "haproxy_server", tmp_path / "records", backend="web", server="one", socket=f"tcp:127.0.0.1:{port}"
        )
        line = recipe.refuses("check", timeout=seconds)
    assert all(word in line for word in words), line


def test_check_reports_invalid_parameters(make_haproxy: Callable[..., Haproxy], tmp_path: Path) -> None:
    haproxy = make_haproxy(level="operator")
    right: dict[str, Any] = {"backend": "web", "server": "one", "socket": haproxy.socket}
    for wrong, words in (
        ({}, ("level admin",)),
        ({"server": "three"}, ("no server 'three' in backend 'web'", "it has one, two")),
        ({"backend": "wbe"}, ("no server 'one' in backend 'wbe'",)),
        ({"socket": "/no/such.sock"}, ("/no/such.sock", "No such file")),
        ({"socket": f"tcp:127.0.0.1:{free_port()}"}, ("Connection refused",)),
        ({"socket": "10.0.0.5:9999"}, ("is not an address", "tcp:HOST:PORT")),
        ({"health": "localhost"}, ("is not an address",)),
    ):
        line = Recipe("haproxy_server", tmp_path / "records", **{**right, **wrong}).refuses()
        assert all(word in line for word in words), line
    # It has touched nothing.
    assert not (tmp_path / "records").exists()
    assert haproxy.status().startswith("UP")

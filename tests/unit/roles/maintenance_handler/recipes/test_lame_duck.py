# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recipe lame_duck, with a service that decides by a file."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from support.emulator import eventually
from support.recipes import PATIENCE, Recipe


class Checked:
    """A service whose health check fails while a file is there, or while it is not."""

    def __init__(self, file: Path, fails_by_presence: bool) -> None:
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service.asked += 1
                service.answers.wait(PATIENCE)
                self.send_response(503 if file.exists() == fails_by_presence and not service.is_deaf else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: Any) -> None:
                pass

        # It does not look at its file.
        self.is_deaf = False
        self.asked = 0
        self.answers = threading.Event()
        self.answers.set()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/healthz"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "service" / "state"


@pytest.fixture
def make(tmp_path: Path, file: Path) -> Iterator[Callable[..., tuple[Recipe, Checked]]]:
    servers: list[ThreadingHTTPServer] = []
    file.parent.mkdir()

    def make_both(healthy_when: str = "absent", **parameters: Any) -> tuple[Recipe, Checked]:
        if healthy_when == "present":
            file.write_text("in service\n", encoding="utf-8")
            file.chmod(0o640)
        service = Checked(file, healthy_when == "absent")
        servers.append(service.server)
        given = {"file": str(file), "healthy_when": healthy_when, "url": service.url, "drain_seconds": 0, **parameters}
        return Recipe("lame_duck", tmp_path / "records", **given), service

    yield make_both
    for server in servers:
        server.shutdown()
        server.server_close()


Make = Callable[..., tuple[Recipe, Checked]]


@pytest.mark.parametrize("healthy_when", ["absent", "present"])
def test_drains_and_restores_twice_each(healthy_when: str, make: Make, file: Path) -> None:
    recipe, _service = make(healthy_when)
    before = sorted(path.name for path in file.parent.iterdir())
    recipe.does("check")
    assert "answers" in recipe.does("state")
    for _time in range(2):
        recipe.does("drain")
        assert file.exists() == (healthy_when == "absent")
        assert "fails, by this recipe" in recipe.does("state")
        # The handler looks, too, when it is started in the middle.
        recipe.does("check")
    for _time in range(2):
        recipe.does("restore")
        assert sorted(path.name for path in file.parent.iterdir()) == before
    assert recipe.record == {}
    if healthy_when == "present":
        assert (file.read_text(encoding="utf-8"), file.stat().st_mode & 0o777) == ("in service\n", 0o640)


def test_waits_for_the_load_balancer_and_counts_the_time(make: Make, file: Path) -> None:
    recipe, _service = make(drain_seconds=60)
    done = recipe.run("drain", timeout=4.0)
    assert (done.returncode, "more for the load balancer" in done.stdout) == (3, True)
    assert file.exists()
    # As if that had been a minute ago.
    [path] = recipe.records.glob("*.json")
    noted = recipe.record[str(file)]
    path.write_text(path.read_text(encoding="utf-8").replace(str(noted), str(noted - 60)), encoding="utf-8")
    recipe.does("drain")
    recipe.does("restore")
    assert not file.exists()


@pytest.mark.parametrize("healthy_when", ["absent", "present"])
def test_repeated_drain_waits_again_if_its_change_was_lost(healthy_when: str, make: Make, file: Path) -> None:
    recipe, _service = make(healthy_when)
    recipe.does("drain")
    [path] = recipe.records.glob("*.json")
    noted = recipe.record[str(file)]
    long_ago = noted - 3600
    path.write_text(path.read_text(encoding="utf-8").replace(str(noted), str(long_ago)), encoding="utf-8")
    if healthy_when == "absent":
        # As a reboot does in /run.
        file.unlink()
    else:
        file.write_text("deployed again\n", encoding="utf-8")
    recipe.parameters["drain_seconds"] = 60
    done = recipe.run("drain", timeout=4.0)
    assert (done.returncode, "more for the load balancer" in done.stdout) == (3, True)
    assert recipe.record[str(file)] >= noted
    recipe.does("restore")
    assert file.exists() == (healthy_when == "present")
    if healthy_when == "present":
        assert file.read_text(encoding="utf-8") == "deployed again\n"


@pytest.mark.parametrize("has_url", [True, False])
def test_restore_fails_if_the_file_and_its_copy_are_gone(has_url: bool, make: Make, file: Path) -> None:
    recipe, _service = make("present")
    if not has_url:
        recipe.parameters["url"] = None
    recipe.does("drain")
    [aside] = file.parent.iterdir()
    aside.unlink()
    assert f"{file} and its copy {aside} are gone: create {file}" in recipe.refuses("restore")
    assert list(recipe.record) == [str(file)]
    file.write_text("in service\n", encoding="utf-8")
    recipe.does("restore")
    assert recipe.record == {}


def test_restore_keeps_what_someone_has_written_to_the_file(make: Make, file: Path) -> None:
    recipe, _service = make()
    recipe.does("drain")
    file.write_text("ticket 4711: keep out\n", encoding="utf-8")
    assert f"{file} has content, which this recipe did not write; left as is" in recipe.does("restore")
    assert recipe.record == {}
    recipe.does("drain")
    assert "nothing to restore" in recipe.does("restore")
    assert file.read_text(encoding="utf-8") == "ticket 4711: keep out\n"


def test_restores_after_a_cut_off_drain(make: Make, file: Path) -> None:
    recipe, _service = make("present", drain_seconds=60)
    for number in (signal.SIGTERM, signal.SIGKILL):
        with recipe.start("drain", timeout=120) as drain:
            eventually(lambda: not file.exists())
            drain.send_signal(number)
            drain.communicate(timeout=PATIENCE)
        assert drain.returncode != 0
        recipe.does("restore")
        assert file.read_text(encoding="utf-8") == "in service\n"


@pytest.mark.parametrize("healthy_when", ["absent", "present"])
def test_keeps_an_operator_s_earlier_change(healthy_when: str, make: Make, file: Path) -> None:
    recipe, _service = make(healthy_when)
    if healthy_when == "absent":
        file.touch()
    else:
        file.unlink()
    for verb in ("drain", "restore"):
        recipe.does(verb)
        assert file.exists() == (healthy_when == "absent")


def test_waits_until_all_connections_are_closed(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        recipe, _service = make(port=port)
        with socket.create_connection(("127.0.0.1", port)), server.accept()[0]:
            done = recipe.run("drain", timeout=4.0)
            assert (done.returncode, f"1 connection to port {port}" in done.stdout) == (3, True)
        recipe.does("drain")


def test_fails_if_the_health_check_still_succeeds(make: Make) -> None:
    recipe, service = make()
    service.is_deaf = True
    assert "answers 200, although" in recipe.reports("drain", lambda: service.asked >= 2)


def test_a_health_check_that_the_end_of_the_time_cuts_short_has_not_failed(make: Make) -> None:
    recipe, service = make()
    service.answers.clear()
    done = recipe.run("drain", timeout=1.0)
    service.answers.set()
    assert (done.returncode, f"{service.url} does not answer" in done.stdout) == (3, True)


def test_messages_do_not_have_the_query_of_the_url(make: Make, file: Path) -> None:
    recipe, service = make()
    recipe.parameters["url"] = f"{service.url}?token=geheim"
    service.is_deaf = True
    said = recipe.reports("drain", lambda: service.asked >= 2)
    assert f"{service.url} answers 200" in said
    assert "geheim" not in said
    service.is_deaf = False
    recipe.parameters["healthy_when"] = "present"
    words = recipe.refuses()
    assert f"{service.url} answers 503" in words
    assert "geheim" not in words


def test_restore_waits_until_the_service_answers(make: Make, file: Path) -> None:
    recipe, service = make()
    recipe.does("drain")
    service.server.shutdown()
    service.server.server_close()
    done = recipe.run("restore", timeout=1.0)
    assert (done.returncode, "does not answer" in done.stdout) == (3, True)
    # It is not forgotten.
    assert list(recipe.record) == [str(file)]


def test_check_reports_invalid_parameters(make: Make, file: Path, tmp_path: Path) -> None:
    recipe, service = make()
    recipe.parameters["file"] = "/no/such/folder/file"
    assert "the directory /no/such/folder does not exist" in recipe.refuses()
    recipe.parameters["file"] = str(file)
    recipe.parameters["url"] = f"{service.url.rpartition(':')[0]}:1/"
    assert "should succeed now, but" in recipe.refuses()
    recipe.parameters.update(url=None, healthy_when="present")
    recipe.parameters["file"] = str(file.parent)
    assert "is not a file" in recipe.refuses()
    if os.geteuid():
        recipe.parameters["file"] = "/etc/lame_duck"
        assert "cannot write to /etc" in recipe.refuses()
    assert not (tmp_path / "records").exists()

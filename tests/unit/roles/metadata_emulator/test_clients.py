# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Third-party clients, unmodified, against the emulator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from support import sample_loop
from support.emulator import EmulatorProcess, eventually

EVENT = "instance/maintenance-event"
MIGRATE = "MIGRATE_ON_HOST_MAINTENANCE"


@pytest.fixture
def emulator() -> Iterator[EmulatorProcess]:
    with EmulatorProcess({"project": "shop", "instances": [{"name": "web-1"}], "speed": 100}) as process:
        yield process


# google-auth reads its environment when it is imported, so it needs a separate process.
GOOGLE_AUTH = """
import json
import google.auth
import google.auth.transport.requests
credentials, project = google.auth.default()
credentials.refresh(google.auth.transport.requests.Request())
print(json.dumps({
    "class": type(credentials).__module__ + "." + type(credentials).__name__,
    "project": project,
    "token": credentials.token,
    "email": credentials.service_account_email,
    "universe": credentials.universe_domain,
    "expired": credentials.expired,
}))
"""

GOOGLE_IDENTITY = """
import google.auth.transport.requests
import google.oauth2.id_token
print(google.oauth2.id_token.fetch_id_token(google.auth.transport.requests.Request(), "https://shop.example"))
"""


def google_auth(emulator: EmulatorProcess, program: str, home: Path) -> str:
    address = emulator.metadata["web-1"]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "CLOUDSDK_CONFIG": str(home),
        "GCE_METADATA_HOST": address,
        "GCE_METADATA_IP": address,
        "GOOGLE_API_USE_CLIENT_CERTIFICATE": "false",
    }
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


def test_google_auth_finds_its_project_and_gets_a_token(emulator: EmulatorProcess, tmp_path: Path) -> None:
    found = json.loads(google_auth(emulator, GOOGLE_AUTH, tmp_path))
    assert found["class"] == "google.auth.compute_engine.credentials.Credentials"
    assert found["project"] == "shop"
    assert found["token"].startswith("ya29.")
    assert found["email"] == emulator.control.get("web-1", "instance/service-accounts/default/email")
    assert found["universe"] == "googleapis.com"
    assert found["expired"] is False


def test_google_auth_gets_an_identity_token(emulator: EmulatorProcess, tmp_path: Path) -> None:
    assert google_auth(emulator, GOOGLE_IDENTITY, tmp_path).count(".") == 2


def test_the_documentations_sample_loop_sees_a_migration_come_and_go(emulator: EmulatorProcess) -> None:
    events = sample_loop.events(emulator.metadata["web-1"])
    emulator.control.set("web-1", EVENT, MIGRATE)
    assert next(events) == MIGRATE
    emulator.control.set("web-1", EVENT, "NONE")
    assert next(events) is None


def test_the_sample_loop_sleeps_a_second_on_503(emulator: EmulatorProcess) -> None:
    slept: list[float] = []
    emulator.control.fault("503", count=3)
    emulator.control.set("web-1", EVENT, MIGRATE)
    assert next(sample_loop.events(emulator.metadata["web-1"], slept.append)) == MIGRATE
    assert slept == [1, 1, 1]


def test_the_sample_loop_runs_its_command(emulator: EmulatorProcess, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    command = ["/bin/sh", "-c", f"echo $GCE_MAINTENANCE_EVENT >> {seen}"]
    loop = subprocess.Popen(
        [sys.executable, sample_loop.__file__, "--host", emulator.metadata["web-1"], "--exec", *command]
    )
    try:
        # The sample starts with an invalid etag, which is answered at once; then it hangs.
        eventually(lambda: emulator.control.instance("web-1")["hanging_gets"] == 1, what="the sample hangs")
        emulator.control.scenario("web-1", "live-migration")
        lines = eventually(
            lambda: (words := seen.read_text().split() if seen.exists() else []) == [MIGRATE, "NONE"] and words,
            what="the command ran for both changes",
        )
        assert lines == [MIGRATE, "NONE"]
    finally:
        loop.terminate()
        loop.wait()


def test_requests_follows_the_redirect_of_a_directory(emulator: EmulatorProcess) -> None:
    address = emulator.metadata["web-1"]
    url = f"http://{address}/computeMetadata/v1/instance/disks?recursive=true"
    answer = requests.get(url, headers=sample_loop.HEADERS, timeout=20)
    assert [step.status_code for step in answer.history] == [301]
    assert answer.json()[0]["deviceName"] == "web-1"

# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands in the environment of a service, with a systemd-run that records its calls.

That the real one makes the same of it, the scenario `systemd` of molecule sees.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from maintenance_handler.app import cli_check, unit_environment
from maintenance_handler.app.unit_environment import CannotRun, run, service_properties

UNIT = """\
# A comment
[Unit]
Description=User=nobody
[Service]
Type=notify
User=app
ExecStart=/usr/bin/python3 -I /lib/handler run --config /etc/config.json
; another comment
RuntimeDirectory=handler
StateDirectory=handler
Restart=on-failure
RestartSteps=5
TimeoutStopSec=100
WatchdogSec=210
KillMode=mixed
CapabilityBoundingSet=
SystemCallFilter=~@clock \\
  @module
Environment="A=100%% of it" B=c
ReadWritePaths=/var/lib/handler
ReadWritePaths=-/var/lib/node
Slice=-.slice

[Install]
WantedBy=multi-user.target
"""


def test_properties_are_those_that_affect_the_environment() -> None:
    assert service_properties(UNIT) == [
        "User=app",
        "CapabilityBoundingSet=",
        "SystemCallFilter=~@clock    @module",
        'Environment="A=100% of it" B=c',
        "ReadWritePaths=/var/lib/handler",
        "ReadWritePaths=-/var/lib/node",
        "Slice=-.slice",
    ]


@pytest.fixture
def systemd_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Installs a systemd-run that records its arguments, a line for each call, and then runs a shell text."""

    def make(then: str) -> Path:
        program = tmp_path / "systemd-run"
        program.write_text(
            f"#!{sys.executable}\nimport json, os, sys\n"
            f"open({str(tmp_path / 'calls')!r}, 'a').write(json.dumps(sys.argv[1:]) + '\\n')\n"
            f"command = sys.argv[sys.argv.index('--') + 1:]\n{then}\n"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return tmp_path / "calls"

    return make


EXECUTE = "os.execvp(command[0], command)"


def test_runs_a_command_with_its_input(systemd_run: Callable[[str], Path]) -> None:
    calls = systemd_run(EXECUTE)
    assert run(UNIT, ["cat"], b"text") == (0, "text")
    (call,) = map(json.loads, calls.read_text().splitlines())
    assert call[:4] == ["--quiet", "--wait", "--pipe", "--collect"]
    assert [call[at + 1] for at, word in enumerate(call) if word == "--property"][:-1] == service_properties(UNIT)
    assert run(UNIT, ["sh", "-c", "cat; exit 2"]) == (2, "")


def test_omits_properties_that_a_transient_unit_cannot_have(systemd_run: Callable[[str], Path]) -> None:
    calls = systemd_run(f"if 'Slice=-.slice' in sys.argv: sys.exit('Unknown assignment: Slice=-.slice')\n{EXECUTE}")
    assert run(UNIT, ["true"]) == (0, "")
    assert len(calls.read_text().splitlines()) == 2


def test_reports_settings_of_the_unit_that_cannot_be_applied(systemd_run: Callable[[str], Path]) -> None:
    systemd_run("sys.exit(226)")
    with pytest.raises(CannotRun, match=r"exit status 226, NAMESPACE, of the paths in ReadWritePaths= and the like"):
        run(UNIT, ["true"])


def test_reports_an_error_of_systemd(systemd_run: Callable[[str], Path]) -> None:
    systemd_run("sys.exit('Failed to start transient service unit: no such thing')")
    with pytest.raises(CannotRun, match=r"systemd-run failed with exit status 1: Failed to start transient"):
        run(UNIT, ["true"])


def test_reports_a_missing_systemd_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotRun, match="systemd-run cannot be run: "):
        run(UNIT, ["true"])


class TestCheck:
    """The command `check` in the environment of the service."""

    @pytest.fixture(autouse=True)
    def _on_systemd(self, systemd_run: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
        systemd_run(EXECUTE)
        monkeypatch.setattr(unit_environment, "is_possible", lambda: True)

    def test_reports_problems_in_the_service_s_environment(self, tmp_path: Path) -> None:
        config = tmp_path / "config.json"
        task = {"name": "lb", "on": ["preempt"], "drain": ["/no/such"], "timeout": 5}
        config.write_text(json.dumps({"state_dir": "/s", "runtime_dir": "/r", "tasks": [task]}))
        found = cli_check.report_in_unit(config, UNIT)
        assert (found.tasks, found.notes) == (1, ())
        assert found.problems == (
            "task 'lb', field 'drain': program '/no/such' does not exist or cannot be executed here",
        )

    def test_uses_the_installed_unit_if_it_is_for_the_configuration(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cli_check, "UNIT_FILE", tmp_path / "unit")
        assert cli_check.unit_text(None, Path("/etc/config.json")) is None
        (tmp_path / "unit").write_text(UNIT)
        assert cli_check.unit_text(None, Path("/etc/config.json")) == UNIT
        assert cli_check.unit_text(None, Path("/etc/other.json")) is None

    def test_fails_if_the_given_unit_is_missing(self, tmp_path: Path) -> None:
        with pytest.raises(CannotRun, match=r"Reading the unit .*/none: No such file or directory\."):
            cli_check.unit_text(tmp_path / "none", Path("/etc/config.json"))

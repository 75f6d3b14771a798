# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The progress of modules over many instances, in real plays on an emulated project."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.emulator import EmulatorProcess
from support.playbook import CHECKOUT, run_play

COUNT = 40
ENVIRONMENT = {
    # Otherwise standard output is buffered, and comes after standard error.
    "PYTHONUNBUFFERED": "1",
    "GCP_AUTH_KIND": "accesstoken",
    "GCP_ACCESS_TOKEN": "test-token-hunter2",
    "GCP_PROJECT": "emulated-project",
}
# The burst of this limit is 66 requests. 40 instances take 81 requests, or half as many to be read.
SLOW = {"requests_per_minute": 800}
ALL = {"filter": "name:vm-*", **SLOW}
MODULES = {
    "custom_metadata": {**ALL, "metadata": {"release": "hunter2"}},
    "legacy_endpoints": {**ALL, "state": "disabled"},
    "scheduling": {**ALL, "automatic_restart": False},
    "host_maintenance": {**ALL, "action": "simulate"},
    "guest_attributes_info": {**ALL, "requests_per_minute": 360},
    "fleet_status_info": {"requests_per_minute": 360, "history": "0"},
    "fleet_status_report": {"requests_per_minute": 360, "history": "0"},
}

JSON_CALLBACK = """
from ansible.plugins.callback import CallbackBase

class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "json"

    def v2_playbook_on_stats(self, stats):
        self._display.display("the end")
"""


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatorProcess]:
    instances = [
        {"name": f"vm-{number:02}", "attributes": {"enable-guest-attributes": "TRUE"}} for number in range(COUNT)
    ]
    with EmulatorProcess({"instances": instances, "speed": 1000}) as running:
        yield running


def play(
    emulator: EmulatorProcess,
    module: str,
    *arguments: str,
    pause: Any = 0.3,
    variables: dict[str, str] | None = None,
    **task: Any,
) -> str:
    """The output of a play with this module that succeeds."""
    whole = {"name": "Work", f"gce.guest.{module}": {**MODULES[module]}, **task}
    api = {"CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": emulator.compute}
    settings = {} if pause is None else {"gce_progress": pause}
    status, output = run_play(
        [whole], *arguments, environment={**ENVIRONMENT, **api, **(variables or {})}, vars=settings
    )
    assert status == 0, output
    return output


def progress(output: str) -> list[str]:
    return [line for line in output.splitlines() if re.match(r"\w+ on \S+: ", line)]


def test_every_module_over_many_instances_has_the_plugin() -> None:
    api = yaml.safe_load((CHECKOUT / "meta/runtime.yml").read_text(encoding="utf-8"))["action_groups"]["api"]
    # These read a few lists.
    assert set(api) - {"custom_metadata_info", "fleet_maintenance_info"} == set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_time_and_progress_are_shown_before_the_result(emulator: EmulatorProcess, module: str) -> None:
    emulator.control.reset()
    output = play(emulator, module, "-vvv")
    first, *others = progress(output)
    assert re.fullmatch(
        rf"{module} on localhost: {COUNT} instances, at least \d+ s at the limit of requests a minute", first
    )
    assert others
    assert all(
        re.fullmatch(rf"{module} on localhost: \d+ of {COUNT} instances(, about \d+ s left)?", n) for n in others
    )
    assert output.index(first) < output.index(others[-1]) < output.rindex("[localhost] =>")
    assert "at the limit" not in output[output.rindex("[localhost] =>") :]


def test_no_secret_is_shown_and_no_file_stays(emulator: EmulatorProcess, tmp_path: Path) -> None:
    emulator.control.reset()
    temporary = {"ANSIBLE_LOCAL_TEMP": str(tmp_path)}
    output = play(emulator, "custom_metadata", "-vvv", no_log=True, variables=temporary)
    assert len(progress(output)) > 1
    assert "hunter2" not in output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("pause", [None, 0, "0", "{{ 0 }}"])
def test_short_work_and_a_pause_of_0_show_nothing(emulator: EmulatorProcess, pause: Any) -> None:
    assert progress(play(emulator, "guest_attributes_info", pause=pause)) == []


def test_output_for_programs_has_no_progress(emulator: EmulatorProcess, tmp_path: Path) -> None:
    # Not in ansible-core: a callback plugin of the same name.
    (tmp_path / "json.py").write_text(JSON_CALLBACK, encoding="utf-8")
    environment = {"ANSIBLE_CALLBACK_PLUGINS": str(tmp_path), "ANSIBLE_STDOUT_CALLBACK": "json"}
    output = play(emulator, "guest_attributes_info", variables=environment)
    assert output.strip() == "the end"


def test_it_works_in_loops_with_until_and_an_environment(emulator: EmulatorProcess) -> None:
    output = play(
        emulator,
        "guest_attributes_info",
        "-vvv",
        loop=[1, 2],
        register="found",
        until="found.instances | length == 40",
        retries=2,
        delay=0,
    )
    assert len([line for line in progress(output) if "at least" in line]) == 2


def test_in_the_background_nothing_is_shown(emulator: EmulatorProcess) -> None:
    task: dict[str, Any] = {"async": 60, "poll": 1}
    output = play(emulator, "guest_attributes_info", **task)
    assert progress(output) == []
    assert "ok=1" in output


def test_the_task_keeps_its_environment(emulator: EmulatorProcess) -> None:
    task = {"environment": {"GCP_PROJECT": "{{ name }}"}, "vars": {"name": "emulated-project"}}
    output = play(emulator, "guest_attributes_info", variables={"GCP_PROJECT": "other-project"}, **task)
    assert len(progress(output)) > 1


def test_failures_are_those_of_the_module(emulator: EmulatorProcess) -> None:
    output = play(emulator, "custom_metadata", args={"nonsense": 1}, ignore_errors=True)
    assert progress(output) == []
    assert "Unsupported parameters" in output
    assert "Traceback" not in output

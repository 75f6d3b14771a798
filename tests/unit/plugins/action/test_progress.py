# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The progress of modules over many instances, in real plays on an emulated project."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.emulator import EmulatorProcess
from support.playbook import CHECKOUT, run_play, started_play

# Instances, half of them in each group.
COUNT = 80
GROUPS = ("vm-a", "vm-b")
ENVIRONMENT = {
    # Otherwise standard output is buffered, and comes after standard error.
    "PYTHONUNBUFFERED": "1",
    "GCP_AUTH_KIND": "accesstoken",
    "GCP_ACCESS_TOKEN": "test-token-hunter2",
    "GCP_PROJECT": "emulated-project",
}
# The burst of this limit is 133 requests. 80 instances take 161 requests, or half as many to be read.
SLOW = {"requests_per_minute": 1600}
READ = {"requests_per_minute": 840}
# One at a time, so that few requests are in vain while the API is unavailable.
ALL = {"filter": "name:vm-*", "concurrency": 1, **SLOW}
MODULES = {
    "custom_metadata": {**ALL, "metadata": {"release": "hunter2"}},
    "legacy_endpoints": {**ALL, "state": "disabled"},
    "scheduling": {**ALL, "automatic_restart": False},
    "host_maintenance": {**ALL, "action": "simulate"},
    "guest_attributes_info": {**ALL, **READ},
    "fleet_status_info": {**READ, "history": "0"},
    "fleet_status_report": {**READ, "history": "0"},
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
        {"name": f"{group}{number:02}", "attributes": {"enable-guest-attributes": "TRUE"}}
        for group in GROUPS
        for number in range(COUNT // len(GROUPS))
    ]
    with EmulatorProcess({"instances": instances, "speed": 1000}) as running:
        yield running


# By the beginning of the names of instances: for these, the API is unavailable until the progress is as it should be.
Holds = Mapping[str, Callable[[list[str]], bool]]
# Whoever shows the progress looks now and then. Without this, the work might be done before the first look.
UNTIL_SHOWN: Holds = {"vm-": lambda lines: len(lines) > 1}


def play(
    emulator: EmulatorProcess,
    module: str,
    *arguments: str,
    pause: Any = 0.3,
    variables: dict[str, str] | None = None,
    holds: Holds | None = None,
    **task: Any,
) -> str:
    """The output of a play with this module that succeeds."""
    whole = {"name": "Work", f"gce.guest.{module}": {**MODULES[module]}, **task}
    api = {"CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": emulator.compute}
    settings = {} if pause is None else {"gce_progress": pause}
    environment = {**ENVIRONMENT, **api, **(variables or {})}
    if holds is None:
        status, output = run_play([whole], *arguments, environment=environment, vars=settings)
    else:
        status, output = held_play(emulator, holds, whole, *arguments, environment=environment, vars=settings)
    assert status == 0, output
    return output


def held_play(
    emulator: EmulatorProcess, holds: Holds, task: dict[str, Any], *arguments: str, **play: Any
) -> tuple[int, str]:
    zone = "projects/emulated-project/zones/us-central1-a"
    waiting = {
        emulator.control.fault("503", face="compute", path=f"{zone}/instances/{begin}"): is_shown
        for begin, is_shown in holds.items()
    }
    output = ""
    with started_play([task], *arguments, **play) as process:
        assert process.stdout is not None
        for line in process.stdout:
            output += line
            lines = progress(output)
            for fault in [fault for fault, is_shown in waiting.items() if is_shown(lines)]:
                emulator.control.request("DELETE", f"faults/{fault}")
                del waiting[fault]
    emulator.control.clear_faults()
    return process.returncode, output


def progress(output: str) -> list[str]:
    return [line for line in output.splitlines() if re.match(r"\w+ on \S+: ", line)]


def announced(lines: list[str]) -> int:
    return len([line for line in lines if "at least" in line])


def test_every_module_over_many_instances_has_the_plugin() -> None:
    api = yaml.safe_load((CHECKOUT / "meta/runtime.yml").read_text(encoding="utf-8"))["action_groups"]["api"]
    # These read a few lists.
    assert set(api) - {"custom_metadata_info", "fleet_maintenance_info"} == set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_time_and_progress_are_shown_before_the_result(emulator: EmulatorProcess, module: str) -> None:
    emulator.control.reset()
    output = play(emulator, module, "-vvv", holds=UNTIL_SHOWN)
    first, *others = progress(output)
    assert re.fullmatch(
        rf"{module} on localhost: {COUNT} instances, at least \d+ s at the limit of requests a minute", first
    )
    assert others
    assert all(
        re.fullmatch(rf"{module} on localhost: \d+ of {COUNT} instances(, about \d+ (s|min) left)?", n) for n in others
    )
    assert output.index(first) < output.index(others[-1]) < output.rindex("[localhost] =>")
    assert "at the limit" not in output[output.rindex("[localhost] =>") :]


def test_no_secret_is_shown_and_no_file_stays(emulator: EmulatorProcess, tmp_path: Path) -> None:
    emulator.control.reset()
    temporary = {"ANSIBLE_LOCAL_TEMP": str(tmp_path)}
    output = play(emulator, "custom_metadata", "-vvv", no_log=True, variables=temporary, holds=UNTIL_SHOWN)
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
    task: dict[str, Any] = {
        "gce.guest.guest_attributes_info": {"filter": "name:{{ item }}*", "concurrency": 1, "requests_per_minute": 360},
        "loop": list(GROUPS),
        "register": "found",
        "until": f"found.instances | length == {COUNT // len(GROUPS)}",
        "retries": 2,
        "delay": 0,
    }
    output = play(
        emulator,
        "guest_attributes_info",
        "-vvv",
        **task,
        holds={GROUPS[0]: lambda lines: announced(lines) == 1, GROUPS[1]: lambda lines: announced(lines) == 2},
    )
    assert announced(progress(output)) == 2


def test_in_the_background_nothing_is_shown(emulator: EmulatorProcess) -> None:
    task: dict[str, Any] = {"async": 60, "poll": 1}
    output = play(emulator, "guest_attributes_info", **task)
    assert progress(output) == []
    assert "ok=1" in output


def test_the_task_keeps_its_environment(emulator: EmulatorProcess) -> None:
    task = {"environment": {"GCP_PROJECT": "{{ name }}"}, "vars": {"name": "emulated-project"}}
    variables = {"GCP_PROJECT": "other-project"}
    output = play(emulator, "guest_attributes_info", variables=variables, holds=UNTIL_SHOWN, **task)
    assert len(progress(output)) > 1


def test_failures_are_those_of_the_module(emulator: EmulatorProcess) -> None:
    output = play(emulator, "custom_metadata", args={"nonsense": 1}, ignore_errors=True)
    assert progress(output) == []
    assert "Unsupported parameters" in output
    assert "Traceback" not in output

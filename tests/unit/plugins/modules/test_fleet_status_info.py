# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module fleet_status_info, with an emulated Compute API."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import parse_qs

import pytest
from ansible_collections.gce.guest.plugins.module_utils._compute.errors import ComputeNotFound
from ansible_collections.gce.guest.plugins.module_utils._vm.maintenance import format_time
from ansible_collections.gce.guest.plugins.modules import fleet_status_info

from support.emulator import EmulatorProcess
from support.modules import Result, run_module
from support.playbook import examples, run_play

ENABLED = {"enable-guest-attributes": "TRUE"}
FLEET = {
    "project": "acme",
    "speed": 1000,
    "instances": [
        {"name": "web-1", "labels": {"env": "prod"}, "attributes": ENABLED},
        {"name": "web-2", "labels": {"env": "prod"}, "attributes": ENABLED},
        {"name": "db-1", "zone": "europe-west1-b", "machine_type": "c3-standard-8", "attributes": ENABLED},
        {"name": "plain-1", "zone": "europe-west1-b"},
    ],
}
STATUS = "instance/guest-attributes/maintenance-handler/status"


def report(emulator: EmulatorProcess, name: str, state: str = "idle", **changes: Any) -> None:
    """Write the guest attribute of a handler, a minute ahead of the start of the emulated VM."""
    status = {"state": state, "at": format_time(time.time() + 60), "every": 3600, "version": "0.1.0", **changes}
    emulator.control.set(name, STATUS, json.dumps(status))


@pytest.fixture
def emulator(emulator: EmulatorProcess) -> EmulatorProcess:
    """With two handlers, and a window."""
    report(emulator, "web-1")
    report(emulator, "db-1", "drained", events=["window"], held=["Stop the database"])
    window = {"window_start_time": "2098-12-01T00:00:00Z", "can_reschedule": True}
    emulator.control.set("db-1", "instance/upcoming-maintenance", window)
    return emulator


def run(*, check: bool = False, **parameters: Any) -> Result:
    return run_module(fleet_status_info, parameters, check=check)


def states(result: Result) -> dict[str, str]:
    return {row["name"]: row["state"] for row in result["instances"]}


def asked(emulator: EmulatorProcess) -> list[str]:
    return [request["path"].partition("/projects/acme/")[2] for request in emulator.control.journal(face="compute")]


def test_joins_the_lists_with_the_reports(emulator: EmulatorProcess) -> None:
    result = run()
    assert not result["changed"]
    assert result["complete"]
    assert states(result) == {
        "db-1": "drained",
        "web-2": "no handler",
        "plain-1": "guest attributes disabled",
        "web-1": "idle",
    }
    db = result["instances"][0]
    assert (db["zone"], db["machine_type"], db["in_service"]) == ("europe-west1-b", "c3-standard-8", False)
    assert db["handler"]["held"] == ["Stop the database"]
    assert db["window"]["window_start_time"] == "2098-12-01T00:00:00Z"
    assert [window["name"] for window in result["windows"]] == ["db-1"]
    assert result["counts"]["groups"]["out of service"] == 1
    assert result["table"]["groups"][0]["rows"][0][:3] == ["db-1", "europe-west1-b", "drained"]


def test_takes_two_lists_and_one_request_for_each_vm_that_may_have_a_report(emulator: EmulatorProcess) -> None:
    run()
    first, second, *rest = asked(emulator)
    assert [first, second] == ["aggregated/instances", "aggregated/operations"]
    assert sorted(rest) == [
        "zones/europe-west1-b/instances/db-1/getGuestAttributes",
        "zones/us-central1-a/instances/web-1/getGuestAttributes",
        "zones/us-central1-a/instances/web-2/getGuestAttributes",
    ]
    [mask] = parse_qs(emulator.control.journal(face="compute")[0]["query"])["fields"]
    # Metadata may be large.
    assert "metadata" not in mask


def test_a_filter_a_zone_and_no_history(emulator: EmulatorProcess) -> None:
    assert sorted(states(run(filter="labels.env = prod"))) == ["web-1", "web-2"]
    assert sorted(states(run(zone="europe-west1-b"))) == ["db-1", "plain-1"]
    emulator.control.clear_journal()
    run(history="0", zone="us-central1-a")
    assert asked(emulator)[0] == "zones/us-central1-a/instances"
    assert not any("operations" in path for path in asked(emulator))


def test_shows_the_last_event_of_the_platform(emulator: EmulatorProcess) -> None:
    emulator.control.scenario("web-2", "host-error")
    deadline = time.monotonic() + 60
    while True:
        row = next(each for each in run()["instances"] if each["name"] == "web-2")
        if row["last_host_event"] or time.monotonic() > deadline:
            break
    assert row["last_host_event"]["event"] in ("hostError", "automaticRestart")
    assert row["last_incident"] is None


def test_a_stopped_vm_is_not_asked(emulator: EmulatorProcess) -> None:
    emulator.control.request("POST", "instances/web-1/stop")
    assert states(run())["web-1"] == "not running"
    assert not any("web-1" in path for path in asked(emulator))


def test_a_restarted_vm_has_a_stale_report_until_its_handler_writes(emulator: EmulatorProcess) -> None:
    report(emulator, "web-1", "drained", held=["lb"], at="2020-01-01T00:00:00Z")
    assert states(run())["web-1"] == "stale"


def test_missing_permissions_do_not_hide_the_rest(emulator: EmulatorProcess) -> None:
    emulator.control.fault("forbidden", face="compute", path="projects/acme/zones/us-central1-a/instances")
    emulator.control.fault("forbidden", face="compute", path="projects/acme/aggregated/operations")
    result = run()
    assert not result.failed
    assert states(result)["web-1"] == "denied"
    assert states(result)["db-1"] == "drained"
    assert not result["complete"]
    assert "compute.globalOperations.list" in result["denied"]["history"]
    assert "The status of 2 instances could not be read." in result.printed
    assert "Grant the permission compute.instances.getGuestAttributes" in result.printed


def test_a_failure_of_the_list_fails(emulator: EmulatorProcess) -> None:
    emulator.control.fault("forbidden", face="compute", path="projects/acme/aggregated/instances")
    result = run()
    assert result.failed
    assert "Grant the permission compute.instances.list" in result["msg"]


def test_an_instance_that_is_deleted_meanwhile_is_left_out() -> None:
    instances = [{"name": name, "zone": "zones/z", "status": "RUNNING"} for name in ("web-1", "web-2")]
    outcomes = [ComputeNotFound("There is no web-1.", status=404), {}]
    assert [row["name"] for row in fleet_status_info.rows_of(instances, outcomes, {}, 0.0)] == ["web-2"]


def test_what_a_guest_writes_is_data(emulator: EmulatorProcess) -> None:
    emulator.control.set("web-2", STATUS, "{{ lookup('pipe', 'id') }}")
    report(emulator, "web-1", "drained", held=["</script><script>alert(1)</script>"])
    result = run()
    assert states(result)["web-2"] == "unreadable"
    [held] = [row["handler"]["held"] for row in result["instances"] if row["name"] == "web-1"]
    assert held == ["</script><script>alert(1)</script>"]


@pytest.mark.parametrize(
    "parameters, words",
    [
        ({"history": "soon"}, "history is 'soon', which is not a duration"),
        ({"filter": ""}, "filter is empty."),
        ({"zone": "projects/other/zones/europe-west1-b"}, "is not in the project acme"),
    ],
)
def test_invalid_options(emulator: EmulatorProcess, parameters: Any, words: str) -> None:
    assert words in run(**parameters)["msg"]
    assert asked(emulator) == []


def test_check_mode_makes_no_difference(emulator: EmulatorProcess) -> None:
    one, other = run(check=True), run()
    assert one["instances"] == other["instances"]


def test_the_examples_run_and_show_no_token(emulator: EmulatorProcess) -> None:
    status, output = run_play(examples("modules", "fleet_status_info"), "-vvvv", environment={})
    assert status == 0, output
    assert "ya29.planted" not in output

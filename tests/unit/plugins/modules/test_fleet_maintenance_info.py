# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module fleet_maintenance_info, with an emulated Compute API."""

from __future__ import annotations

import datetime
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs

import pytest
from ansible_collections.gce.guest.plugins.module_utils._compute.errors import ComputeBadRequest
from ansible_collections.gce.guest.plugins.module_utils._compute.fleet_maintenance import Fleet, of_instance, seconds_of
from ansible_collections.gce.guest.plugins.modules import fleet_maintenance_info

from support.emulator import EmulatorProcess
from support.modules import Result, run_module
from support.playbook import examples, run_play

FLEET = {
    "project": "acme",
    "speed": 1000,
    "instances": [
        {"name": "web-1", "labels": {"env": "prod"}},
        {"name": "web-2", "labels": {"env": "prod"}, "accelerators": [{"type": "nvidia-l4"}]},
        {"name": "db-1", "zone": "europe-west1-b", "labels": {"env": "test"}},
        {"name": "quiet-1", "zone": "europe-west1-b"},
    ],
}
# The module's time. The windows are so far in the future that the emulator's clock does not matter.
NOW = datetime.datetime(2098, 12, 1, tzinfo=datetime.UTC)


def window(hours: float, **more: Any) -> dict[str, Any]:
    start = NOW + datetime.timedelta(hours=hours)
    return {"window_start_time": start.isoformat(), "can_reschedule": True, **more}


@pytest.fixture
def emulator(emulator: EmulatorProcess) -> EmulatorProcess:
    """With announced maintenance."""
    for name, announced in {
        "web-1": window(48, maintenance_reasons=["PLANNED_UPDATE"]),
        "web-2": window(2, can_reschedule=False),
        "db-1": window(-1, maintenance_status="ONGOING"),
    }.items():
        emulator.control.set(name, "instance/upcoming-maintenance", announced)
    return emulator


def run(*, check: bool = False, **parameters: Any) -> Result:
    module = ModuleType("fleet_maintenance_info")
    module.__dict__["main"] = lambda: fleet_maintenance_info.main(NOW.timestamp)
    return run_module(module, parameters, check=check)


def rows(instances: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return Fleet([each for instance in instances for each in of_instance(instance)]).rows(NOW.timestamp())


def names(result: Result) -> list[str]:
    return [each["name"] for each in result["windows"]]


class TestWindows:
    def test_are_sorted_by_time(self, emulator: EmulatorProcess) -> None:
        result = run()
        assert names(result) == ["db-1", "web-2", "web-1"]
        assert result["complete"]
        assert not result["changed"]
        assert [each["starts_in"] for each in result["windows"]] == [0, 7200, 172800]

    def test_of_a_zone_in_the_form_of_the_metadata_server(self, emulator: EmulatorProcess) -> None:
        assert names(run(zone=emulator.control.get("db-1", "instance/zone"))) == ["db-1"]

    def test_of_a_zone_of_another_project_are_refused(self, emulator: EmulatorProcess) -> None:
        result = run(zone="projects/other/zones/europe-west1-b")
        assert result.failed
        assert result["msg"] == (
            "The zone 'projects/other/zones/europe-west1-b' is not in the project acme. Set the option project to its "
            "project."
        )

    def test_have_all_fields(self, emulator: EmulatorProcess) -> None:
        shown = run()["windows"][2]
        assert shown["zone"] == "us-central1-a"
        assert shown["instance_status"] == "RUNNING"
        assert shown["on_host_maintenance"] == "MIGRATE"
        assert shown["window_start_time"] == "2098-12-03T00:00:00Z"
        assert shown["status"] == "PENDING"
        assert shown["can_reschedule"] is True
        assert shown["reasons"] == ["PLANNED_UPDATE"]

    def test_of_instances_take_one_request_with_a_field_mask(self, emulator: EmulatorProcess) -> None:
        run(kinds=["instance"])
        [request] = emulator.control.journal(face="compute")
        assert request["path"] == "/compute/v1/projects/acme/aggregated/instances"
        [mask] = parse_qs(request["query"])["fields"]
        assert "resourceStatus(upcomingMaintenance)" in mask
        assert "metadata" not in mask

    def test_within_a_time(self, emulator: EmulatorProcess) -> None:
        assert names(run(within="3h")) == ["db-1", "web-2"]
        assert names(run(within="0")) == ["db-1"]
        assert names(run(within="2d")) == ["db-1", "web-2", "web-1"]

    def test_beyond_the_time_are_counted(self, emulator: EmulatorProcess) -> None:
        result = run(within="0")
        assert (result["window_count"], result["instance_count"]) == (3, 4)
        assert result["next_window_start_time"] == "2098-12-01T02:00:00Z"
        result = run(filter="labels.env = prod", within="2d")
        assert (result["window_count"], result["instance_count"]) == (2, 2)
        assert result["next_window_start_time"] is None

    def test_that_match_a_filter(self, emulator: EmulatorProcess) -> None:
        assert names(run(filter="labels.env = prod")) == ["web-2", "web-1"]

    def test_of_one_zone(self, emulator: EmulatorProcess) -> None:
        assert names(run(zone="europe-west1-b", kinds=["instance"])) == ["db-1"]
        [request] = emulator.control.journal(face="compute")
        assert request["path"].endswith("/zones/europe-west1-b/instances")

    def test_check_mode_makes_no_difference(self, emulator: EmulatorProcess) -> None:
        assert dict(run(check=True)) == dict(run())

    def test_without_a_known_start_are_last(self) -> None:
        instances = [
            {"name": "a", "zone": "z", "resourceStatus": {"upcomingMaintenance": {"type": "SCHEDULED"}}},
            {"name": "b", "zone": "z", "resourceStatus": {"upcomingMaintenance": window(1)}},
        ]
        assert [(each["name"], each["starts_in"]) for each in rows(instances)] == [("b", 3600), ("a", None)]

    def test_of_the_type_none_are_ignored(self) -> None:
        """The API returns such windows for some instances without announced maintenance."""
        unset = {"type": "NONE", "maintenanceStatus": "UNKNOWN", "windowStartTime": "1970-01-01T00:00:00Z"}
        instances = [
            {"name": f"vm-{number}", "zone": "z", "resourceStatus": {"upcomingMaintenance": value}}
            for number, value in enumerate(({"type": "NONE"}, unset, {}, None))
        ]
        assert rows(instances) == []


class TestPartialResults:
    def test_are_reported(self, emulator: EmulatorProcess) -> None:
        emulator.control.fault("unreachable", face="compute", zone="europe-west1-b")
        result = run()
        assert names(result) == ["web-2", "web-1"]
        assert not result["complete"]
        assert result["unreachables"] == ["zones/europe-west1-b"]
        assert "zones/europe-west1-b could not be reached" in result.printed


class TestErrors:
    @pytest.mark.parametrize(
        "kind, words",
        [
            ("forbidden", "Grant the permission compute.instances.list"),
            ("disabled", "gcloud services enable compute.googleapis.com --project acme"),
            ("unauthenticated", "Renew the access token"),
            ("quota", "Request a higher quota"),
            ("rate-limit", "lower requests_per_minute"),
            ("429", "lower requests_per_minute"),
            ("503", "answers 503 backendError"),
            ("html", "answers 502"),
        ],
    )
    def test_have_a_remedy(self, emulator: EmulatorProcess, kind: str, words: str) -> None:
        emulator.control.fault(kind, face="compute")
        result = run(retry_for=0)
        assert result.failed
        assert result["msg"].startswith("Cannot list projects/acme/aggregated/instances: the Compute API answers")
        assert words in result["msg"]
        assert "ya29.planted" not in result.printed

    @pytest.mark.parametrize(
        "parameters, words",
        [
            ({"within": "soon"}, "within is 'soon', which is not a duration such as 90m"),
            ({"filter": ""}, "filter is empty."),
            ({"filter": "labels.env ="}, "400"),
        ],
    )
    def test_in_options(self, emulator: EmulatorProcess, parameters: Any, words: str) -> None:
        assert words in run(**parameters)["msg"]


@pytest.mark.parametrize(
    "text, seconds", [("90", 90), ("90s", 90), ("1.5m", 90), ("36h", 129600), (" 7 d ", 604800), ("2w", 1209600)]
)
def test_durations(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "d", "-1d", "7 days", "1h30m"])
def test_invalid_durations(text: str) -> None:
    with pytest.raises(ComputeBadRequest):
        seconds_of(text)


def test_the_examples_run_and_show_no_token(emulator: EmulatorProcess) -> None:
    status, output = run_play(examples("modules", "fleet_maintenance_info"), "-vvvv", environment={})
    assert status == 0, output
    assert "ya29.planted" not in output

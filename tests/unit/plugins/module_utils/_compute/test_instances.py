# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding instances by name, ID and filter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.module_utils._compute import instances as _instances
from ansible_collections.gce.guest.plugins.module_utils._compute.api import ComputeApi, connect
from ansible_collections.gce.guest.plugins.module_utils._compute.errors import ComputeBadRequest, ComputeNotFound
from ansible_collections.gce.guest.plugins.module_utils._compute.instances import (
    Name,
    instance_named,
    path_of,
    select,
    zone_named,
)

from support.emulator import EmulatorProcess

A, B = "europe-west1-b", "us-east1-c"
FLEET: dict[str, Any] = {
    "project": "acme",
    "instances": [
        {"name": "web-1", "zone": A, "id": 1001, "labels": {"env": "prod"}},
        {"name": "web-2", "zone": A, "labels": {"env": "prod"}},
        {"name": "twin", "zone": A},
        {"name": "db-1", "zone": B, "labels": {"env": "prod"}},
        {"name": "twin", "zone": B},
    ],
}


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatorProcess]:
    # Names are unique in a zone of a project, but in the whole fleet of the emulator.
    fleet = {**FLEET, "instances": FLEET["instances"][:-1]}
    with EmulatorProcess(fleet) as process:
        yield process


@pytest.fixture
def api(emulator: EmulatorProcess) -> ComputeApi:
    emulator.control.clear_journal()
    emulator.control.clear_faults()
    return client(emulator)


def client(emulator: EmulatorProcess, project: str = "acme") -> ComputeApi:
    options = {"project": project, "access_token": "x", "api_endpoint": emulator.compute, "retry_for": 0.0}
    return connect({"request_timeout": 20.0, "requests_per_minute": 0, "auth_kind": None, **options}.get)


def paths(selection: _instances.Selection) -> list[str]:
    return [path_of(instance) for instance in selection.instances]


def asked(emulator: EmulatorProcess) -> list[str]:
    return [entry["path"].split("/acme/")[1] for entry in emulator.control.journal(face="compute")]


def numbered(emulator: EmulatorProcess, name: str) -> str:
    """The zone in the form of the metadata server."""
    path: str = emulator.control.get(name, "instance/zone")
    return path


class TestProject:
    """The project in a name has to be the client's."""

    def test_by_its_id_needs_no_request(self, api: ComputeApi, emulator: EmulatorProcess) -> None:
        assert instance_named(api, f"projects/acme/zones/{A}/instances/web-1").zone == A
        assert zone_named(api, f"projects/acme/zones/{A}") == A
        assert asked(emulator) == []

    def test_by_its_number_needs_one_request(self, api: ComputeApi, emulator: EmulatorProcess) -> None:
        written = numbered(emulator, "web-1")
        assert re.fullmatch(rf"projects/\d+/zones/{A}", written)
        assert zone_named(api, written) == A
        assert instance_named(api, f"{written}/instances/1001") == Name(f"{written}/instances/1001", "1001", A)
        assert len(emulator.control.journal(face="compute")) == 1

    def test_by_its_id_for_a_client_with_its_number(self, emulator: EmulatorProcess) -> None:
        number = numbered(emulator, "web-1").split("/")[1]
        for project in (number, f"projects/{number}"):
            api = client(emulator, project=project)
            assert paths(select(api, names=[f"projects/acme/zones/{A}/instances/web-1"])) == [
                f"zones/{A}/instances/web-1"
            ]

    @pytest.mark.parametrize("project", ["other", "1", "example.com:acme"])
    def test_of_another_project_is_refused(self, api: ComputeApi, project: str) -> None:
        with pytest.raises(ComputeBadRequest) as caught:
            instance_named(api, f"projects/{project}/zones/{A}/instances/web-1")
        assert str(caught.value) == (
            f"The instance 'projects/{project}/zones/{A}/instances/web-1' is not in the project acme. Set the option "
            "project to its project."
        )
        with pytest.raises(
            ComputeBadRequest, match=f"The zone 'projects/{project}/zones/{A}' is not in the project acme"
        ):
            select(api, expression="name = web-1", zone=f"projects/{project}/zones/{A}")

    def test_whose_number_cannot_be_read_has_a_remedy(self, api: ComputeApi, emulator: EmulatorProcess) -> None:
        emulator.control.fault("forbidden", face="compute")
        with pytest.raises(
            ComputeBadRequest, match=r"cannot be read: .*compute\.projects\.get.*Write it without the project"
        ):
            zone_named(api, numbered(emulator, "web-1"))


class TestOne:
    def test_with_its_zone_needs_no_list(self, api: ComputeApi, emulator: EmulatorProcess) -> None:
        selection = select(api, names=["web-1"], zone=A, fields="metadata(items)")
        assert paths(selection) == [f"zones/{A}/instances/web-1"]
        assert asked(emulator) == [f"zones/{A}/instances/web-1"]

    @pytest.mark.parametrize("name", ["web-1", "1001"])
    def test_is_found_in_any_zone(self, api: ComputeApi, name: str) -> None:
        assert paths(select(api, names=[name])) == [f"zones/{A}/instances/web-1"]

    @pytest.mark.parametrize("zone", [None, A])
    def test_that_does_not_exist(self, api: ComputeApi, zone: str | None) -> None:
        selection = select(api, names=["web-9"], zone=zone)
        assert selection.instances == []
        assert isinstance(selection.failures["web-9"], ComputeNotFound)


class TestMany:
    def test_keep_their_order_without_duplicates(self, api: ComputeApi, emulator: EmulatorProcess) -> None:
        selection = select(api, names=["db-1", f"{A}/web-2", "web-1", "1001", "web-1", "web-9"])
        assert paths(selection) == [
            f"zones/{B}/instances/db-1",
            f"zones/{A}/instances/web-2",
            f"zones/{A}/instances/web-1",
        ]
        assert list(selection.failures) == ["web-9"]
        assert str(selection.failures["web-9"]) == "There is no instance web-9 in any zone of the project acme."
        assert len(asked(emulator)) == 3

    def test_of_one_zone_need_one_request_for_many(
        self, api: ComputeApi, emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_instances, "NAMES_IN_A_FILTER", 2)
        assert len(select(api, names=["web-1", "web-2", "twin"], zone=A).instances) == 3
        assert asked(emulator) == [f"zones/{A}/instances"] * 2

    def test_none_need_no_request(self, api: ComputeApi, emulator: EmulatorProcess) -> None:
        assert select(api, names=[]).instances == []
        assert asked(emulator) == []

    def test_by_a_filter_are_sorted_by_zone_and_name(self, api: ComputeApi) -> None:
        expected = [f"zones/{A}/instances/web-1", f"zones/{A}/instances/web-2", f"zones/{B}/instances/db-1"]
        assert paths(select(api, expression="labels.env = prod")) == expected
        assert paths(select(api, expression="labels.env = prod", zone=A)) == expected[:2]

    def test_by_an_invalid_filter(self, api: ComputeApi) -> None:
        with pytest.raises(ComputeBadRequest, match="Invalid value for field 'filter'"):
            select(api, expression="labels.env =")

    def test_that_may_be_in_an_unreachable_zone(self, api: ComputeApi, emulator: EmulatorProcess) -> None:
        emulator.control.fault("unreachable", face="compute", zone=B)
        selection = select(api, names=["db-1", "web-1"])
        assert paths(selection) == [f"zones/{A}/instances/web-1"]
        assert f"These could not be reached: zones/{B}" in str(selection.failures["db-1"])
        assert api.unreachables == [f"zones/{B}"]


def test_one_name_in_two_zones_is_refused(api: ComputeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    twins = [{"name": "twin", "id": str(number), "zone": zone} for number, zone in enumerate((A, B))]
    monkeypatch.setattr(api, "aggregated", lambda *_arguments, **_options: iter(twins))
    error = select(api, names=["twin"]).failures["twin"]
    assert (
        str(error) == f"The instance twin is in more than one zone: {A}, {B}. Set the option zone, or write ZONE/NAME."
    )

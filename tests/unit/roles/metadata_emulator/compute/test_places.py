# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Zones and regions of the emulated project, and the addresses of its VMs in them."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from gce_emulator.state.fleet_file import parse
from gce_emulator.state.fleet_section import FleetError
from gce_emulator.state.geography import subnet_of
from support.compute_api import SERVICE, ComputeApi, compute_api

FLEET: dict[str, Any] = {
    "instances": [{"name": "web-1"}, {"name": "web-2", "zone": "europe-west1-b"}, {"name": "odd-1", "zone": "moon1-a"}]
}


@pytest_asyncio.fixture
async def api() -> AsyncIterator[ComputeApi]:
    async with compute_api(FLEET) as served:
        yield served


async def test_zones_are_listed_with_their_regions(api: ComputeApi) -> None:
    status, answer = await api.get("zones", filter="name:europe-*", maxResults="2")
    assert (status, answer["kind"]) == (200, "compute#zoneList")
    assert [(zone["name"], zone["status"]) for zone in answer["items"]] == [
        ("europe-west1-b", "UP"),
        ("europe-west1-c", "UP"),
    ]
    assert answer["nextPageToken"]
    zone = (await api.get("zones/moon1-a"))[1]
    assert zone["region"] == f"{SERVICE}projects/emulated-project/regions/moon1"


async def test_regions_are_listed_with_their_zones_and_quotas(api: ComputeApi) -> None:
    _status, answer = await api.get("regions")
    assert [each["name"] for each in answer["items"]] == sorted(each["name"] for each in answer["items"])
    region = (await api.get("regions/us-central1"))[1]
    assert region in answer["items"]
    assert [zone.rpartition("/")[2] for zone in region["zones"]] == [f"us-central1-{letter}" for letter in "abcf"]
    usage = {quota["metric"]: quota["usage"] for quota in region["quotas"]}
    assert usage == {"DISKS_TOTAL_GB": 10, "INSTANCES": 1, "IN_USE_ADDRESSES": 1}


@pytest.mark.parametrize("path", ["zones/mars-a", "regions/mars"])
async def test_missing_resources_are_not_found(api: ComputeApi, path: str) -> None:
    status, answer = await api.get(path)
    assert (status, f"{path}' was not found" in answer["error"]["message"]) == (404, True)


def interface(fleet: dict[str, Any], number: int = 0) -> Any:
    return parse(fleet).instances[number].network_interfaces[0]


def test_an_address_is_in_its_regions_subnet() -> None:
    for spec, region in zip(parse(FLEET).instances, ("us-central1", "europe-west1", "moon1"), strict=True):
        (nic,) = spec.network_interfaces
        subnet = subnet_of(region)
        assert ipaddress.ip_address(nic.ip) in subnet
        assert (nic.gateway, nic.subnetmask) == (str(subnet.network_address + 1), "255.255.240.0")


def test_regions_have_the_documented_subnets() -> None:
    assert str(subnet_of("us-central1")) == "10.128.0.0/20"
    assert str(subnet_of("europe-west1")) == "10.132.0.0/20"


def test_a_named_address_is_not_assigned_to_others() -> None:
    named = {"name": "b", "network_interfaces": [{"ip": "10.128.0.2"}]}
    assert interface({"instances": [{"name": "a"}, named]}).ip == "10.128.0.3"


def test_a_named_address_has_the_gateway_of_its_subnet() -> None:
    nic = interface(
        {"instances": [{"name": "a", "network_interfaces": [{"ip": "192.168.7.9", "subnetmask": "255.255.255.0"}]}]}
    )
    assert (nic.gateway, nic.mac) == ("192.168.7.1", "42:01:c0:a8:07:09")


def test_a_subnet_grows_with_a_large_fleet() -> None:
    fleet = parse({"instances": [{"name": f"vm-{number}"} for number in range(9000)]})
    nics = [spec.network_interfaces[0] for spec in fleet.instances]
    assert len({nic.ip for nic in nics}) == 9000
    assert {nic.subnetmask for nic in nics} == {"255.255.192.0"}
    assert all(ipaddress.ip_address(nic.ip) in ipaddress.ip_network("10.128.0.0/18") for nic in nics)


@pytest.mark.parametrize("named", [{"ip": "10.0.0"}, {"ip": "fd20::1"}, {"subnetmask": "none"}])
def test_an_invalid_address_is_refused(named: dict[str, str]) -> None:
    with pytest.raises(FleetError, match=r"^instances\[0\]\.network_interfaces\[0\]\.ip: is "):
        parse({"instances": [{"name": "a", "network_interfaces": [named]}]})

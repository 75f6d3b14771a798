# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network endpoint groups, instance groups, target pools and backend services, by the Compute API."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from gce_emulator.state.faults import Fault
from support.compute_api import SERVICE, ComputeApi, compute_api

ZONE, REGION = "zones/us-central1-a", "regions/us-central1"
NEG, GROUP, MIG = f"{ZONE}/networkEndpointGroups/app", f"{ZONE}/instanceGroups/old", f"{ZONE}/instanceGroups/mig"
POOL = f"{REGION}/targetPools/legacy"
WEB, INTERNAL = "global/backendServices/web", f"{REGION}/backendServices/internal"
PROJECT_URL = f"{SERVICE}projects/emulated-project"
ONE, TWO = (f"{PROJECT_URL}/{ZONE}/instances/web-{number}" for number in (1, 2))
FLEET: dict[str, Any] = {
    "speed": 1e6,
    "instances": [{"name": "web-1"}, {"name": "web-2"}, {"name": "far-1", "zone": "europe-west1-b"}],
    "network_endpoint_groups": [
        {
            "name": "app",
            "default_port": 8080,
            "endpoints": [{"instance": "web-1"}, {"instance": "web-1", "port": 8081}, {"instance": "web-2"}],
        },
        {"name": "bare", "type": "GCE_VM_IP", "endpoints": [{"instance": "far-1"}]},
    ],
    "instance_groups": [
        {"name": "old", "instances": ["web-1"], "named_ports": {"http": 80}},
        {"name": "mig", "instances": ["web-2"], "managed": True},
    ],
    "target_pools": [{"name": "legacy", "instances": ["web-1", "web-2"]}],
    "backend_services": [
        {"name": "web", "groups": ["app", "old"], "draining_timeout": 30},
        {"name": "internal", "region": "us-central1", "groups": ["app", "mig"], "protocol": "TCP"},
        {"name": "unused", "groups": ["old"], "health_checked": False},
    ],
}


@pytest_asyncio.fixture
async def api() -> AsyncIterator[ComputeApi]:
    async with compute_api(FLEET) as served:
        yield served


@pytest_asyncio.fixture
async def slow() -> AsyncIterator[ComputeApi]:
    """Health checks and draining that do not end during the test."""
    services = [{"name": "web", "groups": ["app"], "draining_timeout": 3600}]
    fleet = {**FLEET, "speed": 1, "durations": {"operation": 0, "health": 3600}, "backend_services": services}
    async with compute_api(fleet) as served:
        yield served


async def refusal(api: ComputeApi, path: str, body: Any = None) -> tuple[int, str, str]:
    status, answer = await api.post(path, body)
    return status, answer["error"]["errors"][0]["reason"], answer["error"]["message"]


async def endpoints(api: ComputeApi, health: str = "SKIP") -> list[Any]:
    _status, listed = await api.post(f"{NEG}/listNetworkEndpoints", {"healthStatus": health})
    return list(listed.get("items", []))


def endpoint(api: ComputeApi, name: str, port: int) -> dict[str, Any]:
    ip = api.project.instances[name].spec.network_interfaces[0].ip
    return {"instance": name, "ipAddress": ip, "port": port}


# Network endpoint groups


async def test_endpoint_groups_are_listed_and_found(api: ComputeApi) -> None:
    _status, aggregated = await api.get("aggregated/networkEndpointGroups")
    assert aggregated["kind"] == "compute#networkEndpointGroupAggregatedList"
    assert {scope: "networkEndpointGroups" in content for scope, content in aggregated["items"].items()} == {
        ZONE: True,
        "zones/europe-west1-b": True,
    }
    _status, listed = await api.get(f"{ZONE}/networkEndpointGroups")
    _status, group = await api.get(NEG)
    assert listed["items"] == [group]
    assert (group["networkEndpointType"], group["size"], group["defaultPort"]) == ("GCE_VM_IP_PORT", 3, 8080)
    assert (group["zone"], group["selfLink"]) == (f"{PROJECT_URL}/{ZONE}", f"{PROJECT_URL}/{NEG}")
    assert (await api.get(f"{ZONE}/networkEndpointGroups/other"))[0] == 404


async def test_endpoints_are_listed_page_by_page(api: ComputeApi) -> None:
    _status, page = await api.post(f"{NEG}/listNetworkEndpoints", {}, maxResults="2")
    _status, rest = await api.post(f"{NEG}/listNetworkEndpoints", {}, pageToken=page["nextPageToken"])
    assert page["kind"] == "compute#networkEndpointGroupsListNetworkEndpoints"
    assert [each["networkEndpoint"] for each in (*page["items"], *rest["items"])] == [
        endpoint(api, "web-1", 8080),
        endpoint(api, "web-1", 8081),
        endpoint(api, "web-2", 8080),
    ]
    _status, bare = await api.post("zones/europe-west1-b/networkEndpointGroups/bare/listNetworkEndpoints", {})
    assert "port" not in bare["items"][0]["networkEndpoint"]


async def test_endpoints_show_their_health_for_each_backend_service(api: ComputeApi) -> None:
    assert all("healths" not in each for each in await endpoints(api))
    [first, *_others] = await endpoints(api, "SHOW")
    assert first["healths"] == [
        {"backendService": {"backendService": f"{PROJECT_URL}/{service}"}, "healthState": "HEALTHY"}
        for service in (WEB, INTERNAL)
    ]


async def test_an_endpoint_is_detached_and_attached(api: ComputeApi) -> None:
    body = {"networkEndpoints": [endpoint(api, "web-1", 8081)]}
    status, operation = await api.post(f"{NEG}/detachNetworkEndpoints", body)
    assert (status, operation["operationType"], operation["status"]) == (200, "detachNetworkEndpoints", "PENDING")
    assert (operation["targetLink"], operation["zone"]) == (f"{PROJECT_URL}/{NEG}", f"{PROJECT_URL}/{ZONE}")
    assert "error" not in await api.done(operation)
    assert len(await endpoints(api)) == 2
    operation = (await api.post(f"{NEG}/attachNetworkEndpoints", body))[1]
    assert "error" not in await api.done(operation)
    assert len(await endpoints(api)) == 3


async def test_a_detached_endpoint_drains_and_an_attached_one_gets_healthy_later(slow: ComputeApi) -> None:
    body = {"networkEndpoints": [{"instance": ONE, "port": 8080}]}
    await slow.done((await slow.post(f"{NEG}/detachNetworkEndpoints", body))[1])
    states = {
        (each["networkEndpoint"]["instance"], each["networkEndpoint"]["port"]): each["healths"][0]["healthState"]
        for each in await endpoints(slow, "SHOW")
    }
    assert states == {("web-1", 8081): "HEALTHY", ("web-2", 8080): "HEALTHY", ("web-1", 8080): "DRAINING"}
    assert len(await endpoints(slow)) == 2
    await slow.done((await slow.post(f"{NEG}/attachNetworkEndpoints", body))[1])
    health = (await slow.post(f"{WEB}/getHealth", {"group": f"{PROJECT_URL}/{NEG}"}))[1]["healthStatus"]
    assert {(each["instance"], each["port"]): each["healthState"] for each in health} == {
        (ONE, 8080): "UNHEALTHY",
        (ONE, 8081): "HEALTHY",
        (TWO, 8080): "HEALTHY",
    }


async def test_endpoints_that_cannot_be_attached_or_detached_are_refused(api: ComputeApi) -> None:
    present, absent = endpoint(api, "web-1", 8080), endpoint(api, "web-1", 9)
    strange = {"instance": "web-1", "ipAddress": "10.9.9.9", "port": 80}
    for verb, given, problem in (
        ("attach", present, "already exists"),
        ("detach", absent, "does not exist"),
        ("attach", strange, "Specified IP address 10.9.9.9 doesn't belong to the (sub)network default"),
        ("attach", {"port": 80}, "An instance is required"),
        ("attach", {"instance": "web-1", "port": 0}, "Must be a port"),
        ("attach", {"instance": "web-1", "port": True}, "Must be a port"),
        ("attach", 7, "Must be an endpoint"),
    ):
        status, reason, message = await refusal(api, f"{NEG}/{verb}NetworkEndpoints", {"networkEndpoints": [given]})
        assert (status, reason) == (400, "invalid")
        assert problem in message
    assert (await refusal(api, f"{NEG}/attachNetworkEndpoints", {}))[0] == 400
    elsewhere = {"networkEndpoints": [{"instance": "far-1", "port": 80}]}
    assert (await refusal(api, f"{NEG}/attachNetworkEndpoints", elsewhere))[:2] == (404, "notFound")
    assert len(await endpoints(api)) == 3


async def test_a_repeated_request_is_not_applied_twice(api: ComputeApi) -> None:
    body, request_id = {"networkEndpoints": [endpoint(api, "web-2", 8080)]}, str(uuid.uuid4())
    path = f"{NEG}/detachNetworkEndpoints"
    first = await api.done((await api.post(path, body, requestId=request_id))[1])
    status, second = await api.post(path, body, requestId=request_id)
    assert (status, second["name"]) == (200, first["name"])
    _status, found = await api.get(f"{ZONE}/operations", filter=f'clientOperationId = "{request_id}"')
    assert [each["name"] for each in found["items"]] == [first["name"]]


# Instance groups


async def test_instance_groups_are_listed_and_only_managed_ones_have_a_manager(api: ComputeApi) -> None:
    _status, listed = await api.get(f"{ZONE}/instanceGroups")
    assert [(each["name"], each["size"]) for each in listed["items"]] == [("mig", 1), ("old", 1)]
    assert (await api.get(GROUP))[1]["namedPorts"] == [{"name": "http", "port": 80}]
    for path in (f"{ZONE}/instanceGroupManagers", "aggregated/instanceGroupManagers"):
        assert "/instanceGroups/mig" in str((await api.get(path))[1])
        assert "/instanceGroups/old" not in str((await api.get(path))[1])
    _status, manager = await api.get(f"{ZONE}/instanceGroupManagers/mig")
    assert manager["instanceGroup"] == f"{PROJECT_URL}/{MIG}"
    assert (await api.get(f"{ZONE}/instanceGroupManagers/old"))[0] == 404
    _status, aggregated = await api.get("aggregated/instanceGroups")
    assert [each["name"] for each in aggregated["items"][ZONE]["instanceGroups"]] == ["mig", "old"]


async def test_an_instance_leaves_an_unmanaged_group_and_joins_it(api: ComputeApi) -> None:
    body = {"instances": [{"instance": ONE}]}
    await api.done((await api.post(f"{GROUP}/removeInstances", body))[1])
    assert "items" not in (await api.post(f"{GROUP}/listInstances", {}))[1]
    status, _reason, message = await refusal(api, f"{GROUP}/removeInstances", body)
    assert (status, "is not a member of" in message) == (400, True)
    await api.done((await api.post(f"{GROUP}/addInstances", body))[1])
    [member] = (await api.post(f"{GROUP}/listInstances", {"instanceState": "RUNNING"}))[1]["items"]
    assert member == {"instance": ONE, "status": "RUNNING", "namedPorts": [{"name": "http", "port": 80}]}
    assert (await refusal(api, f"{GROUP}/addInstances", body))[:2] == (400, "memberAlreadyExists")


async def test_instances_that_cannot_be_members_are_refused(api: ComputeApi) -> None:
    far = f"{PROJECT_URL}/zones/europe-west1-b/instances/far-1"
    for given in ([], [{"instance": "web-1"}], [{"instance": far}], [7], None):
        assert (await refusal(api, f"{GROUP}/addInstances", {"instances": given}))[0] == 400
    body = {"instances": [{"instance": f"{PROJECT_URL}/{ZONE}/instances/nobody"}]}
    assert (await refusal(api, f"{GROUP}/addInstances", body))[0] == 404
    status, _reason, message = await refusal(api, f"{MIG}/removeInstances", {"instances": [{"instance": TWO}]})
    assert (status, "managed" in message) == (400, True)


# Target pools


async def test_an_instance_leaves_a_target_pool_and_joins_it(api: ComputeApi) -> None:
    assert [each["name"] for each in (await api.get(f"{REGION}/targetPools"))[1]["items"]] == ["legacy"]
    assert "targetPools" in (await api.get("aggregated/targetPools"))[1]["items"][REGION]
    body = {"instances": [{"instance": ONE}]}
    operation = (await api.post(f"{POOL}/removeInstance", body))[1]
    assert operation["region"] == f"{PROJECT_URL}/{REGION}"
    await api.done(operation)
    assert (await api.get(POOL))[1]["instances"] == [TWO]
    for method, given in (("removeInstance", body), ("getHealth", {"instance": ONE})):
        status, _reason, message = await refusal(api, f"{POOL}/{method}", given)
        assert (status, "not currently attached to this target pool" in message) == (400, True)
    await api.done((await api.post(f"{POOL}/addInstance", body))[1])
    health = (await api.post(f"{POOL}/getHealth", {"instance": TWO}))[1]["healthStatus"]
    assert [(each["instance"], each["healthState"]) for each in health] == [(TWO, "HEALTHY")]


# Backend services


async def test_backend_services_are_listed_and_found(api: ComputeApi) -> None:
    _status, aggregated = await api.get("aggregated/backendServices")
    assert {
        scope: [each["name"] for each in content.get("backendServices", [])]
        for scope, content in aggregated["items"].items()
    } == {"global": ["unused", "web"], REGION: ["internal"], "regions/europe-west1": []}
    assert [each["name"] for each in (await api.get("global/backendServices"))[1]["items"]] == ["unused", "web"]
    assert [each["name"] for each in (await api.get(f"{REGION}/backendServices"))[1]["items"]] == ["internal"]
    _status, service = await api.get(WEB)
    assert service["connectionDraining"] == {"drainingTimeoutSec": 30}
    assert [each["group"] for each in service["backends"]] == [f"{PROJECT_URL}/{NEG}", f"{PROJECT_URL}/{GROUP}"]
    assert "region" not in service
    assert (await api.get(INTERNAL))[1]["region"] == f"{PROJECT_URL}/{REGION}"
    assert (await api.get(f"{REGION}/backendServices/web"))[0] == 404


async def test_get_health_returns_the_health_of_a_backend(api: ComputeApi) -> None:
    _status, health = await api.post(f"{INTERNAL}/getHealth", {"group": f"{PROJECT_URL}/{MIG}"})
    assert (health["kind"], [each["instance"] for each in health["healthStatus"]]) == (
        "compute#backendServiceGroupHealth",
        [TWO],
    )
    _status, health = await api.post("global/backendServices/unused/getHealth", {"group": f"{PROJECT_URL}/{GROUP}"})
    assert "healthStatus" not in health
    assert (await refusal(api, f"{WEB}/getHealth", {"group": f"{PROJECT_URL}/{MIG}"}))[0] == 400


# Deletions, faults and permissions


async def test_resources_in_use_cannot_be_deleted(api: ComputeApi) -> None:
    for path in (NEG, MIG):
        status, answer = await api.request("DELETE", path, {})
        assert (status, answer["error"]["errors"][0]["reason"]) == (400, "resourceInUseByAnotherResource")


async def test_groups_and_services_are_deleted_until_the_next_reset(api: ComputeApi) -> None:
    for path in (WEB, INTERNAL, "global/backendServices/unused", NEG, GROUP, POOL):
        await api.done((await api.request("DELETE", path, {}))[1])
        assert (await api.get(path))[0] == 404
    api.project.reset()
    assert (await api.get(NEG))[1]["size"] == 3


async def test_operation_on_a_group_deleted_in_the_meantime_fails(api: ComputeApi) -> None:
    api.project.clock.speed = 0.01
    operation = (await api.post(f"{POOL}/removeInstance", {"instances": [{"instance": ONE}]}))[1]
    api.project.load_balancing.delete(POOL)
    api.project.clock.speed = 1e6
    done = await api.done(operation)
    assert (done["httpErrorStatusCode"], done["error"]["errors"][0]["code"]) == (404, "RESOURCE_NOT_FOUND")


async def test_an_operation_fails_by_a_fault(api: ComputeApi) -> None:
    api.project.faults.inject(Fault("operation-error", face="compute", path=f"projects/emulated-project/{NEG}"))
    body = {"networkEndpoints": [endpoint(api, "web-2", 8080)]}
    done = await api.done((await api.post(f"{NEG}/detachNetworkEndpoints", body))[1])
    assert done["error"]["errors"][0]["code"] == "RESOURCE_NOT_READY"
    assert len(await endpoints(api)) == 3


@pytest.mark.parametrize(
    "path, body, permission",
    [
        (f"{NEG}/detachNetworkEndpoints", {}, "compute.networkEndpointGroups.detachNetworkEndpoints"),
        (f"{NEG}/listNetworkEndpoints", {}, "compute.networkEndpointGroups.get"),
        (f"{GROUP}/removeInstances", {}, "compute.instanceGroups.update"),
        (f"{GROUP}/listInstances", {}, "compute.instanceGroups.get"),
        (f"{POOL}/addInstance", {}, "compute.targetPools.addInstance"),
        (f"{POOL}/getHealth", {"instance": ONE}, "compute.targetPools.get"),
        (f"{WEB}/getHealth", {"group": f"{PROJECT_URL}/{NEG}"}, "compute.backendServices.get"),
        (f"{INTERNAL}/getHealth", {"group": f"{PROJECT_URL}/{NEG}"}, "compute.regionBackendServices.get"),
    ],
)
async def test_denied_permission_rejects_its_calls(api: ComputeApi, path: str, body: Any, permission: str) -> None:
    api.project.faults.inject(Fault("forbidden", face="compute", permission=permission))
    status, _reason, message = await refusal(api, path, body)
    assert (status, permission in message) == (403, True)
    assert (await api.get("zones"))[0] == 200


async def test_permissions_are_tested(api: ComputeApi) -> None:
    update, get = "compute.instanceGroups.update", "compute.instanceGroups.get"
    paths = (NEG, GROUP, POOL, WEB, INTERNAL, f"{ZONE}/instances/web-1")
    for path in paths:
        assert await api.post(f"{path}/testIamPermissions", {"permissions": [update, get]}) == (
            200,
            {"permissions": [update, get]},
        )
    api.project.faults.inject(Fault("forbidden", face="compute", permission=update))
    for path in paths:
        answer = (await api.post(f"{path}/testIamPermissions", {"permissions": [update, get]}))[1]
        assert answer == {"permissions": [get]}
    assert (await api.post(f"{NEG}/testIamPermissions", {"permissions": [update]}))[1] == {}
    assert (await refusal(api, f"{NEG}/testIamPermissions", {"permissions": "all"}))[0] == 400

# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Google's own clients, unmodified, leave and join an emulated load balancer: google-cloud-compute and gcloud."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import compute_v1

from support.emulator import EmulatorProcess
from support.gcloud import MISSING, PROGRAM, Gcloud, names, side_by_side
from support.google_client import google_client

PROJECT, ZONE, REGION = "shop", "us-central1-a", "us-central1"
URL = f"https://www.googleapis.com/compute/v1/projects/{PROJECT}"
NEG_URL, GROUP_URL = f"{URL}/zones/{ZONE}/networkEndpointGroups/app", f"{URL}/zones/{ZONE}/instanceGroups/old"
VM = f"{URL}/zones/{ZONE}/instances/web-1"
FLEET = {
    "project": PROJECT,
    "speed": 1000,
    "instances": [{"name": "web-1"}, {"name": "web-2"}],
    "network_endpoint_groups": [
        {"name": "app", "default_port": 8080, "endpoints": [{"instance": "web-1"}, {"instance": "web-2"}]}
    ],
    "instance_groups": [
        {"name": "old", "instances": ["web-1"], "named_ports": {"http": 80}},
        {"name": "mig", "instances": ["web-2"], "managed": True},
    ],
    "target_pools": [{"name": "legacy", "instances": ["web-1", "web-2"]}],
    "backend_services": [
        {"name": "web", "groups": ["app", "old"], "draining_timeout": 30},
        {"name": "internal", "region": REGION, "groups": ["app"]},
    ],
}


@pytest.fixture(scope="module")
def running_emulator() -> Iterator[EmulatorProcess]:
    with EmulatorProcess(FLEET) as process:
        yield process


@pytest.fixture
def emulator(running_emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> EmulatorProcess:
    running_emulator.control.reset()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return running_emulator


class TestGoogleCloudCompute:
    @pytest.fixture
    def client(self, emulator: EmulatorProcess) -> Callable[[Any], Any]:
        return lambda service: google_client(service, emulator.compute)

    def test_endpoint_groups(self, client: Callable[[Any], Any]) -> None:
        groups = client(compute_v1.NetworkEndpointGroupsClient)
        aggregated = groups.aggregated_list(project=PROJECT)
        assert [each.name for _scope, scoped in aggregated for each in scoped.network_endpoint_groups] == ["app"]
        assert [each.name for each in groups.list(project=PROJECT, zone=ZONE)] == ["app"]
        app = {"project": PROJECT, "zone": ZONE, "network_endpoint_group": "app"}
        assert groups.get(**app).network_endpoint_type == "GCE_VM_IP_PORT"

        def listed() -> dict[str, list[str]]:
            request = compute_v1.NetworkEndpointGroupsListEndpointsRequest(health_status="SHOW")
            found = groups.list_network_endpoints(
                **app, network_endpoint_groups_list_endpoints_request_resource=request
            )
            return {each.network_endpoint.instance: [one.health_state for one in each.healths] for each in found}

        assert listed() == {"web-1": ["HEALTHY"] * 2, "web-2": ["HEALTHY"] * 2}
        endpoint = compute_v1.NetworkEndpoint(instance="web-1", port=8080)
        detach = compute_v1.NetworkEndpointGroupsDetachEndpointsRequest(network_endpoints=[endpoint])
        groups.detach_network_endpoints(**app, network_endpoint_groups_detach_endpoints_request_resource=detach).result(
            timeout=30
        )
        assert groups.get(**app).size == 1
        with pytest.raises(exceptions.BadRequest):
            groups.detach_network_endpoints(**app, network_endpoint_groups_detach_endpoints_request_resource=detach)
        attach = compute_v1.NetworkEndpointGroupsAttachEndpointsRequest(network_endpoints=[endpoint])
        groups.attach_network_endpoints(**app, network_endpoint_groups_attach_endpoints_request_resource=attach).result(
            timeout=30
        )
        assert set(listed()) == {"web-1", "web-2"}

    def test_permissions(self, emulator: EmulatorProcess, client: Callable[[Any], Any]) -> None:
        update, get = "compute.instanceGroups.update", "compute.instanceGroups.get"
        emulator.control.fault("forbidden", face="compute", permission=update)
        answer = client(compute_v1.InstanceGroupsClient).test_iam_permissions(
            project=PROJECT,
            zone=ZONE,
            resource="old",
            test_permissions_request_resource=compute_v1.TestPermissionsRequest(permissions=[update, get]),
        )
        assert list(answer.permissions) == [get]

    def test_instance_groups(self, client: Callable[[Any], Any]) -> None:
        groups = client(compute_v1.InstanceGroupsClient)
        assert [each.name for each in groups.list(project=PROJECT, zone=ZONE)] == ["mig", "old"]
        managers = client(compute_v1.InstanceGroupManagersClient)
        assert [each.name for each in managers.list(project=PROJECT, zone=ZONE)] == ["mig"]
        old = {"project": PROJECT, "zone": ZONE, "instance_group": "old"}
        references = [compute_v1.InstanceReference(instance=VM)]

        def members() -> list[str]:
            request = compute_v1.InstanceGroupsListInstancesRequest(instance_state="ALL")
            found = groups.list_instances(**old, instance_groups_list_instances_request_resource=request)
            return [each.instance for each in found]

        assert members() == [VM]
        remove = compute_v1.InstanceGroupsRemoveInstancesRequest(instances=references)
        groups.remove_instances(**old, instance_groups_remove_instances_request_resource=remove).result(timeout=30)
        assert members() == []
        add = compute_v1.InstanceGroupsAddInstancesRequest(instances=references)
        groups.add_instances(**old, instance_groups_add_instances_request_resource=add).result(timeout=30)
        with pytest.raises(exceptions.BadRequest) as refused:
            groups.add_instances(**old, instance_groups_add_instances_request_resource=add)
        assert refused.value.errors[0]["reason"] == "memberAlreadyExists"

    def test_target_pools(self, client: Callable[[Any], Any]) -> None:
        pools = client(compute_v1.TargetPoolsClient)
        assert [each.name for each in pools.list(project=PROJECT, region=REGION)] == ["legacy"]
        legacy = {"project": PROJECT, "region": REGION, "target_pool": "legacy"}
        reference = compute_v1.InstanceReference(instance=VM)
        health = pools.get_health(**legacy, instance_reference_resource=reference)
        assert [each.health_state for each in health.health_status] == ["HEALTHY"]
        remove = compute_v1.TargetPoolsRemoveInstanceRequest(instances=[reference])
        pools.remove_instance(**legacy, target_pools_remove_instance_request_resource=remove).result(timeout=30)
        assert VM not in pools.get(**legacy).instances
        add = compute_v1.TargetPoolsAddInstanceRequest(instances=[reference])
        pools.add_instance(**legacy, target_pools_add_instance_request_resource=add).result(timeout=30)
        assert VM in pools.get(**legacy).instances

    def test_backend_services(self, client: Callable[[Any], Any]) -> None:
        services = client(compute_v1.BackendServicesClient)
        aggregated = services.aggregated_list(project=PROJECT)
        found = {scope: [each.name for each in scoped.backend_services] for scope, scoped in aggregated}
        assert found == {"global": ["web"], f"regions/{REGION}": ["internal"]}
        web = {"project": PROJECT, "backend_service": "web"}
        assert services.get(**web).connection_draining.draining_timeout_sec == 30
        reference = compute_v1.ResourceGroupReference(group=GROUP_URL)
        health = services.get_health(**web, resource_group_reference_resource=reference)
        assert [(each.instance, each.health_state, each.port) for each in health.health_status] == [(VM, "HEALTHY", 80)]
        regional = client(compute_v1.RegionBackendServicesClient)
        assert [each.name for each in regional.list(project=PROJECT, region=REGION)] == ["internal"]
        health = regional.get_health(
            project=PROJECT,
            region=REGION,
            backend_service="internal",
            resource_group_reference_resource=compute_v1.ResourceGroupReference(group=NEG_URL),
        )
        assert len(health.health_status) == 2


@pytest.mark.skipif(PROGRAM is None, reason=MISSING)
def test_gcloud(emulator: EmulatorProcess, tmp_path: Path) -> None:
    gcloud = Gcloud(emulator.compute, PROJECT, tmp_path)
    zone, region = f"--zone={ZONE}", f"--region={REGION}"

    def endpoint_groups() -> None:
        groups = "compute network-endpoint-groups"
        assert names(gcloud.json(f"{groups} list")) == ["app"]
        gcloud(f"{groups} update app {zone} --remove-endpoint=instance=web-1,port=8080")
        left = gcloud.json(f"{groups} list-network-endpoints app {zone}")
        assert [each["networkEndpoint"]["instance"] for each in left] == ["web-2"]
        gcloud(f"{groups} update app {zone} --add-endpoint=instance=web-1,port=8080")
        assert gcloud.json(f"{groups} describe app {zone}")["size"] == 2

    def instance_groups() -> None:
        groups = "compute instance-groups"
        managed = {each["name"]: each["isManaged"] for each in gcloud.json(f"{groups} list")}
        assert managed == {"mig": "Yes", "old": "No"}
        assert names(gcloud.json(f"{groups} unmanaged list")) == ["old"]
        gcloud(f"{groups} unmanaged remove-instances old {zone} --instances=web-1")
        assert gcloud.json(f"{groups} unmanaged list-instances old {zone}") == []
        gcloud(f"{groups} unmanaged add-instances old {zone} --instances=web-1")
        said = gcloud.refusal(f"{groups} unmanaged add-instances old {zone} --instances=web-1")
        assert "is already a member of" in said

    def target_pools() -> None:
        pools = "compute target-pools"
        assert names(gcloud.json(f"{pools} list")) == ["legacy"]
        gcloud(f"{pools} remove-instances legacy --instances=web-1 --instances-zone={ZONE}")
        assert len(gcloud.json(f"{pools} describe legacy {region}")["instances"]) == 1
        gcloud(f"{pools} add-instances legacy --instances=web-1 --instances-zone={ZONE}")
        assert len(gcloud.json(f"{pools} get-health legacy {region}")) == 2

    def backend_services() -> None:
        services = "compute backend-services"
        assert names(gcloud.json(f"{services} list")) == ["internal", "web"]
        shown = gcloud.json(f"{services} describe web --global")
        assert shown["connectionDraining"]["drainingTimeoutSec"] == 30
        backends = {each["backend"] for each in gcloud.json(f"{services} get-health web --global")}
        assert {url.rpartition("/")[2] for url in backends} == {"app", "old"}
        assert "HEALTHY" in gcloud(f"{services} get-health internal {region}")

    side_by_side(endpoint_groups, instance_groups, target_pools, backend_services)

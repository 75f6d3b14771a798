# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network endpoint groups, instance groups, target pools and backend services of the fleet file."""

from __future__ import annotations

from typing import Any

import pytest

from gce_emulator.state.fleet_file import parse
from gce_emulator.state.fleet_load_balancing import Endpoint
from gce_emulator.state.fleet_section import FleetError

INSTANCES = [{"name": "web-1"}, {"name": "web-2"}, {"name": "far-1", "zone": "europe-west1-b"}]


def fleet(**sections: Any) -> Any:
    return parse({"instances": INSTANCES, **sections})


def neg(**keys: Any) -> dict[str, Any]:
    return {"name": "n", "endpoints": [{"instance": "web-1", "port": 80}], **keys}


def test_a_few_lines_are_enough() -> None:
    parsed = fleet(
        network_endpoint_groups=[{"name": "app", "default_port": 8080, "endpoints": [{"instance": "far-1"}]}],
        instance_groups=[{"name": "old", "instances": ["web-1"], "named_ports": {"http": 80}}],
        target_pools=[{"name": "legacy", "instances": ["web-2"]}],
        backend_services=[{"name": "web", "groups": ["app", "old"], "draining_timeout": 30}],
    )
    (group,), (instances,) = parsed.network_endpoint_groups, parsed.instance_groups
    assert (group.zone, group.type) == ("europe-west1-b", "GCE_VM_IP_PORT")
    assert group.endpoints == (Endpoint("far-1", parsed.instances[2].network_interfaces[0].ip, 8080),)
    assert (instances.zone, instances.managed, instances.named_ports) == ("us-central1-a", False, {"http": 80})
    assert parsed.target_pools[0].region == "us-central1"
    (service,) = parsed.backend_services
    assert service.groups == ("europe-west1-b/app", "us-central1-a/old")
    assert (service.region, service.draining_timeout, service.health_checked) == ("global", 30, True)


def test_a_guest_knows_its_managed_group() -> None:
    parsed = fleet(instance_groups=[{"name": "mig", "managed": True, "instances": ["web-2"]}])
    assert parsed.instances[1].attributes == {
        "created-by": "projects/314159265358/zones/us-central1-a/instanceGroupManagers/mig"
    }
    assert parsed.instances[0].attributes == {}


def test_groups_of_the_same_name_are_distinguished_by_zone() -> None:
    groups = [neg(), neg(endpoints=[], zone="europe-west1-b")]
    parsed = fleet(network_endpoint_groups=groups, backend_services=[{"name": "b", "groups": ["europe-west1-b/n"]}])
    assert parsed.backend_services[0].groups == ("europe-west1-b/n",)


@pytest.mark.parametrize(
    "sections, problem",
    [
        (
            {"network_endpoint_groups": [neg(endpoints=[{"instance": "web-9", "port": 1}])]},
            "network_endpoint_groups[0].endpoints[0].instance: has 'web-9', but the fleet has no such instance",
        ),
        (
            {"network_endpoint_groups": [neg(zone="europe-west1-b")]},
            "network_endpoint_groups[0].endpoints[0].instance: has 'web-1', which is in us-central1-a",
        ),
        (
            {"network_endpoint_groups": [neg(endpoints=[{"instance": "web-1"}])]},
            "network_endpoint_groups[0].endpoints[0].port: is missing",
        ),
        (
            {"network_endpoint_groups": [neg(type="GCE_VM_IP")]},
            "network_endpoint_groups[0].endpoints[0].port: is given, but endpoints of the type GCE_VM_IP have no port",
        ),
        (
            {"network_endpoint_groups": [neg(endpoints=[{"instance": "web-1", "port": 1}] * 2)]},
            "network_endpoint_groups[0].endpoints[1]: is listed twice",
        ),
        ({"network_endpoint_groups": [neg(), neg()]}, "network_endpoint_groups[1].name: is 'n', as in"),
        (
            {"network_endpoint_groups": [neg()], "instance_groups": [{"name": "n"}]},
            "instance_groups[0].name: is 'n', as of a network endpoint group in us-central1-a",
        ),
        (
            {"instance_groups": [{"name": "g", "instances": ["web-1", "web-1"]}]},
            "instance_groups[0].instances: has 'web-1' twice",
        ),
        ({"instance_groups": [{"name": "g", "named_ports": {"http": 0}}]}, "instance_groups[0].named_ports.http: is 0"),
        ({"instance_groups": [{"name": "g", "named_ports": {1: 1}}]}, "instance_groups[0].named_ports: has the key 1"),
        (
            {"target_pools": [{"name": "t", "instances": ["web-1", "far-1"]}]},
            "target_pools[0].instances: has 'far-1', which is in europe-west1-b and not in us-central1",
        ),
        (
            {"backend_services": [{"name": "b", "groups": ["n"]}]},
            "backend_services[0].groups: has 'n', but there is no such network endpoint group or instance group",
        ),
        (
            {
                "network_endpoint_groups": [neg(), neg(endpoints=[], zone="us-east1-b")],
                "backend_services": [{"name": "b", "groups": ["n"]}],
            },
            "backend_services[0].groups: has 'n', which can be us-central1-a/n or us-east1-b/n",
        ),
        (
            {
                "network_endpoint_groups": [neg()],
                "backend_services": [{"name": "b", "region": "us-east1", "groups": ["n"]}],
            },
            "backend_services[0].groups: has 'us-central1-a/n', which is not in us-east1",
        ),
        (
            {"backend_services": [{"name": "b", "draining_timeout": 3601}]},
            "backend_services[0].draining_timeout: is 3601; it can be 0 to 3600",
        ),
    ],
)
def test_a_mistake_is_reported_with_its_place(sections: dict[str, Any], problem: str) -> None:
    with pytest.raises(FleetError) as raised:
        fleet(**sections)
    assert str(raised.value).startswith(problem)


def test_an_endpoint_of_a_vm_without_an_interface_needs_an_address() -> None:
    with pytest.raises(FleetError, match="no network interface"):
        parse({"instances": [{"name": "web-1", "network_interfaces": []}], "network_endpoint_groups": [neg()]})

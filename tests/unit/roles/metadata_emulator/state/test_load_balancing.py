# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Members of a load balancer's groups and the results of health checks, in time that the test moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gce_emulator.state.load_balancing import EndpointGroup
from gce_emulator.state.project import Project
from support.manual_time import ManualTime

NEG: dict[str, Any] = {"name": "app", "endpoints": [{"instance": "web-1", "port": 80}]}
SERVICES = [
    {"name": "short", "groups": ["app"], "draining_timeout": 10},
    {"name": "long", "groups": ["app"], "draining_timeout": 30},
]


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    return make_project(network_endpoint_groups=[NEG], backend_services=SERVICES, durations={"health": 20})


@pytest.fixture
def group(project: Project) -> EndpointGroup:
    return project.load_balancing.endpoint_groups["zones/us-central1-a/networkEndpointGroups/app"]


def test_members_of_the_fleet_file_are_healthy(group: EndpointGroup) -> None:
    [endpoint] = group.members
    assert group.health(endpoint) == "HEALTHY"


def test_a_member_that_joins_is_healthy_after_its_checks(group: EndpointGroup, manual_time: ManualTime) -> None:
    [endpoint] = group.members
    group.remove([endpoint])
    group.add([endpoint])
    manual_time.advance(19)
    assert group.health(endpoint) == "UNHEALTHY"
    manual_time.advance(1)
    assert group.health(endpoint) == "HEALTHY"


def test_stopped_vm_is_unhealthy_until_it_has_booted(
    project: Project, group: EndpointGroup, manual_time: ManualTime
) -> None:
    [endpoint], vm = group.members, project.instances["web-1"]
    vm.stop()
    assert group.health(endpoint) == "UNHEALTHY"
    manual_time.advance(100)
    vm.start()
    assert group.health(endpoint) == "UNHEALTHY"
    manual_time.advance(20)
    assert group.health(endpoint) == "HEALTHY"


def test_endpoint_drains_for_the_longest_draining_timeout(group: EndpointGroup, manual_time: ManualTime) -> None:
    endpoints = group.members
    group.remove(endpoints)
    assert (group.members, group.draining) == ([], endpoints)
    manual_time.advance(29)
    assert group.draining == endpoints
    manual_time.advance(1)
    assert group.draining == []


def test_endpoint_that_joins_again_stops_draining(group: EndpointGroup) -> None:
    endpoints = group.members
    group.remove(endpoints)
    group.add(endpoints)
    assert (group.members, group.draining) == (endpoints, [])


def test_deleted_vm_is_removed_from_all_groups(project: Project, group: EndpointGroup) -> None:
    project.delete(project.instances["web-1"])
    assert group.members == []


def test_a_reset_restores_groups_and_members(project: Project, group: EndpointGroup) -> None:
    members = group.members
    group.remove(members)
    project.load_balancing.delete(group.path)
    project.reset()
    restored = project.load_balancing.endpoint_groups[group.path]
    assert (restored.members, restored.draining) == (members, [])

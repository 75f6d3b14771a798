# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter expressions of the emulated Compute API's lists."""

from __future__ import annotations

from typing import Any

import pytest

from gce_emulator.compute.list_filter import parse_filter
from gce_emulator.state.errors import ApiError

WEB: dict[str, Any] = {
    "name": "web-1",
    "id": "9223372036854775809",
    "status": "RUNNING",
    "zone": "https://www.googleapis.com/compute/v1/projects/p/zones/us-east1-b",
    "creationTimestamp": "2026-01-01T00:00:00.000-08:00",
    "cpuPlatform": "Intel Skylake",
    "labels": {"owner": "ops", "tier": "front"},
    "scheduling": {"automaticRestart": True, "preemptible": False, "hostErrorTimeoutSeconds": 90},
    "disks": [{"deviceName": "boot"}, {"deviceName": "data"}],
    "resourceStatus": {"upcomingMaintenance": {"maintenanceStatus": "PENDING", "canReschedule": True}},
}


@pytest.mark.parametrize(
    "text",
    [
        "name = web-1",
        "name=web-1",
        'name = "web-1"',
        "name = 'web-1'",
        "name = web-*",
        "name != web-2",
        "name:web",
        "name:web-*",
        "zone:us-east1-b",
        "labels.owner:*",
        "labels:owner",
        "labels.owner = ops",
        "labels.stage != prod",
        "scheduling.automaticRestart = true",
        "scheduling.preemptible = FALSE",
        "scheduling.hostErrorTimeoutSeconds >= 90",
        "scheduling.hostErrorTimeoutSeconds < 100",
        "disks.deviceName = data",
        "resourceStatus.upcomingMaintenance:*",
        "resourceStatus.upcomingMaintenance.maintenanceStatus=PENDING",
        '(scheduling.automaticRestart = true) (cpuPlatform = "Intel Skylake")',
        "name = web-1 status = RUNNING",
        "name = web-1 AND status = RUNNING",
        "name = other OR name = web-1",
        "name = web-1 AND (status = STOPPED OR labels.tier = front)",
        "NOT name = other",
        "-name = other",
        "NOT (name = other OR status = STOPPED)",
        "id = 9223372036854775809",
        "creationTimestamp >= 2026-01-01T08:00:00Z",
        'creationTimestamp < "2026-01-01T08:00:01Z"',
        "name eq web-.*",
        "name eq 'web-1'",
        'name eq "web-[0-9]"',
        "name ne .*-2",
        "(name eq web.*) (name ne web-(2|3))",
        'cpuPlatform eq "Intel .*"',
        "scheduling.automaticRestart eq true",
        "labels.stage ne prod",
    ],
)
def test_filter_matches(text: str) -> None:
    assert parse_filter(text)(WEB)


@pytest.mark.parametrize(
    "text",
    [
        "name = web",
        "name = Web-1",
        "name != web-1",
        "name != web-*",
        "labels.stage:*",
        "labels.stage = prod",
        "labels:stage",
        "scheduling.automaticRestart = false",
        "scheduling.hostErrorTimeoutSeconds > 90",
        "scheduling = web-1",
        "resourceStatus.shutdownDetails:*",
        "name = web-1 AND status = STOPPED",
        # OR binds tighter than AND: (other OR web-1) AND stopped.
        "name = web-1 OR name = other AND status = STOPPED",
        "NOT name = web-1",
        # One more than the id; as floating point numbers the two are equal.
        "id = 9223372036854775810",
        "creationTimestamp > 2026-01-01T08:00:00Z",
        "name eq web",
        "name eq .eb",
        "name ne web-.*",
    ],
)
def test_filter_does_not_match(text: str) -> None:
    assert not parse_filter(text)(WEB)


@pytest.mark.parametrize(
    "text",
    [
        "name",
        "name =",
        "= web-1",
        "name == web-1",
        "(name = web-1",
        "name = web-1)",
        "name = web-1 OR",
        'name = "web-1',
        "(name eq web-1",
        "(name eq web-1) status = RUNNING",
        "(name eq web-1) AND (status = RUNNING)",
        "name eq web-1 AND status = RUNNING",
        "(name eq web-1) (status eq RUNNING)",
        "name eq (",
    ],
)
def test_an_invalid_filter_is_refused(text: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse_filter(text)
    assert (caught.value.code, caught.value.reason) == (400, "invalid")
    assert str(caught.value).startswith(f"Invalid value for field 'filter': '{text}'. ")

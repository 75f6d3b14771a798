# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The known parts of the metadata server's tree."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.module_utils._metadata.tree import (
    as_unicode,
    canonical,
    contains,
    is_directory,
    typed,
)

TREE: dict[str, Any] = {
    "instance": {
        "attributes": {"enabled": "TRUE", "nested": "FALSE"},
        "description": "TRUE",
        "guestAttributes": {"app": {"ready": "TRUE"}},
        "id": 9007199254740993,
        "networkInterfaces": [{"ip": "10.0.0.2", "accessConfigs": [{"externalIp": ""}]}],
        "partnerAttributes": {"x": "TRUE"},
        "preempted": "FALSE",
        "scheduling": {"automaticRestart": "TRUE", "onHostMaintenance": "MIGRATE"},
    },
    "project": {"attributes": {"enabled": "FALSE"}},
}


@pytest.mark.parametrize(
    "path",
    [
        "",
        "instance",
        "instance/",
        "project/attributes",
        "instance/disks/0",
        "instance/service-accounts/me@example.com",
        "instance/guest-attributes/app",
        "instance/network-interfaces/0/access-configs/1",
        "instance/network-interfaces/0/forwarded-ips",
        "unheard/of/",
    ],
)
def test_directories(path: str) -> None:
    assert is_directory(path)
    assert canonical(path) in (path, f"{path}/")
    assert canonical(path).endswith("/") or path == ""


@pytest.mark.parametrize(
    "path",
    [
        "instance/id",
        "instance/attributes/disks",
        "instance/tags",
        "instance/upcoming-maintenance",
        "instance/disks/0/type",
        "instance/disks/boot",
        "instance/guest-attributes/app/key",
        "instance/service-accounts/default/token",
        "instance/network-interfaces/0/ip",
        "unheard/of",
    ],
)
def test_keys(path: str) -> None:
    assert not is_directory(path)
    assert canonical(path) == path


class TestTyped:
    def test_only_the_server_s_own_booleans_are_converted(self) -> None:
        assert typed(TREE) == {
            "instance": {
                **TREE["instance"],
                "preempted": False,
                "scheduling": {"automaticRestart": True, "onHostMaintenance": "MIGRATE"},
            },
            "project": TREE["project"],
        }

    def test_argument_is_unchanged(self) -> None:
        typed(TREE)
        assert TREE["instance"]["preempted"] == "FALSE"

    @pytest.mark.parametrize(
        "path, value, expected",
        [
            ("instance/preempted", "TRUE", True),
            ("instance/scheduling/", {"preemptible": "FALSE"}, {"preemptible": False}),
            ("instance/attributes/", {"a": "TRUE"}, {"a": "TRUE"}),
            ("instance/attributes/a", "TRUE", "TRUE"),
            ("instance/guest-attributes/", {"ns": {"a": "TRUE"}}, {"ns": {"a": "TRUE"}}),
            ("instance/guest-attributes/ns/a", "TRUE", "TRUE"),
            ("project/attributes/a", "FALSE", "FALSE"),
            ("instance/description", "TRUE", "TRUE"),
            ("instance/tags", ["TRUE", "x"], [True, "x"]),
            ("instance/preempted", "true", "true"),
            ("instance/id", 1, 1),
            ("instance/upcoming-maintenance", None, None),
        ],
    )
    def test_tree_can_start_at_any_path(self, path: str, value: Any, expected: Any) -> None:
        assert typed(value, path) == expected


def test_bytes_that_are_not_utf_8_are_replaced() -> None:
    tree = {"a": ["ü\udcff\udcfe", 1, None], "\ud800": "\N{ROCKET}"}
    assert as_unicode(tree) == {"a": ["ü\ufffd\ufffd", 1, None], "\ufffd": "\N{ROCKET}"}


@pytest.mark.parametrize(
    "path, is_there",
    [
        ("instance/attributes/enabled", True),
        ("instance/network-interfaces/0/access-configs/0/external-ip", True),
        ("instance/network-interfaces/1/ip", False),
        ("instance/guest-attributes/app/ready", True),
        ("instance/guest-attributes/app/steady", False),
        ("instance/id/x", False),
        ("instance", True),
    ],
)
def test_contains(path: str, is_there: bool) -> None:
    assert contains(TREE, tuple(path.split("/"))) is is_there

# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of projects, zones and instances in all their forms."""

from __future__ import annotations

import pytest
from ansible_collections.gce.guest.plugins.module_utils._compute.errors import ComputeBadRequest
from ansible_collections.gce.guest.plugins.module_utils._compute.resource_names import (
    InstanceName,
    ZoneName,
    parse_instance,
    parse_project,
    parse_zone,
)

ZONE = "europe-west1-b"
BEFORE = [
    "",
    "/",
    "https://www.googleapis.com/compute/v1/",
    "https://compute.googleapis.com/compute/beta/",
    "https://compute.googleapis.com/v1/",
    "https://compute-psc.p.googleapis.com/compute/v1/",
    "http://127.0.0.1:8080/compute/v1/",
    "//compute.googleapis.com/",
]
PROJECTS = ["acme", "123456789012", "example.com:acme"]


class TestZones:
    @pytest.mark.parametrize("before", BEFORE)
    @pytest.mark.parametrize("project", PROJECTS)
    def test_with_their_project(self, before: str, project: str) -> None:
        assert parse_zone(f"{before}projects/{project}/zones/{ZONE}") == ZoneName(ZONE, project)

    @pytest.mark.parametrize("written", [ZONE, f"zones/{ZONE}", f" {ZONE}\n", "a"])
    def test_without_their_project(self, written: str) -> None:
        assert parse_zone(written).project is None
        assert parse_zone(written).zone in (ZONE, "a")

    @pytest.mark.parametrize(
        "written",
        [
            "",
            "Europe-West1-B",
            "../zones/b",
            f"projects/acme/{ZONE}",
            f"projects/acme/regions/{ZONE}",
            f"projects/acme/zones/{ZONE}/instances/web-1",
            f"{ZONE}/web-1",
            f"{ZONE}?x=y",
            "a b",
            "zones/",
            f"zones/{ZONE}/",
        ],
    )
    def test_that_are_invalid(self, written: str) -> None:
        with pytest.raises(ComputeBadRequest, match="is not a zone: write its name, such as us-central1-a"):
            parse_zone(written)


class TestInstances:
    @pytest.mark.parametrize("before", BEFORE)
    @pytest.mark.parametrize("project", PROJECTS)
    @pytest.mark.parametrize("name", ["web-1", "9007199254740993"])
    def test_with_their_project(self, before: str, project: str, name: str) -> None:
        written = f"{before}projects/{project}/zones/{ZONE}/instances/{name}"
        assert parse_instance(written) == InstanceName(name, ZONE, project)

    @pytest.mark.parametrize(
        "written, expected",
        [
            ("web-1", InstanceName("web-1")),
            ("1001", InstanceName("1001")),
            ("web-1\n", InstanceName("web-1")),
            (f"{ZONE}/web-1", InstanceName("web-1", ZONE)),
            (f"zones/{ZONE}/instances/web-1", InstanceName("web-1", ZONE)),
            (f"web-1.{ZONE}.c.acme.internal", InstanceName("web-1", ZONE, "acme")),
            ("web-1.c.acme.internal", InstanceName("web-1", None, "acme")),
            (f"web-1.{ZONE}.c.acme.example.com.internal", InstanceName("web-1", ZONE, "example.com:acme")),
        ],
    )
    def test_in_the_short_form(self, written: str, expected: InstanceName) -> None:
        assert parse_instance(written) == expected

    @pytest.mark.parametrize(
        "written",
        [
            "",
            "Web",
            "a b",
            "zones/z/disks/d",
            f"projects/acme/zones/{ZONE}/instances/",
            "a/b/c",
            f"{ZONE}/",
            "web_1",
            "https://x/",
            "web-1.example.com",
            "projects/../zones/z/instances/i",
            f"projects/acme/zones/{ZONE}/instances/web-1?fields=x",
        ],
    )
    def test_that_are_invalid(self, written: str) -> None:
        with pytest.raises(ComputeBadRequest, match="is not an instance: write its name"):
            parse_instance(written)


class TestProjects:
    @pytest.mark.parametrize("project", PROJECTS)
    @pytest.mark.parametrize("before", ["", "projects/", *(f"{before}projects/" for before in BEFORE)])
    def test_in_all_forms(self, project: str, before: str) -> None:
        assert parse_project(f"{before}{project}\n") == project

    @pytest.mark.parametrize("written", ["", "My Project", "acme/web", "projects/", "../acme", "acme?x"])
    def test_that_are_invalid(self, written: str) -> None:
        with pytest.raises(
            ComputeBadRequest, match=r"The option project is .*, which is not the ID or number of a project"
        ):
            parse_project(written)

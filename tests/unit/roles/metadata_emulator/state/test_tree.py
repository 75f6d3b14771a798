# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forms of the tree: listings, text, JSON, etags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gce_emulator.state import tree
from gce_emulator.state.project import Project
from gce_emulator.state.tree import Leaf, NotAllowed, camel_case, directory, find, render


@pytest.mark.parametrize(
    "name, camel",
    [
        ("device-name", "deviceName"),
        ("numeric-project-id", "numericProjectId"),
        ("zone", "zone"),
        ("ipv6s", "ipv6s"),
        ("default", "default"),
        ("7-compute@developer.gserviceaccount.com", "7-compute@developer.gserviceaccount.com"),
    ],
)
def test_camel_case(name: str, camel: str) -> None:
    assert camel_case(name) == camel


def sample() -> tree.Directory:
    return directory(
        {
            "machine-type": "e2-medium",
            "disks": tree.numbered(
                [directory({"device-name": f"disk-{number}", "index": number}) for number in range(11)]
            ),
            "attributes": directory({"my-key": "v", "a_b": "é"}, tree.VERBATIM),
            "tags": Leaf(["b", "a"], json_by_default=True),
            "scopes": ["https://a", "https://b"],
            "id": 2**62 + 1,
            "token": tree.Computed("token"),
            "upcoming-maintenance": tree.NothingYet(),
        }
    )


def text(node: tree.Node, **options: Any) -> str:
    return render(node, "x", **options).body.decode()


def test_a_listing_is_sorted_and_marks_directories() -> None:
    assert text(sample()) == "attributes/\ndisks/\nid\nmachine-type\nscopes\ntags\ntoken\nupcoming-maintenance\n"


def test_numbered_entries_are_listed_by_number() -> None:
    disks = find(sample(), "disks")
    assert disks is not None
    assert text(disks).splitlines() == [f"{number}/" for number in range(11)]


def test_recursive_json_is_compact_sorted_and_camel_case_except_users_names() -> None:
    disks = ",".join(f'{{"deviceName":"disk-{number}","index":{number}}}' for number in range(11))
    assert text(sample(), recursive=True) == (
        f'{{"attributes":{{"a_b":"é","my-key":"v"}},"disks":[{disks}],"id":4611686018427387905,'
        '"machineType":"e2-medium","scopes":["https://a","https://b"],"tags":["b","a"]}'
    )


def test_recursive_text_has_a_line_for_each_value() -> None:
    disks = find(sample(), "disks")
    assert disks is not None
    lines = text(disks, recursive=True, alt="text").splitlines()
    assert lines[:3] == ["0/device-name disk-0", "0/index 0", "1/device-name disk-1"]
    assert "scopes https://b" in text(sample(), recursive=True, alt="text").splitlines()


@pytest.mark.parametrize(
    "path, alt, body, content_type",
    [
        ("machine-type", None, "e2-medium", "application/text"),
        ("machine-type", "json", '"e2-medium"', "application/json"),
        ("id", None, "4611686018427387905", "application/text"),
        ("id", "json", "4611686018427387905", "application/json"),
        ("tags", None, '["b","a"]', "application/json"),
        ("tags", "text", "b\na\n", "application/text"),
        ("scopes", None, "https://a\nhttps://b\n", "application/text"),
        ("scopes", "json", '["https://a","https://b"]', "application/json"),
    ],
)
def test_each_leaf_has_its_own_default_format(path: str, alt: str | None, body: str, content_type: str) -> None:
    node = find(sample(), path)
    assert node is not None
    rendered = render(node, path, alt=alt)
    assert (rendered.body.decode(), rendered.content_type) == (body, content_type)


def test_alt_needs_recursive_on_a_directory() -> None:
    with pytest.raises(NotAllowed):
        render(sample(), "x", alt="json")


def test_an_etag_is_64_bits_in_hex() -> None:
    etag = render(sample(), "x").etag
    assert 0 < int(etag, 16) < 2**64
    assert etag == f"{int(etag, 16):x}"


def test_an_etag_follows_the_content_and_not_the_format() -> None:
    leaf = Leaf("a")
    first = render(leaf, "x")
    assert render(leaf, "x", alt="json").etag == first.etag
    leaf.value = "b"
    assert render(leaf, "x").etag != first.etag
    leaf.value = "a"
    assert render(leaf, "x").etag == first.etag
    assert render(sample(), "x", recursive=True).etag == render(sample(), "x", recursive=True, alt="text").etag
    assert render(sample(), "x", recursive=True).etag != render(sample(), "x").etag


def test_a_change_below_changes_the_recursive_etag_and_not_the_listing(make_project: Callable[..., Project]) -> None:
    instance = make_project().instances["web-1"]
    node = find(instance.root, "instance")
    assert node is not None
    before = render(node, "instance"), render(node, "instance", recursive=True)
    instance.set("instance/attributes/colour", "blue")
    after = render(node, "instance"), render(node, "instance", recursive=True)
    assert after[0].etag == before[0].etag
    assert after[1].etag != before[1].etag


def test_text_that_is_not_utf_8_is_kept() -> None:
    value = b"\xff\xfe".decode("utf-8", "surrogateescape")
    assert render(Leaf(value), "x").body == b"\xff\xfe"


def test_the_default_tree_is_that_of_an_ordinary_vm(make_project: Callable[..., Project]) -> None:
    instance = make_project().instances["web-1"]
    content = tree.dump(instance.root)
    assert sorted(content) == ["instance", "oslogin", "project"]
    assert " ".join(sorted(content["instance"])) == (
        "attributes cpuPlatform credentials description disks gceWorkloadCertificates guestAttributes hostname id "
        "image licenses machineType maintenanceEvent name networkInterfaces partnerAttributes preempted "
        "remainingCpuTime scheduling serviceAccounts shutdownDetails tags virtualClock zone"
    )
    assert content["instance"]["scheduling"] == {
        "automaticRestart": "TRUE",
        "onHostMaintenance": "MIGRATE",
        "preemptible": "FALSE",
    }
    assert content["instance"]["machineType"] == "projects/314159265358/machineTypes/e2-medium"
    assert content["instance"]["zone"] == "projects/314159265358/zones/us-central1-a"
    default = content["instance"]["serviceAccounts"]["default"]
    assert sorted(default) == ["aliases", "email", "scopes"]
    assert content["instance"]["serviceAccounts"][default["email"]] == default
    assert content["project"] == {
        "attributes": {},
        "numericProjectId": 314159265358,
        "projectId": "emulated-project",
    }

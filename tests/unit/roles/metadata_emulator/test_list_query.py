# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters, fields masks and pages of the emulated Compute API."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gce_emulator.list_query import BadQuery, apply_mask, instant, parse_fields, parse_filter, parse_list_query, select

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
def test_filter_lets_pass(text: str) -> None:
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
        # One more than what is there; as floating point numbers the two are equal.
        "id = 9223372036854775810",
        "creationTimestamp > 2026-01-01T08:00:00Z",
        "name eq web",
        "name eq .eb",
        "name ne web-.*",
    ],
)
def test_filter_holds_back(text: str) -> None:
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
def test_filter_that_does_not_parse_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadQuery) as caught:
        parse_filter(text)
    assert caught.value.parameter == "filter"
    assert str(caught.value).startswith(f"Invalid value for field 'filter': '{text}'. ")


AGGREGATED: dict[str, Any] = {
    "kind": "compute#instanceAggregatedList",
    "items": {
        "zones/us-east1-b": {"instances": [{"name": "web-1", "zone": "b", "disks": [{"index": 0, "mode": "RW"}]}]},
        "zones/us-east1-c": {"warning": {"code": "NO_RESULTS_ON_PAGE"}},
    },
    "nextPageToken": "next",
}
NAME_AND_ZONE: dict[str, Any] = {
    "items": {"zones/us-east1-b": {"instances": [{"name": "web-1", "zone": "b"}]}, "zones/us-east1-c": {}},
    "nextPageToken": "next",
}


@pytest.mark.parametrize(
    "fields, expected",
    [
        ("items.zones.instances(name,zone),nextPageToken", NAME_AND_ZONE),
        ("items/*/instances(name,zone),nextPageToken", NAME_AND_ZONE),
        ("items/*/instances/name, items/*/instances/zone, nextPageToken", NAME_AND_ZONE),
        ("items(*(instances(name,zone))),nextPageToken", NAME_AND_ZONE),
        ("kind", {"kind": "compute#instanceAggregatedList"}),
        ("nothing", {}),
        ("*", AGGREGATED),
        ("items,items/*/warning,kind,nextPageToken", AGGREGATED),
        (
            "items/*/instances/disks/mode,items/*/warning",
            {
                "items": {
                    "zones/us-east1-b": {"instances": [{"disks": [{"mode": "RW"}]}]},
                    "zones/us-east1-c": {"warning": {"code": "NO_RESULTS_ON_PAGE"}},
                }
            },
        ),
    ],
)
def test_fields_mask(fields: str, expected: dict[str, Any]) -> None:
    assert apply_mask(parse_fields(fields), AGGREGATED) == expected


def test_mask_is_the_same_after_use() -> None:
    mask = parse_fields("items/*/instances/name,items/zones/instances/zone")
    assert apply_mask(mask, AGGREGATED) == apply_mask(mask, AGGREGATED)


@pytest.mark.parametrize(
    "fields", ["", ",", "items(", "items()", "items)", "a,,b", "items/", "items(name", "a b", "a;b"]
)
def test_fields_mask_that_does_not_parse_is_refused(fields: str) -> None:
    with pytest.raises(BadQuery, match=r"Invalid field selection\.$"):
        parse_fields(fields)


@pytest.mark.parametrize(
    "query, complaint",
    [
        ({"maxResults": "501"}, "'maxResults': '501'"),
        ({"maxResults": "-1"}, "'maxResults': '-1'"),
        ({"maxResults": "many"}, "'maxResults': 'many'"),
        ({"orderBy": "status"}, "'orderBy': 'status'"),
        ({"pageToken": "garbage!"}, "'pageToken': 'garbage!'"),
        ({"pageToken": "W10="}, "'pageToken': 'W10='"),
        ({"filter": "name"}, "'filter': 'name'"),
    ],
)
def test_bad_list_parameters_are_named(query: dict[str, str], complaint: str) -> None:
    with pytest.raises(BadQuery, match=complaint):
        parse_list_query(query)


def zone_of(resource: Any) -> str:
    return str(resource["zone"])


def names_page_by_page(resources: list[dict[str, Any]], **query: str) -> list[list[str]]:
    pages = []
    token = ""
    while True:
        page = select(resources, parse_list_query({**query, "pageToken": token}), zone_of)
        pages.append([str(item["name"]) for item in page.items])
        if page.next_page_token is None:
            return pages
        token = page.next_page_token


def test_pages_go_by_zone_and_name_and_may_split_a_zone() -> None:
    resources = [{"name": name, "zone": zone} for name, zone in [("c", "1"), ("a", "2"), ("a", "1"), ("b", "1")]]
    assert names_page_by_page(resources, maxResults="2") == [["a", "b"], ["c", "a"]]


def test_newest_first() -> None:
    resources = [
        {"name": "old", "zone": "1", "creationTimestamp": "2026-01-01T00:00:00.000-08:00"},
        # Later, though the text sorts before.
        {"name": "new", "zone": "1", "creationTimestamp": "2025-12-31T23:30:00.000-10:00"},
    ]
    assert names_page_by_page(resources, orderBy="creationTimestamp desc", maxResults="1") == [["new"], ["old"]]
    assert names_page_by_page(resources, orderBy="name") == [["new", "old"]]


def test_a_page_of_nothing_has_no_next_page() -> None:
    """maxResults=0 is legal; a token on an empty page would send a client round for ever."""
    assert names_page_by_page([{"name": "a", "zone": "1"}], maxResults="0") == [[]]


def test_token_of_another_order_is_refused() -> None:
    resources = [{"name": name, "zone": "1"} for name in "ab"]
    token = select(resources, parse_list_query({"maxResults": "1"}), zone_of).next_page_token
    with pytest.raises(BadQuery, match="another orderBy"):
        parse_list_query({"pageToken": token or "", "orderBy": "creationTimestamp desc"})


def test_resource_that_goes_between_two_pages_hides_no_other() -> None:
    resources = [{"name": name, "zone": "1"} for name in "abcd"]
    first = select(resources, parse_list_query({"maxResults": "2"}), zone_of)
    query = parse_list_query({"maxResults": "2", "pageToken": first.next_page_token or ""})
    assert [item["name"] for item in select(resources[1:], query, zone_of).items] == ["c", "d"]


@given(
    st.sets(st.tuples(st.sampled_from("123"), st.text("abc", min_size=1, max_size=3)), max_size=20),
    st.integers(1, 7),
)
def test_pages_of_any_size_show_each_resource_once(places: set[tuple[str, str]], size: int) -> None:
    resources = [{"name": name, "zone": zone} for zone, name in places]
    shown = [name for page in names_page_by_page(resources, maxResults=str(size)) for name in page]
    assert shown == [name for _zone, name in sorted(places)]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("1970-01-01T00:00:01Z", 1.0),
        ("1970-01-01T00:00:00.5+00:00", 0.5),
        ("1969-12-31T16:00:00.250-08:00", 0.25),
        ("1970-01-01", None),
        ("2026-13-01T00:00:00Z", None),
        ("web-1", None),
    ],
)
def test_instant(text: str, expected: float | None) -> None:
    assert instant(text) == expected

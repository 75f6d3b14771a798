# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages of the emulated Compute API's lists."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gce_emulator.compute.list_query import Entry, parse_list_query, select
from gce_emulator.state.errors import ApiError


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
    with pytest.raises(ApiError, match=complaint):
        parse_list_query(query)


def entries(resources: list[dict[str, Any]]) -> list[Entry]:
    return [
        Entry(each["zone"], each["name"], each.get("created"), lambda each=each: each)  # type: ignore[misc]
        for each in resources
    ]


def names_page_by_page(resources: list[dict[str, Any]], **query: str) -> list[list[str]]:
    pages = []
    token = ""
    while True:
        page = select(entries(resources), parse_list_query({**query, "pageToken": token}))
        pages.append([str(item["name"]) for item in page.items])
        if page.next_page_token is None:
            return pages
        token = page.next_page_token


def test_pages_go_by_zone_and_name_and_may_split_a_zone() -> None:
    resources = [{"name": name, "zone": zone} for name, zone in [("c", "1"), ("a", "2"), ("a", "1"), ("b", "1")]]
    assert names_page_by_page(resources, maxResults="2") == [["a", "b"], ["c", "a"]]


def test_newest_first() -> None:
    resources = [
        {"name": "old", "zone": "1", "created": datetime.datetime.fromisoformat("2026-01-01T00:00:00-08:00")},
        # Later, but sorted before as text.
        {"name": "new", "zone": "1", "created": datetime.datetime.fromisoformat("2025-12-31T23:30:00-10:00")},
    ]
    assert names_page_by_page(resources, orderBy="creationTimestamp desc", maxResults="1") == [["new"], ["old"]]
    assert names_page_by_page(resources, orderBy="name") == [["new", "old"]]


def test_an_empty_page_has_no_next_page() -> None:
    """maxResults=0 is legal; with a token on an empty page, a client would never end."""
    assert names_page_by_page([{"name": "a", "zone": "1"}], maxResults="0") == [[]]


def test_token_of_another_order_is_refused() -> None:
    resources = [{"name": name, "zone": "1"} for name in "ab"]
    token = select(entries(resources), parse_list_query({"maxResults": "1"})).next_page_token
    with pytest.raises(ApiError, match="another orderBy"):
        parse_list_query({"pageToken": token or "", "orderBy": "creationTimestamp desc"})


def test_a_resource_removed_between_two_pages_hides_no_other() -> None:
    resources = [{"name": name, "zone": "1"} for name in "abcd"]
    first = select(entries(resources), parse_list_query({"maxResults": "2"}))
    query = parse_list_query({"maxResults": "2", "pageToken": first.next_page_token or ""})
    assert [item["name"] for item in select(entries(resources[1:]), query).items] == ["c", "d"]


@given(
    st.sets(st.tuples(st.sampled_from("123"), st.text("abc", min_size=1, max_size=3)), max_size=20),
    st.integers(1, 7),
)
def test_pages_of_any_size_show_each_resource_once(places: set[tuple[str, str]], size: int) -> None:
    resources = [{"name": name, "zone": zone} for zone, name in places]
    shown = [name for page in names_page_by_page(resources, maxResults=str(size)) for name in page]
    assert shown == [name for _zone, name in sorted(places)]


def test_resources_are_made_only_for_the_page() -> None:
    made: list[str] = []

    def entry(name: str) -> Entry:
        def resource() -> dict[str, Any]:
            made.append(name)
            return {"name": name}

        return Entry("1", name, None, resource)

    token = select(map(entry, "abcdefgh"), parse_list_query({"maxResults": "2"})).next_page_token
    assert made == ["a", "b"]
    made.clear()
    select(map(entry, "abcdefgh"), parse_list_query({"maxResults": "2", "pageToken": token or ""}))
    assert made == ["c", "d"]


def test_a_filter_by_a_known_field_makes_only_what_it_finds() -> None:
    """A list of 10,000 instances by name took seconds."""
    made: list[str] = []

    def entry(name: str) -> Entry:
        def resource() -> dict[str, Any]:
            made.append(name)
            return {"name": name, "status": "RUNNING"}

        return Entry("1", name, None, resource, {"name": name})

    entries = [entry(name) for name in ("a", "b", "c", "d")]
    page = select(entries, parse_list_query({"filter": 'name eq "(b|c|d)"', "maxResults": "2"}))
    assert ([each["name"] for each in page.items], made) == (["b", "c"], ["b", "c"])
    assert page.next_page_token is not None
    both = parse_list_query({"filter": "name != a AND status = RUNNING AND missing != 1"})
    assert [each["name"] for each in select(entries, both).items] == ["b", "c", "d"]
    assert made[2:] == ["b", "c", "d"]

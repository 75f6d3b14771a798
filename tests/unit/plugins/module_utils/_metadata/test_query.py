# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""JMESPath expressions."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.module_utils._metadata.query import QueryError, compiled_query


@pytest.mark.parametrize(
    "expression, found",
    [
        ("a", [1, 2]),
        ("length(a)", 2),
        ("a[0:1].to_string(@) | [0]", "1"),
        ("b[?starts_with(k, 'x')].k", ["x1"]),
        ("merge(c, c, c)", {"d": "e"}),
        ("not_null(nothing, c.d)", "e"),
        ("sort_by(b, &k)[].{long: length(k)}", [{"long": 2}, {"long": 2}]),
        ("nothing", None),
    ],
)
def test_evaluates_an_expression(expression: str, found: Any) -> None:
    data = {"a": [1, 2], "b": [{"k": "x1"}, {"k": "y1"}], "c": {"d": "e"}}
    assert compiled_query(expression)(data) == found


@pytest.mark.parametrize(
    "expression, said",
    [
        ("a[", "The query 'a[' is not a JMESPath expression: "),
        ("", "The query '' is not a JMESPath expression: "),
        ("nofunc(@)", "The query 'nofunc(@)' calls nofunc, which is not a function of JMESPath."),
        ("a[1:2].{b: [nofunc(@, &b)]} || c", " calls nofunc, which is not a function of JMESPath."),
        ("map(&nofunc(@), a)", " calls nofunc, which is not a function of JMESPath."),
        ("a[?length(@) > `1` && LENGTH(@)]", " calls LENGTH, which is not a function of JMESPath."),
        ("length()", "The query 'length()' gives length 0 arguments, but it takes 1."),
        ("a | starts_with(@)", " gives starts_with 1 argument, but it takes 2."),
        ("a | starts_with(@, 'a', 'b')", " gives starts_with 3 arguments, but it takes 2."),
        ("merge()", " gives merge 0 arguments, but it takes 1 or more."),
    ],
)
def test_rejects_an_invalid_expression(expression: str, said: str) -> None:
    with pytest.raises(QueryError) as caught:
        compiled_query(expression)
    assert said in str(caught.value)


@pytest.mark.parametrize("expression, data", [("length(@)", 1), ("[::0]", [1])])
def test_rejects_data_that_do_not_fit(expression: str, data: Any) -> None:
    search = compiled_query(expression)
    with pytest.raises(QueryError) as caught:
        search(data)
    assert str(caught.value).startswith(f"The query {expression!r} does not fit the data: ")

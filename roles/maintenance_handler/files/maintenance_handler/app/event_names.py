# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unknown names in a task's `when`.

The syntax tree of the expression is followed with the shape of the document. Where the shape is unknown, for example
after a function, nothing is reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.event import FIELDS
from ..core.likeness import did_you_mean
from .expressions import tree

# Shapes: a mapping has these names and no others; a list has a shape for its elements; None is any value.
_SCALAR = "scalar"
_LISTS = ("reasons",)
_EVENT: Mapping[str, Any] = {name: [_SCALAR] if name in _LISTS else _SCALAR for name in FIELDS}
_DOCUMENT: Mapping[str, Any] = {"event": _EVENT}


def unknown_fields(expression: str) -> list[str]:
    """A sentence for each unknown name in a valid expression."""
    problems: list[str] = []
    _follow(tree(expression), _DOCUMENT, problems)
    return list(dict.fromkeys(problems))


def _follow(node: Mapping[str, Any], shape: Any, problems: list[str]) -> Any:
    """The shape of the result of a node for a document of this shape."""
    kind, children = node["type"], node.get("children", [])
    if kind == "field":
        return _field(str(node["value"]), shape, problems)
    if kind in ("current", "identity"):
        return shape
    if kind in ("subexpression", "pipe", "index_expression"):
        for child in children:
            shape = _follow(child, shape, problems)
        return shape
    if kind == "flatten":
        return _follow(children[0], shape, problems)
    if kind in ("projection", "filter_projection", "value_projection"):
        return _projected(children, shape, problems)
    if kind == "index":
        return shape[0] if isinstance(shape, list) else None
    if kind == "slice":
        return shape
    if kind == "multi_select_dict":
        return {child["value"]: _follow(child["children"][0], shape, problems) for child in children}
    if kind == "expref":
        # Only the function knows what it is applied to.
        return None
    for child in children:
        _follow(child, shape, problems)
    return None


def _field(name: str, shape: Any, problems: list[str]) -> Any:
    if isinstance(shape, Mapping):
        if name in shape:
            return shape[name]
        if shape is _DOCUMENT:
            hint = f"; did you mean 'event.{name}'?" if name in _EVENT else did_you_mean(name, shape)
            problems.append(f"{name!r} is not known; the document has only 'event'{hint}")
        elif shape is _EVENT:
            hint = did_you_mean(name, shape) or f"; it has {', '.join(shape)}"
            problems.append(f"an event has no field {name!r}{hint}")
    elif shape is not None:
        kind = "a list" if isinstance(shape, list) else "a single value"
        problems.append(f"{name!r} is looked for in {kind}, which has no fields")
    return None


def _projected(children: list[Any], shape: Any, problems: list[str]) -> Any:
    left = _follow(children[0], shape, problems)
    element = left[0] if isinstance(left, list) else None
    result, *_conditions = [_follow(child, element, problems) for child in children[1:]]
    return [result]

# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was read from JSON, held against what it should be: damage is told when it is read, not where it is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

# Seconds of any clock stay below this, and can be calculated with.
MOST = 1e12


def checked(kind: type, values: Any) -> Mapping[str, Any]:
    """The values, each of the type that the field of its name is declared with. Raises ValueError.

    Fields that are dataclasses, or tuples of them, are looked into by whoever builds those.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{kind.__name__} is no object: {values!r}")
    for name, declared in kind.__annotations__.items():
        tests = [_FITS[one] for one in str(declared).split(" | ") if one in _FITS]
        if name in values and tests and not any(test(values[name]) for test in tests):
            raise ValueError(f"{name} of {kind.__name__} is {values[name]!r}, not {declared}")
    return values


def fits(value: Any, shape: Any) -> bool:
    """Whether a value has a shape, written as the value is: types by their names, as in a declaration, one of a list.

    An object may have more than the shape says; the key `...` stands for whatever keys it has, and one that ends with
    `?` may be missing.
    """
    if isinstance(shape, str):
        return any(_FITS[one](value) for one in shape.split(" | "))
    if isinstance(shape, list):
        return isinstance(value, list) and all(fits(one, shape[0]) for one in value)
    if not isinstance(value, dict):
        return False
    if ... in shape:
        return all(fits(one, shape[...]) for one in value.values())
    return all(
        fits(value[name], one) if name in value else name != key
        for key, one in shape.items()
        for name in (key.removesuffix("?"),)
    )


def _is_number(value: Any) -> bool:
    # Not NaN either, which is neither more nor less than anything.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -MOST < value < MOST


def _are_strings(values: Any) -> bool:
    return all(isinstance(value, str) for value in values)


_FITS: Mapping[str, Callable[[Any], bool]] = {
    "None": lambda value: value is None,
    "bool": lambda value: isinstance(value, bool),
    "str": lambda value: isinstance(value, str),
    "int": lambda value: _is_number(value) and isinstance(value, int),
    "float": _is_number,
    "Moment": lambda value: isinstance(value, dict),
    "Mapping[str, Any]": lambda value: isinstance(value, dict),
    "Mapping[str, float]": lambda value: isinstance(value, dict) and all(map(_is_number, value.values())),
    "Mapping[str, str]": lambda value: isinstance(value, dict) and _are_strings(value.values()),
    "tuple[str, ...]": lambda value: isinstance(value, (list, tuple)) and _are_strings(value),
}

# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check what was read from JSON, so that damage is reported where it is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

# Times and durations in seconds are below this, so that sums of them are finite.
MOST = 1e12


def checked(kind: type, values: Any) -> Mapping[str, Any]:
    """Return values read from JSON if each fits the declared type of the field of that name.

    Records, and tuples of them, are checked as objects and lists; who builds the records checks the rest.

    :raises ValueError: a value does not fit.
    :raises TypeError: a field is declared with a type that cannot be checked.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{kind.__name__} is not an object: {values!r}")
    for name, declared in kind.__annotations__.items():
        types = str(declared).split(" | ")
        unknown = [one for one in types if one not in _FITS]
        if unknown:
            raise TypeError(f"{name} of {kind.__name__} has a type that cannot be checked: {', '.join(unknown)}")
        if name in values and not any(_FITS[one](values[name]) for one in types):
            raise ValueError(f"{name} of {kind.__name__} is {values[name]!r}, not {declared}")
    return values


def fits(value: Any, shape: Any) -> bool:
    """Whether a value has a shape: `"int | None"`, `["str"]`, `{"id": "str", "tasks?": ["str"]}`, `{...: "float"}`.

    An object may have further keys; `...` stands for any key, and a key that ends with `?` is optional. A tuple has
    alternatives, such as `({"id": "str"}, "None")`.
    """
    if isinstance(shape, str):
        return any(_FITS[one](value) for one in shape.split(" | "))
    if isinstance(shape, tuple):
        return any(fits(value, one) for one in shape)
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
    # NaN fails both comparisons.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -MOST < value < MOST


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _are_strings(values: Any) -> bool:
    return all(isinstance(value, str) for value in values)


_FITS: Mapping[str, Callable[[Any], bool]] = {
    "None": lambda value: value is None,
    "bool": lambda value: isinstance(value, bool),
    "str": lambda value: isinstance(value, str),
    "int": lambda value: _is_number(value) and isinstance(value, int),
    "float": _is_number,
    **dict.fromkeys(("Moment", "Order", "Hold", "Slot"), lambda value: isinstance(value, dict)),
    "Mapping[str, Any]": lambda value: isinstance(value, dict),
    "Mapping[str, float]": lambda value: isinstance(value, dict) and all(map(_is_number, value.values())),
    "Mapping[str, str]": lambda value: isinstance(value, dict) and _are_strings(value.values()),
    "tuple[str, ...]": lambda value: _is_list(value) and _are_strings(value),
    **{
        f"tuple[{record}, ...]": _is_list
        for record in ("Task", "Signal", "PastSignal", "Step", "Skip", "Holder", "Entry")
    },
}

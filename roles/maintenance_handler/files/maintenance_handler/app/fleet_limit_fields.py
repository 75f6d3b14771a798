# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The setting `fleet_limit`. Imported only if there is one.

The options of a backend are checked by the program that uses them, when the configuration is checked on a machine.
"""

from __future__ import annotations

from typing import Any

from ..core.fleet_limit import ALLOWED, DENIED_DEFAULT, FleetLimit
from ..core.likeness import did_you_mean
from .config_fields import DAY, kind_of, number, one_of, shown, text_of, whole

CONSUL = "consul"
BACKENDS = ("etcd", CONSUL, "fleetlock")
# Not for the backend.
_OWN = ("denied", "reserve")


def fleet_limit(value: Any) -> FleetLimit:
    """Raises ValueError, with the rest of a sentence about the field."""
    if not isinstance(value, dict):
        raise ValueError(f"must be an object, not {kind_of(value)}")
    given = {name: one for name, one in value.items() if one is not None}
    for name in ("backend", "group"):
        if name not in given:
            raise ValueError(f"{name} is missing")
    values = {name: _checked(name, given[name]) for name in _CHECKS if name in given and name != "slots"}
    if "slots" in given:
        _checked("slots", given["slots"])
    options = {name: one for name, one in given.items() if name not in _OWN}
    return FleetLimit(**values, options=options)


def _checked(name: str, value: Any) -> Any:
    try:
        return _CHECKS[name](value)
    except ValueError as exc:
        raise ValueError(f"{name} {exc}") from None


def _denied(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError(f"must be an object with a policy for each event, not {kind_of(value)}")
    for event, policy in value.items():
        if event not in ALLOWED:
            raise ValueError(
                f"has no event {shown(event)}; there are {', '.join(ALLOWED)}{did_you_mean(event, ALLOWED)}"
            )
        if policy not in ALLOWED[event]:
            raise ValueError(f"for {event} must be one of {', '.join(ALLOWED[event])}, not {shown(policy)}")
    return {**DENIED_DEFAULT, **value}


# The options that the handler uses itself. All others are for the backend only.
_CHECKS = {
    "backend": one_of(*BACKENDS),
    "group": text_of,
    "slots": whole(1, 1000),
    "ttl": whole(2, 86400),
    "denied": _denied,
    "reserve": number(0, DAY),
}

# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of event sources, which ansible-rulebook passes unchecked.

Private to the collection: it may change at any time. Imports nothing from ansible, because ansible-rulebook runs
sources outside of any plugin.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from ...module_utils._compute.options import ApiOption
from ...module_utils._module.numbers import NumberError, check_numbers

# Added by ansible-rulebook.
_OWN_OF_RULEBOOK = "eda_feedback_queue"
_FIELD = re.compile(r"\{(name|zone|project)\}")
# A name of the network is never a pattern of hosts: "all", "web-*", "@file".
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})")
_GROUPS_OF_ANSIBLE = ("all", "ungrouped")
# Matches no host, so that the action fails: without hosts, ansible-rulebook would run it on all hosts of the ruleset.
# https://datatracker.ietf.org/doc/html/rfc2606#section-2
NO_HOST = "no-host.invalid"


class SourceError(Exception):
    """The source cannot work as it is configured; str() is a sentence."""


def read_options(args: Mapping[str, Any], known: Mapping[str, ApiOption]) -> dict[str, Any]:
    """All known options with their values, from `args`, the environment, or their defaults. Raises SourceError."""
    given = {name: value for name, value in args.items() if name != _OWN_OF_RULEBOOK}
    if unknown := sorted(map(str, given.keys() - known.keys())):
        raise SourceError(f"There is no option {', '.join(unknown)}. There are: {', '.join(sorted(known))}.")
    options = {name: _value(name, option, given.get(name)) for name, option in known.items()}
    try:
        check_numbers(options)
    except NumberError as error:
        raise SourceError(str(error)) from None
    return options


def host_namer(pattern: str, *, limit: bool) -> Callable[[str, str | None, str | None], list[str]]:
    """A function from name, zone and project of a VM to `meta.hosts`. Raises SourceError for an invalid pattern.

    The list is empty without `limit`, and has NO_HOST if the result cannot be the name of one host.
    """
    rest = _FIELD.sub("", pattern)
    if "{" in rest or "}" in rest or "{name}" not in pattern:
        raise SourceError(
            f"host_pattern is {pattern!r}, but it has to contain {{name}}, and may contain {{zone}}, {{project}}."
        )

    def hosts_of(name: str, zone: str | None, project: str | None) -> list[str]:
        fields = {"name": name, "zone": zone or "", "project": project or ""}
        host = _FIELD.sub(lambda match: fields[match[1]], pattern)
        if not limit:
            return []
        return [host if _HOST.fullmatch(host) and host not in _GROUPS_OF_ANSIBLE else NO_HOST]

    return hosts_of


def meta_of(hosts: list[str]) -> dict[str, list[str]]:
    """The field `meta` of an event. Without hosts, actions run on those of the ruleset."""
    return {"hosts": hosts} if hosts else {}


COMMON_OPTIONS: Mapping[str, ApiOption] = {
    "host_pattern": ApiOption(default="{name}"),
    "limit": ApiOption("bool", default=True),
}
INITIAL = ApiOption(default="report", choices=("report", "changes"))


def _value(name: str, option: ApiOption, given: Any) -> Any:
    value = given if given is not None else _of_environment(option)
    if value is None:
        return option.default
    converted = _CONVERSIONS[option.type](value)
    if converted is None:
        # Without its value, which may be a secret in the wrong place.
        raise SourceError(f"{name} has to be {_WORDS[option.type]}.")
    if option.choices and converted not in option.choices:
        raise SourceError(f"{name} is {converted!r}, but it has to be one of {', '.join(option.choices)}.")
    return converted


def _of_environment(option: ApiOption) -> str | None:
    return next((os.environ[name] for name in option.environment if os.environ.get(name)), None)


def _text(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    return str(value) if str(value) else None


def _number(kind: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        # Jinja makes text of numbers.
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            return None
        try:
            number = kind(value)
        except (ValueError, OverflowError):
            return None
        return number if float(number) == float(value) else None

    return convert


def _boolean(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    return {"true": True, "yes": True, "false": False, "no": False}.get(str(value).lower())


def _list(value: Any) -> list[str] | None:
    many = value.split(",") if isinstance(value, str) else value
    if not isinstance(many, list) or not all(isinstance(one, str) and one.strip() for one in many):
        return None
    return [one.strip() for one in many]


def _path(value: Any) -> str | None:
    return os.path.expandvars(os.path.expanduser(value)) if isinstance(value, str) and value else None


_CONVERSIONS: Mapping[str, Callable[[Any], Any]] = {
    "str": _text,
    "int": _number(int),
    "float": _number(float),
    "bool": _boolean,
    "list": _list,
    "path": _path,
    "jsonarg": lambda value: value if isinstance(value, (str, Mapping)) else None,
}
_WORDS: Mapping[str, str] = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list of texts",
    "path": "a path",
    "jsonarg": "JSON, as text or as a dictionary",
}

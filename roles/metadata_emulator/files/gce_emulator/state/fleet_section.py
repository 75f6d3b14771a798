# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mapping of the fleet file, read strictly: every mistake is reported with its place."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Sequence
from typing import Any

from . import custom_metadata

NAME = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")


class FleetError(Exception):
    """A mistake in a fleet file. `place` is such as `instances[0].zone`, or empty for the whole file."""

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(f"{place}: {problem}" if place else problem)
        self.place = place


class Section:
    """A mapping with its place in the file. Unknown keys are refused. All readers raise FleetError."""

    def __init__(self, given: Any, place: str, known: tuple[str, ...]) -> None:
        self.place = place
        if not isinstance(given, dict):
            raise FleetError(place, f"is {_kind(given)}; it must be a mapping")
        for key in given:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, 1)
                hint = f"did you mean {near[0]}?" if near else f"it can be {', '.join(known)}"
                raise FleetError(self.at(str(key)), f"is an unknown key; {hint}")
        self._given = given

    def at(self, key: str) -> str:
        return f"{self.place}.{key}" if self.place else key

    def has(self, key: str) -> bool:
        return self._given.get(key) is not None

    def text(
        self, key: str, default: str | None, pattern: re.Pattern[str] | None = None, *, empty: bool = False
    ) -> str:
        value = self._given.get(key)
        if value is None:
            if default is None:
                raise FleetError(self.at(key), "is missing")
            return default
        if not isinstance(value, str):
            raise self._wrong(key, "a string")
        _refuse_half_characters(value, self.at(key))
        if not value and not empty:
            raise FleetError(self.at(key), "is empty")
        if pattern is not None and not pattern.fullmatch(value):
            raise FleetError(self.at(key), f"is {value!r}, which does not match {pattern.pattern}")
        return value

    def choice(self, key: str, default: str, known: tuple[str, ...]) -> str:
        value = self._given.get(key)
        if value is None:
            return default
        if value == {} and "{}" in known:
            return "{}"
        # YAML reads 503 as a number.
        if isinstance(value, bool) or str(value) not in known:
            raise FleetError(self.at(key), f"is {value!r}; it can be {', '.join(known)}")
        return str(value)

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        value = self._given.get(key)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._wrong(key, "a whole number")
        if not low <= value <= high:
            raise FleetError(self.at(key), f"is {value}; it can be {low} to {high}")
        return value

    def port(self, key: str) -> int:
        return self.integer(key, 0, 0, 65535)

    def seconds(self, key: str, default: float, *, least: float = 0.0) -> float:
        value = self._given.get(key)
        if value is None:
            return default
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise self._wrong(key, "a number")
        if not least <= value <= 1e9:
            raise FleetError(self.at(key), f"is {value}; it can be {least:g} to 1e9")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        value = self._given.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false")
        return value

    def strings(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        value = self._given.get(key)
        if value is None:
            return default
        if not isinstance(value, list):
            raise self._wrong(key, "a list of strings")
        for number, item in enumerate(value):
            if not isinstance(item, str):
                raise FleetError(f"{self.at(key)}[{number}]", f"is {_kind(item)}; it must be a string")
            _refuse_half_characters(item, f"{self.at(key)}[{number}]")
        return tuple(value)

    def command(self, key: str) -> tuple[str, ...]:
        """A program with its arguments, or nothing."""
        if isinstance(self._given.get(key), str):
            raise FleetError(
                self.at(key),
                f"is {self._given[key]!r}; it must be a list of a program and its arguments, "
                "such as [sh, -c, '…'] for a shell",
            )
        command = self.strings(key, ())
        if self.has(key) and not any(command[:1]):
            raise FleetError(self.at(key), "has no program")
        if any("\0" in word for word in command):
            raise FleetError(self.at(key), "has a null character")
        return command

    def strings_by_name(self, key: str) -> dict[str, str]:
        value = self._given.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._wrong(key, "a mapping of strings")
        for name, item in value.items():
            if not isinstance(name, str) or not isinstance(item, str):
                # Booleans and numbers are not converted: true could become TRUE or true.
                raise FleetError(f"{self.at(key)}.{name}", f"is {_kind(item)}; it must be a string: put it in quotes")
            _refuse_half_characters(name + item, self.at(key))
        return dict(value)

    def integers_by_name(self, key: str, low: int, high: int) -> dict[str, int]:
        value = self._given.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._wrong(key, "a mapping of whole numbers")
        section = Section(value, self.at(key), tuple(value))
        return {section.name(name): section.integer(name, low, low, high) for name in value}

    def name(self, key: Any) -> str:
        """The key itself, if it is a name."""
        if not isinstance(key, str) or not NAME.fullmatch(key):
            raise FleetError(self.place, f"has the key {key!r}, which does not match {NAME.pattern}")
        return key

    def attributes(self, key: str) -> dict[str, str]:
        attributes = self.strings_by_name(key)
        for name, value in attributes.items():
            pattern, size = custom_metadata.KEY, len(value.encode())
            if not pattern.fullmatch(name):
                raise FleetError(self.at(key), f"has the key {name!r}, which does not match {pattern.pattern}")
            if size > custom_metadata.LARGEST_VALUE:
                raise FleetError(
                    f"{self.at(key)}.{name}", f"has {size} bytes; the limit is {custom_metadata.LARGEST_VALUE}"
                )
        return attributes

    def attributes_by_name(self, key: str) -> dict[str, dict[str, str]]:
        """A mapping of attributes for each zone."""
        zones = self._given.get(key)
        if zones is None:
            return {}
        if not isinstance(zones, dict):
            raise self._wrong(key, "a mapping")
        for zone in zones:
            if not isinstance(zone, str) or not NAME.fullmatch(zone):
                raise FleetError(self.at(key), f"has {zone!r}, which is not a zone's name")
        return {zone: Section(zones, self.at(key), tuple(zones)).attributes(zone) for zone in zones}

    def section(self, key: str, known: tuple[str, ...]) -> Section:
        value = self._given.get(key)
        return Section({} if value is None else value, self.at(key), known)

    def sections(self, key: str, known: tuple[str, ...]) -> list[Section]:
        value = self._given.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._wrong(key, "a list")
        return [Section(item, f"{self.at(key)}[{number}]", known) for number, item in enumerate(value)]

    def _wrong(self, key: str, wanted: str) -> FleetError:
        return FleetError(self.at(key), f"is {_kind(self._given[key])}; it must be {wanted}")


def field_names(kind: type[Any]) -> tuple[str, ...]:
    """The fields of a dataclass: the keys of its mapping in the file."""
    return tuple(field.name for field in dataclasses.fields(kind))


def refuse_same_names(place: str, names: Sequence[str]) -> None:
    """Raises FleetError if two entries of a list have the same name."""
    for number, name in enumerate(names):
        first = names.index(name)
        if first != number:
            raise FleetError(f"{place}[{number}].name", f"is {name.rpartition('/')[2]!r}, as in {place}[{first}].name")


def _refuse_half_characters(text: str, place: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise FleetError(place, "has half of a surrogate pair, which is not a character") from None


def _kind(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    return f"{value!r}"

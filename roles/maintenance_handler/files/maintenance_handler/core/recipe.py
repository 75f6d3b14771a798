# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A recipe's definition, and the task that an entry of `recipes` becomes. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Callable

from .._vm.records import dataclass, field
from .._vm.web_url import has_user, is_web_url
from .likeness import did_you_mean
from .tasks import DRAIN, RESTORE

CHECK = "check"
STATE = "state"
VERBS = (CHECK, DRAIN, RESTORE, STATE)

# The variable with the directory of the recipes' records.
RECORDS = "GCE_RECIPE_RECORDS"

# Fields of a task that a recipe sets itself.
_NOT_OVERRIDABLE = ("drain", "restore", "playbook", "restore_playbook", "check")


# More than any number of seconds, and less than what cannot be converted between int and float.
_TOO_LARGE = 1e12


def _is_number(value: Any) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _TOO_LARGE


def _is_text(value: Any) -> bool:
    """Whether programs and files can be given this string."""
    try:
        return isinstance(value, str) and value.strip() != "" and b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False


_TYPES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "str": ("a string that is not empty", _is_text),
    "int": ("a whole number", lambda value: _is_number(value) and isinstance(value, int)),
    "float": ("a number", _is_number),
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "path": ("an absolute path", lambda value: _is_text(value) and value.startswith("/")),
    "url": ("a URL that begins with http:// or https://", is_web_url),
    "list": (
        "a string, or a list of strings",
        lambda value: isinstance(value, list) and value != [] and all(map(_is_text, value)),
    ),
}


@dataclass(frozen=True)
class Parameter:
    """A parameter of a recipe. `default` is None where there is none."""

    type: str
    description: str
    required: bool = False
    default: Any = None
    choices: tuple[Any, ...] = ()
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True)
class Recipe:
    """The content of a `recipe.json`. `task` has the fields of its task; `named_by` the parameters in its name."""

    name: str
    description: str
    task: Mapping[str, Any]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    named_by: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, name: str, raw: Any) -> Recipe:
        """The definition in a `recipe.json`. Raises ValueError with the reason if it is invalid."""
        try:
            given = raw.get("parameters", {})
            parameters = {
                key: Parameter(**{**one, "choices": tuple(one.get("choices", ()))}) for key, one in given.items()
            }
            recipe = cls(name, raw["description"], dict(raw["task"]), parameters, tuple(raw.get("named_by", ())))
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            raise ValueError(f"is not a recipe: {exc!r}") from None
        for key, parameter in parameters.items():
            if parameter.type not in _TYPES:
                types = ", ".join(_TYPES)
                raise ValueError(f"parameter {key!r} has the type {parameter.type!r}, not one of {types}")
        unknown = [key for key in recipe.named_by if key not in parameters]
        if unknown:
            raise ValueError(f"'named_by' names {unknown[0]!r}, which is not a parameter")
        return recipe

    def values(self, given: Any) -> tuple[dict[str, Any], list[str]]:
        """All parameters of an entry, defaults included, and what is wrong with them."""
        if given is None:
            given = {}
        if not isinstance(given, dict):
            return {}, ["must be an object with the recipe's parameters"]
        problems = []
        for key in given:
            if key not in self.parameters:
                known = ", ".join(sorted(self.parameters)) or "none"
                problems.append(
                    f"parameter {key!r}: is unknown; the recipe has {known}{did_you_mean(key, self.parameters)}"
                )
        values = {}
        for key, parameter in self.parameters.items():
            value = given.get(key)
            if value is None:
                if parameter.required:
                    problems.append(f"parameter {key!r}: is missing ({parameter.description})")
                values[key] = parameter.default
                continue
            if parameter.type == "list" and isinstance(value, str):
                value = [value]
            values[key] = value
            problem = _problem(parameter, value)
            if problem:
                problems.append(f"parameter {key!r}: {problem}")
        return values, problems

    def identity(self, values: Mapping[str, Any]) -> str:
        """The default name of the recipe's task: the recipe's name with the parameters in `named_by`."""
        parts = [values[key] for key in self.named_by if values.get(key) is not None]
        words = [",".join(part) if isinstance(part, list) else str(part) for part in parts]
        return " ".join([self.name, "/".join(words)]).strip()

    def entry(
        self, values: Mapping[str, Any], overrides: Mapping[str, Any], program: Sequence[str], records: str
    ) -> dict[str, Any]:
        """An entry of `tasks` that runs the recipe. `program` runs a verb of it with the parameters."""
        fields = dict(self.task)
        for key, value in overrides.items():
            both = isinstance(value, dict) and isinstance(fields.get(key), dict)
            fields[key] = {**fields[key], **value} if both else value
        text = json.dumps(values, sort_keys=True)
        commands = {verb: [*program, verb, text] for verb in (CHECK, DRAIN, RESTORE)}
        env = fields.get("env") or {}
        env = {RECORDS: records, **env} if isinstance(env, dict) else env
        return {"name": self.identity(values), **_for_its_events(fields, overrides), **commands, "env": env}


def overrides_of(entry: Mapping[str, Any], recipe: str, task_fields: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The fields of a task beside the recipe in an entry of `recipes`, and what is wrong with them."""
    problems = []
    overrides = {}
    known = [name for name in task_fields if name not in _NOT_OVERRIDABLE]
    for key, value in entry.items():
        if key == recipe:
            continue
        if key in _NOT_OVERRIDABLE:
            problems.append(f"field {key!r}: is set by the recipe")
        elif key not in known:
            problems.append(
                f"field {key!r}: is unknown; the fields are {', '.join(sorted(known))}{did_you_mean(key, known)}"
            )
        else:
            overrides[key] = value
    return overrides, problems


def _for_its_events(fields: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The fields, of which those that the recipe gives by event are only for the events that the task is for."""
    on = fields.get("on")
    if not isinstance(on, list):
        return dict(fields)
    kept = {}
    for key, value in fields.items():
        if isinstance(value, dict) and key in ("timeout", "restore_timeout", "lead", "on_failure"):
            own = overrides.get(key)
            value = {
                event: one for event, one in value.items() if event in on or (isinstance(own, dict) and event in own)
            }
            if key == "lead" and not value:
                continue
        kept[key] = value
    return kept


def _problem(parameter: Parameter, value: Any) -> str:
    what, fits = _TYPES[parameter.type]
    # These messages must not contain the value.
    if isinstance(value, str) and has_user(value):
        return "must be a URL without a user and a password: give them in the parameter token_file or auth_file, if any"
    if parameter.type == "url" and not fits(value) and isinstance(value, str) and ("?" in value or "@" in value):
        return f"must be {what}"
    if not fits(value):
        return f"must be {what}, not {_shown(value)}"
    if parameter.choices and value not in parameter.choices:
        return f"must be one of {', '.join(map(str, parameter.choices))}, not {_shown(value)}"
    if parameter.minimum is not None and value < parameter.minimum:
        return f"must be {parameter.minimum:g} or more, not {value:g}"
    if parameter.maximum is not None and value > parameter.maximum:
        return f"must be {parameter.maximum:g} or less, not {value:g}"
    return ""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

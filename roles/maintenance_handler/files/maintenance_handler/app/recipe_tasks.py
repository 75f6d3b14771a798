# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entries of `tasks` made from the entries of `recipes`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.likeness import did_you_mean
from ..core.recipe import RECORDS as RECORDS_VARIABLE
from ..core.recipe import overrides_of
from ..io import recipe_folders

# Below the handler's state.
RECORDS = "recipes"


def recipe_tasks(
    raw: Any, folders: Sequence[Path], state_dir: str, task_fields: Sequence[str]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Entries of `tasks`, one for each valid entry of `recipes`, and a line for each mistake in the others."""
    if not isinstance(raw, list):
        return [], ["field 'recipes': must be a list"]
    known = recipe_folders.names([recipe_folders.OWN, *folders])
    tasks: list[dict[str, Any]] = []
    problems: list[str] = []
    for number, entry in enumerate(raw, start=1):
        found, task = _task(entry, known, f"{state_dir}/{RECORDS}", task_fields)
        if task is not None:
            tasks.append(task)
        where = f"recipe {number}" if task is None else f"recipe {number} ({task['name']})"
        problems += [f"{where}, {problem}" for problem in found]
    return tasks, problems


def _task(
    entry: Any, known: Mapping[str, Path], records: str, task_fields: Sequence[str]
) -> tuple[list[str], dict[str, Any] | None]:
    if not isinstance(entry, dict):
        return ["must be an object with the recipe's name, such as systemd_unit, and its parameters"], None
    names = [key for key in entry if key not in task_fields]
    if len(names) != 1:
        what = "names no recipe" if not names else f"names more than one recipe: {', '.join(map(repr, names))}"
        return [f"{what}; fields of a task stand beside it: {', '.join(sorted(task_fields))}"], None
    [name] = names
    if name not in known:
        return [f"{name!r} is not a recipe; there are {', '.join(sorted(known))}{did_you_mean(name, known)}"], None
    try:
        recipe = recipe_folders.read(known[name])
    except ValueError as exc:
        return [str(exc)], None
    values, problems = recipe.values(entry[name])
    overrides, more = overrides_of(entry, name, task_fields)
    problems = [f"{name}, {problem}" for problem in [*problems, *more, *_record_problems(overrides)]]
    if problems:
        return problems, None
    return [], recipe.entry(values, overrides, recipe_folders.program(known[name]), records)


def _record_problems(overrides: Mapping[str, Any]) -> list[str]:
    """Why the task's user could not write a record of the recipe's changes."""
    user, env = overrides.get("user"), overrides.get("env")
    # The handler's state is for its own user.
    if user in (None, "root") or (isinstance(env, dict) and RECORDS_VARIABLE in env):
        return []
    return [f"field 'env': needs {RECORDS_VARIABLE}, a directory for the recipe's record that {user!r} can write to"]

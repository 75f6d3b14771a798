# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the reference of each recipe in the guide, from its recipe.json and its README.md, between two marks."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
RECIPES = CHECKOUT / "roles/maintenance_handler/files/recipes"
GUIDE = CHECKOUT / "docs/docsite/rst/guide_recipes.rst"
BEGIN = ".. What follows is written by tools/recipes_guide.py.\n"
END = ".. Here ends what is written by tools/recipes_guide.py.\n"


def main() -> int:
    GUIDE.write_text(renewed(GUIDE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


def renewed(guide: str) -> str:
    """The guide's text with the current reference of the recipes."""
    before, _begin, rest = guide.partition(BEGIN)
    _old, _end, after = rest.partition(END)
    return f"{before}{BEGIN}\n{written()}\n{END}{after}"


def written() -> str:
    """A table of all recipes, and a section for each."""
    folders = sorted(path.parent for path in RECIPES.glob("*/recipe.json"))
    rows = []
    for folder in folders:
        recipe = _recipe(folder)
        rows.append([f":ref:`{folder.name} <{_label(folder.name)}>`", recipe["description"], _events(recipe)])
    lines = [*_table(["Recipe", "What it does", "Before"], rows)]
    for folder in folders:
        lines += ["", *_section(folder)]
    return "\n".join(lines) + "\n"


def _section(folder: Path) -> Iterator[str]:
    recipe = _recipe(folder)
    title, *body = (folder / "README.md").read_text(encoding="utf-8").rstrip().splitlines()
    name = title.removeprefix("## ")
    yield from (f".. _{_label(name)}:", "", name, "~" * len(name), "")
    facts = [line for line in body if line.startswith("|") and not re.fullmatch(r"[| -]+", line)]
    first = next((index for index, line in enumerate(body) if line.startswith("|")), len(body))
    yield from (_inline(line) for line in body[:first] if line)
    yield ""
    cells = [[_inline(cell.strip()) for cell in line.strip("|").split("|", 1)] for line in facts]
    yield from _table([], [*cells, ["time", _times(recipe)]])
    parameters = recipe.get("parameters", {})
    if parameters:
        yield ""
        header = ["Parameter", "Type", "Default", ""]
        yield from _table(header, [_parameter(key, one) for key, one in parameters.items()])
    yield ""
    yield from (_inline(line) for line in body[first:] if not line.startswith("|"))


def _parameter(name: str, parameter: dict[str, Any]) -> list[str]:
    default = parameter.get("default")
    text = "required" if parameter.get("required") else "" if default is None else f"``{_shown(default)}``"
    choices = f" One of {', '.join(f'``{one}``' for one in parameter['choices'])}." if parameter.get("choices") else ""
    # Sphinx would make a link of it.
    description = parameter["description"].replace("tcp:HOST:PORT", "``tcp:HOST:PORT``")
    return [f"``{name}``", parameter["type"], text, f"{description[0].upper()}{description[1:]}.{choices}"]


def _times(recipe: dict[str, Any]) -> str:
    task = recipe["task"]
    on = [*task["on"], *(event for event in ("migrate", "window") if event not in task["on"])]
    drains = ", ".join(f"``{event}`` {task['timeout'][event]:g} s" for event in on if event in task["timeout"])
    leads = " and ".join(f"``{event}`` {seconds:g} s" for event, seconds in task["lead"].items())
    return f"timeout {drains}, restore {task['restore_timeout']:g} s; lead {leads}; stage {task['stage']}"


def _events(recipe: dict[str, Any]) -> str:
    return ", ".join(f"``{event}``" for event in recipe["task"]["on"])


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _table(header: list[str], rows: list[list[str]]) -> Iterator[str]:
    yield ".. list-table::"
    if header:
        yield "   :header-rows: 1"
    yield ""
    for row in [header, *rows] if header else rows:
        for index, cell in enumerate(row):
            yield f"   {'*' if index == 0 else ' '} -{f' {cell}' if cell else ''}"


def _inline(line: str) -> str:
    line = re.sub(r"`([^`]+)`", r"``\1``", line)
    return re.sub(r"\[([^\]]+)\]\((https?://[^)]+)\)", r"`\1 <\2>`__", line)


def _label(name: str) -> str:
    return f"ansible_collections.gce.guest.docsite.guide_recipes.{name}"


def _recipe(folder: Path) -> dict[str, Any]:
    recipe: dict[str, Any] = json.loads((folder / "recipe.json").read_bytes())
    return recipe


if __name__ == "__main__":
    sys.exit(main())

# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folders of recipes: one for each, below the handler's own folder or one of the configuration."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

from ..core.recipe import Recipe

# Beside the handler's package. `python3 -I` takes it for a program, which runs a recipe's.
OWN = Path(__file__).resolve().parents[2] / "recipes"
DEFINITION = "recipe.json"


def names(folders: Iterable[Path]) -> dict[str, Path]:
    """The folder of each recipe, by its name. Earlier folders take precedence."""
    found: dict[str, Path] = {}
    for folder in folders:
        for definition in sorted(folder.glob(f"*/{DEFINITION}")):
            found.setdefault(definition.parent.name, definition.parent)
    return found


def read(folder: Path) -> Recipe:
    """The recipe in a folder. Raises ValueError with the file and its problem as text."""
    path = folder / DEFINITION
    try:
        return Recipe.from_dict(folder.name, json.loads(path.read_bytes()))
    except OSError as exc:
        raise ValueError(f"{path}: cannot be read: {exc.strerror}") from None
    except ValueError as exc:
        raise ValueError(f"{path}: {exc}") from None


def program(folder: Path) -> tuple[str, ...]:
    """The command that runs a recipe's program, without its verb and its parameters."""
    return (sys.executable, "-I", "-X", "utf8", str(OWN), str(folder))

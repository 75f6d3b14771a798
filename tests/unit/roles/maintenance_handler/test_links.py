# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The handler's packages: those that the role copies, and the links to the library of the collection."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import maintenance_handler

PACKAGE = Path(maintenance_handler.__file__).parent
LINKED = [path for path in PACKAGE.glob("_*/*.py") if path.is_symlink()]


def test_links_exist() -> None:
    assert {path.parent.name for path in LINKED} == {"_metadata", "_vm"}


def test_the_role_copies_all_packages() -> None:
    files = PACKAGE.parent
    variables = yaml.safe_load((files.parent / "vars" / "main.yml").read_text(encoding="utf-8"))
    packages = {str(path.parent.relative_to(files)) for path in files.rglob("*.py")} - {".", "host"}

    assert sorted(packages) == variables["__maintenance_handler_folders"]


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*/*.py")), ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_imported_modules_are_linked(path: Path) -> None:
    assert [wanted for wanted in imported(path) if not (wanted.with_suffix(".py").exists() or wanted.is_dir())] == []


def imported(path: Path) -> Iterator[Path]:
    """The modules of the package that a file imports, also in functions, as paths without suffix."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            folder = path.parents[node.level - 1]
            if node.module:
                yield folder.joinpath(*node.module.split("."))
            elif folder != PACKAGE:
                yield from (folder / name.name for name in node.names)

# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The imports that docs/ARCHITECTURE.md allows, and no others; the paths and functions that it names exist.

And no function has too many parameters.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
COLLECTION = "ansible_collections.gce.guest."

# For each wing, the wings that it may import besides itself. The longest name that fits a module is its wing.
ALLOWED = {
    "plugins.module_utils._metadata": set[str](),
    "plugins.module_utils._vm": {"plugins.module_utils._metadata"},
    "plugins.module_utils._compute": {"plugins.module_utils._metadata", "plugins.module_utils._vm"},
    "plugins.module_utils._module": {"plugins.module_utils"},
    "plugins.plugin_utils": {"plugins.module_utils"},
    "plugins.modules": {"plugins.module_utils"},
    "plugins.action": {"plugins.module_utils", "plugins.plugin_utils"},
    "plugins.filter": {"plugins.module_utils", "plugins.plugin_utils"},
    "plugins.lookup": {"plugins.module_utils", "plugins.plugin_utils"},
    "plugins.doc_fragments": set[str](),
    # Runs in ansible-rulebook, where ansible-core may be missing: neither _module's modules nor other plugin_utils.
    "plugins.plugin_utils._event_source": {
        "plugins.module_utils._compute",
        "plugins.module_utils._metadata",
        "plugins.module_utils._module.numbers",
        "plugins.module_utils._vm",
    },
    "extensions.eda.plugins.event_source": {"plugins.plugin_utils._event_source"},
    "maintenance_handler._metadata": set[str](),
    "maintenance_handler._vm": {"maintenance_handler._metadata"},
    "maintenance_handler.core": {"maintenance_handler._metadata", "maintenance_handler._vm"},
    "maintenance_handler.io": {"maintenance_handler._metadata", "maintenance_handler._vm", "maintenance_handler.core"},
    "maintenance_handler": {"maintenance_handler"},
    "client": set[str](),
    "fleet_limit": {"client", "maintenance_handler._vm"},
    "notifier": {"client", "maintenance_handler._vm", "maintenance_handler.core", "maintenance_handler.io"},
    "recipes": {"client", "maintenance_handler._vm", "maintenance_handler.core", "maintenance_handler.io"},
    "gce_emulator.state": set[str](),
    "gce_emulator.web": set[str](),
    "gce_emulator.metadata": {"gce_emulator.state", "gce_emulator.web"},
    "gce_emulator.scenarios": {"gce_emulator.state"},
    "gce_emulator.compute": {"gce_emulator.scenarios", "gce_emulator.state", "gce_emulator.web"},
    "gce_emulator.control": {"gce_emulator.scenarios", "gce_emulator.state", "gce_emulator.web"},
    "gce_emulator": {"gce_emulator"},
}

# Third-party packages, by the wings that may import them.
PACKAGES = {
    "aiohttp": {"gce_emulator", "plugins.plugin_utils._event_source"},
    "ansible": {
        "plugins.action",
        "plugins.filter",
        "plugins.lookup",
        "plugins.module_utils._module",
        "plugins.modules",
        "plugins.plugin_utils",
    },
    "google": {"plugins.module_utils._compute"},
    "jmespath": {"maintenance_handler", "plugins.module_utils._metadata"},
    "multidict": {"gce_emulator"},
    "requests": {"plugins.module_utils._compute"},
    "yaml": {"gce_emulator"},
}

ROOTS = {
    "plugins": CHECKOUT / "plugins",
    "extensions": CHECKOUT / "extensions",
    "maintenance_handler": CHECKOUT / "roles/maintenance_handler/files/maintenance_handler",
    "client": CHECKOUT / "roles/maintenance_handler/files/client",
    "fleet_limit": CHECKOUT / "roles/maintenance_handler/files/fleet_limit",
    "notifier": CHECKOUT / "roles/maintenance_handler/files/notifier",
    "recipes": CHECKOUT / "roles/maintenance_handler/files/recipes",
    "gce_emulator": CHECKOUT / "roles/metadata_emulator/files/gce_emulator",
}


def _modules() -> Iterator[tuple[str, Path]]:
    for name, root in ROOTS.items():
        # molecule has programs for VMs, which belong to no package.
        for path in sorted(each for each in root.rglob("*.py") if "molecule" not in each.parts):
            parts = path.relative_to(root).with_suffix("").parts
            yield ".".join((name, *parts)), path


def _imports(module: str, path: Path) -> Iterator[str]:
    package = module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            # `from . import name` may name a module.
            yield from (f"{source}.{alias.name}" for alias in node.names)


def _wing(name: str) -> str | None:
    fitting = [wing for wing in ALLOWED if name == wing or name.startswith(f"{wing}.")]
    return max(fitting, key=len, default=None)


def _is_within(name: str, wings: set[str]) -> bool:
    return any(name == wing or name.startswith(f"{wing}.") for wing in wings)


@pytest.mark.parametrize("module, path", [pytest.param(*each, id=each[0]) for each in _modules()])
def test_modules_import_only_allowed_wings(module: str, path: Path) -> None:
    wing = _wing(module)
    assert wing is not None, f"{module} is in no wing: put it into one, or add the wing here and to ARCHITECTURE.md"
    for name in _imports(module, path):
        name = name.removeprefix(COLLECTION)
        top = name.split(".")[0]
        if top in ROOTS:
            assert _is_within(name, ALLOWED[wing] | {wing}), f"{module} must not import {name}"
        elif top in PACKAGES:
            assert _is_within(module, PACKAGES[top]), f"{module} must not import {name}"
            assert (top, wing) != ("ansible", "plugins.plugin_utils._event_source"), f"{module} must not import {name}"
        else:
            assert top in sys.stdlib_module_names, f"{module} imports {top}, which no wing may"


MOST_PARAMETERS = 6


@pytest.mark.parametrize("module, path", [pytest.param(*each, id=each[0]) for each in _modules()])
def test_functions_have_few_parameters(module: str, path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            given = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            given = [name for name in given if name not in ("self", "cls")]
            assert len(given) <= MOST_PARAMETERS, (
                f"{module}: {node.name} has {len(given)} parameters: split it, or give it an object like "
                "_vm/metadata_server.py's Limits"
            )


# Directories that the paths in ARCHITECTURE.md are relative to.
BASES = [
    CHECKOUT,
    CHECKOUT / "plugins",
    CHECKOUT / "plugins" / "module_utils",
    ROOTS["maintenance_handler"],
    ROOTS["maintenance_handler"].parent,
    ROOTS["gce_emulator"].parent,
]
PAGE = (CHECKOUT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
# A row of the table "Where is": a file and the function in it.
ANSWER = re.compile(r"^\| .* \| `(?P<path>[\w/]+\.py)`, `(?P<function>\w+)`.*\|$", re.MULTILINE)


def _located(path: str) -> Path:
    found = [base / path for base in BASES if (base / path).exists()]
    assert found, f"ARCHITECTURE.md names {path}, which does not exist"
    return found[0]


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(\w+/[\w./]+)`", PAGE))))
def test_paths_in_the_document_exist(path: str) -> None:
    if "NAME" not in path:
        _located(path)


def test_named_functions_exist() -> None:
    table = PAGE.partition("## Where is")[2]
    answers = list(ANSWER.finditer(table))
    # Except for the table's heading and its separator, every row is an answer.
    assert len(answers) == table.count("\n| ") - 1
    for answer in answers:
        tree = ast.parse(_located(answer["path"]).read_text(encoding="utf-8"))
        functions = {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
        assert answer["function"] in functions, f"{answer['path']} has no function {answer['function']}"

# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that every variable of a role has a default and an argument spec, and that they agree.

Ansible does not compare defaults/main.yml with meta/argument_specs.yml.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).resolve().parents[1] / "roles"


def main() -> int:
    problems = [problem for role in sorted(ROLES.glob("*/")) for problem in check(role)]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def check(role: Path) -> list[str]:
    """Given the directory of a role, return a line for each problem of its variables."""
    defaults = load(role / "defaults" / "main.yml")
    entry_points = load(role / "meta" / "argument_specs.yml").get("argument_specs", {})
    options: dict[str, Any] = {}
    problems = []
    for entry_point, spec in entry_points.items():
        for name, option in spec.get("options", {}).items():
            options.setdefault(name, option)
            if not name.startswith(f"{role.name}_"):
                problems.append(f"{role.name}: {name} ({entry_point}) does not start with {role.name}_.")
            if "default" in option and option["default"] != defaults.get(name):
                problems.append(
                    f"{role.name}: {name} ({entry_point}) defaults to {option['default']!r} in its specification"
                    f" and to {defaults.get(name)!r} in defaults/main.yml."
                )
    problems += [
        f"{role.name}: {name} has a default and no specification." for name in sorted(defaults.keys() - options)
    ]
    problems += [
        f"{role.name}: {name} has a specification, is not required, and has no default."
        for name in sorted(options.keys() - defaults)
        if not options[name].get("required")
    ]
    return problems


def load(path: Path) -> dict[str, Any]:
    """Given a YAML file, return its mapping; empty if the file does not exist."""
    if not path.exists():
        return {}
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return content


if __name__ == "__main__":
    sys.exit(main())

# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference of the playbooks matches their variables."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.gce.guest.plugins.plugin_utils._progress import DEFAULT_PAUSE

from support.playbook import CHECKOUT

PLAYBOOKS = sorted(path.stem for path in (CHECKOUT / "playbooks").glob("*.yml"))
TYPES = {"string", "list", "boolean", "integer", "number"}

# Read by action plugins, with their defaults.
OF_PLUGINS = {"rolling_maintenance": {"gce_progress": DEFAULT_PAUSE}}
# Facts of action plugins.
FACTS = {"gce_rolling_turn"}

_VARIABLE = re.compile(r"\bgce_[a-z_]+\b")
# Also of a variable of localhost: hostvars['localhost']['gce_serial'] | default(1).
_DEFAULT = re.compile(r"\b(gce_[a-z_]+)(?:'\])? \| default\(((?:[^()\[\]]|\[[^\]]*\])*?)(?:, true)?\)")


def files(playbook: str) -> list[Path]:
    """A playbook and the files with tasks that it includes."""
    found = [CHECKOUT / "playbooks" / f"{playbook}.yml"]
    for path in found:
        for name in re.findall(r"_tasks: (?:tasks/)?(\w+\.yml)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE):
            included = CHECKOUT / "playbooks" / "tasks" / name
            found += [] if included in found else [included]
    return found


def source(playbook: str) -> str:
    """A playbook with its tasks and templates, without comments."""
    text = "".join(
        re.sub(r"^\s*#.*$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE) for path in files(playbook)
    )
    templates = [CHECKOUT / "playbooks" / "templates" / name for name in re.findall(r"src: (\S+\.j2)", text)]
    return text + "".join(
        re.sub(r"{#.*?#}", "", template.read_text(encoding="utf-8"), flags=re.DOTALL) for template in templates
    )


def defined(node: Any) -> Iterator[str]:
    """Variables that a playbook sets itself."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("vars", "ansible.builtin.set_fact"):
                yield from value
            if key == "register":
                yield value
            yield from defined(value)
    elif isinstance(node, list):
        for value in node:
            yield from defined(value)


def taken(playbook: str) -> set[str]:
    """Variables that users can set."""
    documents = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in files(playbook)]
    named = set(_VARIABLE.findall(source(playbook))) - set(defined(documents)) - FACTS
    return named | OF_PLUGINS.get(playbook, {}).keys()


def defaults(playbook: str) -> dict[str, Any]:
    """Defaults with a value in the playbook."""
    values: dict[str, Any] = dict(OF_PLUGINS.get(playbook, {}))
    for name, text in _DEFAULT.findall(source(playbook)):
        try:
            value = ast.literal_eval({"true": "True", "false": "False"}.get(text, text))
        except (ValueError, SyntaxError):
            continue
        if name in taken(playbook) and value not in ("", []):
            values[name] = value
    return values


def reference() -> dict[str, dict[str, list[str]]]:
    """For each playbook, the rows of its table by variable: type, default, description."""
    text = (CHECKOUT / "docs" / "docsite" / "rst" / "playbooks.rst").read_text(encoding="utf-8")
    sections = re.split(r"^gce\.guest\.(\w+)\n-+$", text, flags=re.MULTILINE)[1:]
    tables: dict[str, dict[str, list[str]]] = {}
    for name, section in zip(sections[::2], sections[1::2], strict=True):
        rows = re.findall(r"^   \* - (.*)\n     - (.*)\n     - (.*)\n     - (.*)$", section, flags=re.MULTILINE)
        tables[name] = {row[0].strip("`"): list(row[1:]) for row in rows if row[0] != "Variable"}
    return tables


def test_lists_all_playbooks() -> None:
    assert sorted(reference()) == PLAYBOOKS
    assert len(PLAYBOOKS) >= 5


@pytest.mark.parametrize("playbook", PLAYBOOKS)
class TestPlaybook:
    def test_lists_all_variables(self, playbook: str) -> None:
        assert set(reference()[playbook]) == taken(playbook)

    def test_types(self, playbook: str) -> None:
        types = {kind for row in reference()[playbook].values() for kind in re.split(", | or ", row[0])}
        assert types <= TYPES

    def test_defaults(self, playbook: str) -> None:
        literals = {
            name: yaml.safe_load(row[1].strip("`"))
            for name, row in reference()[playbook].items()
            if re.fullmatch(r"``[^`]+``", row[1])
        }
        assert literals == defaults(playbook)

    def test_descriptions_are_sentences(self, playbook: str) -> None:
        assert all(row[2].endswith(".") for row in reference()[playbook].values())

    def test_matches_the_comment_of_the_playbook(self, playbook: str) -> None:
        text = (CHECKOUT / "playbooks" / f"{playbook}.yml").read_text(encoding="utf-8")
        assert set(re.findall(r"^# (gce_\w+) ", text, flags=re.MULTILINE)) == taken(playbook)

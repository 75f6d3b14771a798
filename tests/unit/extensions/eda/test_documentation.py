# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of event sources says what they accept, and its examples are accepted."""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.gce.guest.plugins.module_utils._compute.options import ApiOption
from ansible_collections.gce.guest.plugins.plugin_utils._event_source.options import host_namer, read_options

from support.event_source import FOLDER
from support.guides import blocks

SOURCES = ("fleet", "guest", "handler")


def known_options(source: str) -> Mapping[str, ApiOption]:
    module = import_module(f"ansible_collections.gce.guest.plugins.plugin_utils._event_source.{source}_source")
    options: Mapping[str, ApiOption] = module.OPTIONS
    return options


def sources_of(rulebook: str) -> list[tuple[str, dict[str, Any]]]:
    """The sources of the collection in a rulebook, each with its arguments."""
    found = [entry for ruleset in yaml.safe_load(rulebook) for entry in ruleset["sources"]]
    return [
        (name.removeprefix("gce.guest."), args)
        for entry in found
        for name, args in entry.items()
        if name.startswith("gce.guest.")
    ]


@pytest.mark.parametrize("source", SOURCES)
def test_the_options_of_a_source_are_those_of_its_documentation(collections_path: Path, source: str) -> None:
    documentation = runpy.run_path(str(collections_path / FOLDER / f"{source}.py"))["DOCUMENTATION"]
    documented = yaml.safe_load(documentation)["options"]
    known = known_options(source)

    assert documented.keys() == known.keys()
    for name, option in known.items():
        entry = documented[name]
        default = list(option.default) if isinstance(option.default, tuple) else option.default
        assert entry["type"] == {"jsonarg": "raw"}.get(option.type, option.type), name
        assert entry.get("default") == default, name
        assert tuple(entry.get("choices", ())) == tuple(option.choices or ()), name


@pytest.mark.parametrize("source", SOURCES)
def test_the_source_accepts_its_example(collections_path: Path, source: str) -> None:
    [(name, args)] = sources_of(runpy.run_path(str(collections_path / FOLDER / f"{source}.py"))["EXAMPLES"])
    options = read_options(args, known_options(source))

    assert name == source
    assert {option: options[option] for option in args} == args
    host_namer(options["host_pattern"], limit=options["limit"])


def test_sources_accept_the_rulebooks_of_the_guide() -> None:
    rulebooks = [block for block in blocks() if block.is_yaml and "  sources:" in block.text]

    assert rulebooks
    for block in rulebooks:
        for name, args in sources_of(block.text):
            assert read_options(args, known_options(name))

# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Argument specifications, and the library's errors as failures of a module."""

from __future__ import annotations

import platform
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.module_utils._module import argument_spec
from ansible_collections.gce.guest.plugins.module_utils._module.api import PartialFailure
from ansible_collections.gce.guest.plugins.module_utils._vm.guest_attributes import InvalidName
from ansible_collections.gce.guest.plugins.module_utils._vm.metadata_server import MetadataError, MetadataNotFound

from support.modules import Result, run_module


def run(main: Any, parameters: dict[str, Any]) -> Result:
    return run_module(SimpleNamespace(main=main), parameters)  # type: ignore[arg-type]


class TestArgumentSpec:
    @pytest.mark.parametrize(
        "parameters, said",
        [
            ({"a": "1", "b": "1"}, "mutually exclusive"),
            ({}, "one of the following is required: a, b"),
            ({"a": "1", "c": "1"}, "required together"),
            ({"b": "1"}, "missing parameter(s) required by 'b': e"),
            ({"a": "x"}, "a is x but all of the following are missing: e"),
        ],
        ids=str,
    )
    def test_conditions_are_added_with_their_options(self, parameters: dict[str, Any], said: str) -> None:
        borrowed = argument_spec.ArgumentSpec(
            {name: {"type": "str"} for name in "abcde"},
            mutually_exclusive=[("a", "b")],
            required_together=[("c", "d")],
            required_if=[("a", "x", ["e"])],
            required_by={"b": ["e"]},
        )

        def main() -> None:
            spec = argument_spec.ArgumentSpec({"own": {"type": "str"}}, required_one_of=[("a", "b")])
            spec.update(borrowed.options, required_by=borrowed.required_by, **borrowed.conditions)
            module = spec.create_module()
            module.exit_json(params=module.params)

        result = run(main, parameters)
        assert result.failed
        assert said in result["msg"]
        assert not run(main, {"a": "1", "own": "1"}).failed

    def test_too_old_python_is_rejected(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def main() -> None:
            argument_spec.ArgumentSpec().create_module().exit_json()

        assert not run(main, {}).failed
        monkeypatch.setattr(argument_spec, "LEAST_PYTHON", (99, 1))
        result = run(main, {})
        assert result.failed
        assert "needs Python 99.1 or newer" in result["msg"]
        assert f"{sys.executable} is Python {platform.python_version()}." in result["msg"]


class TestFailing:
    @pytest.mark.parametrize("error", [MetadataNotFound("Nothing there."), InvalidName("That is no name.")], ids=repr)
    def test_errors_of_the_library_are_failures(self, error: Exception) -> None:
        def main() -> None:
            module = argument_spec.ArgumentSpec().create_module()
            with argument_spec.failing(module, MetadataError, InvalidName):
                raise error

        result = run(main, {})
        assert result.failed
        assert result["msg"] == str(error)

    def test_error_with_a_result_returns_it(self) -> None:
        def main() -> None:
            module = argument_spec.ArgumentSpec().create_module()
            with argument_spec.failing(module, PartialFailure):
                raise PartialFailure("One of two failed.", {"instances": ["a"]})

        result = run(main, {})
        assert (result.failed, result["msg"], result["instances"]) == (True, "One of two failed.", ["a"])

    def test_bugs_are_not_hidden(self) -> None:
        def main() -> None:
            module = argument_spec.ArgumentSpec().create_module()
            with argument_spec.failing(module, MetadataError):
                raise KeyError("a bug")

        with pytest.raises(KeyError):
            run(main, {})

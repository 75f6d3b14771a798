# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules have in common."""

from __future__ import annotations

import platform
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible_collections.gce.guest.plugins.doc_fragments._guest import ModuleDocFragment
from ansible_collections.gce.guest.plugins.module_utils._module import guest as _module
from ansible_collections.gce.guest.plugins.module_utils._vm.guest_attributes import InvalidName
from ansible_collections.gce.guest.plugins.module_utils._vm.metadata_server import MetadataNotFound, MetadataServer

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
    def test_conditions_travel_with_their_options(self, parameters: dict[str, Any], said: str) -> None:
        borrowed = _module.ArgumentSpec(
            {name: {"type": "str"} for name in "abcde"},
            mutually_exclusive=[("a", "b")],
            required_together=[("c", "d")],
            required_if=[("a", "x", ["e"])],
            required_by={"b": ["e"]},
        )

        def main() -> None:
            spec = _module.ArgumentSpec({"own": {"type": "str"}}, required_one_of=[("a", "b")])
            spec.update(borrowed.options, required_by=borrowed.required_by, **borrowed.conditions)
            module = spec.create_module()
            module.exit_json(params=module.params)

        result = run(main, parameters)
        assert result.failed
        assert said in result["msg"]
        assert not run(main, {"a": "1", "own": "1"}).failed

    def test_a_python_that_is_too_old_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def main() -> None:
            _module.ArgumentSpec().create_module().exit_json()

        assert not run(main, {}).failed
        monkeypatch.setattr(_module, "LEAST_PYTHON", (99, 1))
        result = run(main, {})
        assert result.failed
        assert "needs Python 99.1 or newer" in result["msg"]
        assert f"{sys.executable} is Python {platform.python_version()}." in result["msg"]


class TestFailing:
    @pytest.mark.parametrize("error", [MetadataNotFound("Nothing there."), InvalidName("That is no name.")], ids=repr)
    def test_the_librarys_errors_are_failures(self, error: Exception) -> None:
        def main() -> None:
            module = _module.ArgumentSpec().create_module()
            with _module.failing(module, InvalidName):
                raise error

        result = run(main, {})
        assert result.failed
        assert result["msg"] == str(error)

    def test_defects_are_not_hidden(self) -> None:
        def main() -> None:
            module = _module.ArgumentSpec().create_module()
            with _module.failing(module):
                raise KeyError("a defect")

        with pytest.raises(KeyError):
            run(main, {})


class TestMetadataServer:
    @pytest.mark.parametrize("host", [None, "metadata.example.com:8080"])
    def test_is_made_of_the_parameters(self, host: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GCE_METADATA_HOST", "from.the.environment")
        servers: list[MetadataServer] = []

        def main() -> None:
            module = _module.ArgumentSpec(_module.GUEST_ARGSPEC).create_module()
            servers.append(_module.metadata_server(module))
            module.exit_json()

        run(main, {} if host is None else {"metadata_host": host})
        assert servers[0].host == (host or "from.the.environment")


@pytest.mark.parametrize(
    "fragment, options",
    [("DOCUMENTATION", _module.GUEST_ARGSPEC), ("SECRETS", _module.SECRETS_ARGSPEC)],
)
def test_the_fragments_document_the_options(fragment: str, options: dict[str, Any]) -> None:
    documented = yaml.safe_load(getattr(ModuleDocFragment, fragment))["options"]
    assert {name: (entry["type"], entry.get("default")) for name, entry in documented.items()} == {
        name: (entry["type"], entry.get("default")) for name, entry in options.items()
    }

# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client of the modules that run in a VM, and their documented options."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible_collections.gce.guest.plugins.doc_fragments._guest import ModuleDocFragment
from ansible_collections.gce.guest.plugins.module_utils._module.argument_spec import SECRETS_ARGSPEC, ArgumentSpec
from ansible_collections.gce.guest.plugins.module_utils._module.guest import GUEST_ARGSPEC, metadata_server
from ansible_collections.gce.guest.plugins.module_utils._vm.metadata_server import MetadataServer

from support.modules import run_module


class TestMetadataServer:
    @pytest.mark.parametrize("host", [None, "metadata.example.com:8080"])
    def test_is_made_of_the_parameters(self, host: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GCE_METADATA_HOST", "from.the.environment")
        servers: list[MetadataServer] = []

        def main() -> None:
            module = ArgumentSpec(GUEST_ARGSPEC).create_module()
            servers.append(metadata_server(module))
            module.exit_json()

        run_module(
            SimpleNamespace(main=main),  # type: ignore[arg-type]
            {} if host is None else {"metadata_host": host},
        )
        assert servers[0].host == (host or "from.the.environment")


@pytest.mark.parametrize(
    "fragment, options",
    [("DOCUMENTATION", GUEST_ARGSPEC), ("SECRETS", SECRETS_ARGSPEC)],
)
def test_the_fragments_document_the_options(fragment: str, options: dict[str, Any]) -> None:
    documented = yaml.safe_load(getattr(ModuleDocFragment, fragment))["options"]
    assert {name: (entry["type"], entry.get("default")) for name, entry in documented.items()} == {
        name: (entry["type"], entry.get("default")) for name, entry in options.items()
    }

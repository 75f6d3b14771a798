# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running a module's main() in the test's process, as Ansible would: parameters in, JSON out."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from types import ModuleType
from typing import Any
from unittest.mock import patch

from ansible.module_utils import basic
from ansible.module_utils.common.parameters import PASS_VARS

try:
    from ansible.module_utils import _internal
except ImportError:
    # Before ansible-core 2.18, there is nothing to patch.
    _internal = ModuleType("_internal")


class Result(dict[str, Any]):
    """The result of a module. `printed` is its whole output, to check that it has no secrets."""

    def __init__(self, printed: str) -> None:
        super().__init__(json.loads(printed))
        # Not from the module: it repeats the parameters.
        self.pop("invocation", None)
        self.printed = printed

    @property
    def failed(self) -> bool:
        return bool(self.get("failed", False))


def run_module(
    module: ModuleType, parameters: dict[str, Any], *, check: bool = False, diff: bool = False, no_log: bool = False
) -> Result:
    """Run a module with these parameters, in check or diff mode, or for a task that sets no_log."""
    internal = {"_ansible_check_mode": check, "_ansible_diff": diff, "_ansible_no_log": no_log}
    # ansible-core 2.21 and newer leave the invocation out by default.
    if "inject_invocation" in PASS_VARS:
        internal["_ansible_inject_invocation"] = True
    output = io.StringIO()
    with _arguments({**parameters, **internal}), contextlib.redirect_stdout(output):
        try:
            module.main()
        except SystemExit:
            pass
        else:
            raise AssertionError("the module ended without a result")
    return Result(output.getvalue())


@contextlib.contextmanager
def _arguments(arguments: dict[str, Any]) -> Iterator[None]:
    """Like ansible.module_utils.testing.patch_module_args, which ansible-core has since 2.19."""
    text = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode()
    with (
        patch.object(basic, "_ANSIBLE_ARGS", text),
        patch.object(basic, "_ANSIBLE_PROFILE", "legacy", create=True),
        # In a process that has imported plugins of the controller, warnings are displayed instead of returned.
        patch.object(_internal, "is_controller", False, create=True),
    ):
        yield

# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin of modules: reports a Python that is too old for the module, instead of the module's traceback.

Private to the collection: it may change at any time.

ansible-core 2.16 runs modules on Python 3.6, such as the platform-python of RHEL 8, which cannot even compile them.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from ansible.plugins.action.normal import ActionModule as NormalAction
from ansible_collections.gce.guest.plugins.module_utils._module.argument_spec import LEAST_PYTHON, old_python

# Messages of old Pythons for newer code. Since ansible-core 2.19, an exception while a module is imported is a result.
_COMPLAINTS = (
    "is not subscriptable",
    "invalid syntax",
    "cannot import name",
    "has no attribute",
    "unsupported operand",
)
_VERSION = re.compile(r"^([0-9]+)\.([0-9]+)\.[0-9]+\S*$", re.MULTILINE)


class PythonAction(NormalAction):  # type: ignore[misc] # Ansible has no types
    """Runs the module as Ansible does by default."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        if result.get("failed") and _may_be_too_new(result):
            reason = self._old_python()
            if reason is not None:
                return {"failed": True, "changed": False, "msg": reason}
        return result

    def _old_python(self) -> str | None:
        """The reason why the module cannot run on the interpreter that it was run with. None if that is new enough."""
        python = (self._used_interpreter or "").lstrip("#!").strip()
        if not python:
            return None
        code = "import platform; print(platform.python_version())"
        output = self._low_level_execute_command(f"{python} -c {shlex.quote(code)}").get("stdout", "")
        # A login shell may print more.
        found = _VERSION.search(output.replace("\r", ""))
        if found is None or (int(found[1]), int(found[2])) >= LEAST_PYTHON:
            return None
        return old_python(python, found[0])


def _may_be_too_new(result: Mapping[str, Any]) -> bool:
    """Whether a failure may be that of a module on an old Python."""
    message = f"{result.get('msg')} {result.get('exception')}"
    # The output of a module that has ended without a result.
    return "module_stdout" in result or any(text in message for text in _COMPLAINTS)

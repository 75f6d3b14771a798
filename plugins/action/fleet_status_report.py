# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the status of a fleet to files on the control node. The module fleet_status_info reads it."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import lookup_loader
from ansible.utils.unsafe_proxy import wrap_var
from ansible_collections.gce.guest.plugins.module_utils._module.numbers import NumberError, check_numbers
from ansible_collections.gce.guest.plugins.plugin_utils._fleet_report import (
    json_text,
    lines,
    page_variables,
    selection,
)
from ansible_collections.gce.guest.plugins.plugin_utils._progress_action import ProgressAction

TEMPLATE = Path(__file__).resolve().parents[2] / "playbooks" / "templates" / "fleet_status.html.j2"

# The options besides those of fleet_status_info.
SPEC: dict[str, dict[str, Any]] = {
    "page": {"type": "path"},
    "json": {"type": "path"},
    "title": {"type": "str"},
    "rows": {"type": "int", "default": 50},
}
# The mode of a new file.
NEW_FILE = 0o644
# Results of fleet_status_info that are in the files only.
LEFT_OUT = ("instances", "windows", "table", "invocation")


class ActionModule(ProgressAction):
    """Runs the module fleet_status_info, and shows its progress."""

    _supports_async = False

    def _module_result(self, tmp: str | None, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        ActionBase.run(self, tmp, task_vars)
        own = {name: value for name, value in self._task.args.items() if name in SPEC}
        validated = ArgumentSpecValidator(SPEC).validate(own)
        if validated.error_messages:
            raise AnsibleActionFail("; ".join(validated.error_messages))
        options = validated.validated_parameters
        refuse(options)
        rest = {name: value for name, value in self._task.args.items() if name not in SPEC}
        found: dict[str, Any] = self._execute_module(
            "gce.guest.fleet_status_info", module_args=rest, task_vars=task_vars
        )
        if found.get("failed") or "table" not in found:
            return found
        return {**{name: found[name] for name in found if name not in LEFT_OUT}, **self._report(found, options, rest)}

    def _report(self, found: Mapping[str, Any], options: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
        selected = selection(asked.get("zone"), asked.get("filter"))
        project = asked.get("project") or os.environ.get("GCP_PROJECT", "")
        texts = {}
        if options["page"] is not None:
            heading = options["title"] or (f"Fleet status of {project}" if project else "Fleet status")
            texts[options["page"]] = self._page(page_variables(found, heading, selected))
        if options["json"] is not None:
            texts[options["json"]] = json_text(found, project, selected)
        written = [self._written(Path(path), text) for path, text in texts.items()]
        return {
            "changed": any(written),
            "page": options["page"],
            "json": options["json"],
            "lines": lines(found, options["rows"], selected),
        }

    def _page(self, variables: dict[str, Any]) -> str:
        template = lookup_loader.get("ansible.builtin.template", loader=self._loader, templar=self._templar)
        # Words of a VM must not become templates.
        [text] = template.run([str(TEMPLATE)], wrap_var(variables), template_vars={})
        return str(text)

    def _written(self, path: Path, text: str) -> bool:
        """Whether the file differs. It is replaced at once, so that nobody reads a part of it."""
        try:
            if path.exists() and path.read_bytes() == text.encode("utf-8"):
                return False
            if not self._task.check_mode:
                replace(path, text)
        except OSError as error:
            raise AnsibleActionFail(f"Writing {path} failed: {error.strerror}.") from error
        return True


def refuse(options: Mapping[str, Any]) -> None:
    """Raise AnsibleActionFail for options that would fail after minutes of requests."""
    try:
        check_numbers(options)
    except NumberError as error:
        raise AnsibleActionFail(str(error)) from None
    files = {name: Path(options[name]) for name in ("page", "json") if options[name] is not None}
    for name, path in files.items():
        refuse_unwritable(name, path)
    if len({path.resolve() for path in files.values()}) < len(files):
        raise AnsibleActionFail(f"page and json are the same file, {files['page']}. Give two names.")


def refuse_unwritable(name: str, path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        # Its directory tells more.
        mode = stat.S_IFREG
    except (OSError, ValueError) as error:
        # Such as a name that is too long.
        reason = error.strerror if isinstance(error, OSError) else error
        raise AnsibleActionFail(f"{name}: {path} cannot be written: {reason}.") from error
    if stat.S_ISDIR(mode):
        raise AnsibleActionFail(f"{name}: {path} is a directory. Give the name of a file.")
    if not stat.S_ISREG(mode):
        # Such as /dev/null, which root would replace with a file.
        raise AnsibleActionFail(f"{name}: {path} is not a regular file. Give the name of a file.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        why = "is not writable" if path.parent.is_dir() else "does not exist"
        raise AnsibleActionFail(f"{name}: {path} cannot be written. Its directory {why}.")


def replace(path: Path, text: str) -> None:
    """The new file has the mode of the old one. Raises OSError."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        os.chmod(name, stat.S_IMODE(path.stat().st_mode) if path.exists() else NEW_FILE)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise

# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible's templating in a separate process, to test lookups and filters as plays use them.

Ansible's loader of collections and Python's own, by which the tests import the modules, do not get along in one
process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

TESTS = Path(__file__).resolve().parents[1]


class TemplateFailed(Exception):
    """Ansible's error instead of a value, with its causes."""


class TemplateProcess:
    """Evaluates templates one after the other, as one worker of Ansible's does. A context manager, or call `close`."""

    def __init__(self, collections_path: Path, environment: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.templating", str(collections_path)],
            cwd=TESTS,
            env={**os.environ, "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        # Ansible's warnings about the last template.
        self.warnings: list[str] = []

    def __call__(self, template: str, **variables: Any) -> Any:
        """The value of `{{ template }}`; strings in variables may be templates themselves."""
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("the process has no pipes")
        # As JSON: before ansible-core 2.19, a template whose result is a number or null is a string.
        request = {"template": "{{ (" + template + ") | to_json }}", "variables": json.dumps(variables)}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError(f"the process ended: {self._process.communicate()[1]}")
        answer = json.loads(line)
        self.warnings = answer["warnings"]
        if "error" in answer:
            raise TemplateFailed(answer["error"])
        return answer["value"]

    def close(self) -> None:
        self._process.communicate()

    def __enter__(self) -> TemplateProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def main() -> None:
    from ansible.errors import AnsibleError
    from ansible.parsing.dataloader import DataLoader
    from ansible.plugins.loader import init_plugin_loader
    from ansible.template import Templar
    from ansible.utils.display import Display

    try:
        from ansible.template import trust_as_template
    except ImportError:
        # Before ansible-core 2.19, all text is trusted that is not marked as unsafe.
        def trust_as_template(text: str) -> str:
            return text

    init_plugin_loader([sys.argv[1]])
    warnings: list[str] = []
    Display.warning = lambda self, msg, **_options: warnings.append(msg)
    loader = DataLoader()
    for line in sys.stdin:
        request = json.loads(line)
        # As from a playbook: with the tags of Ansible's own data.
        templar = Templar(loader=loader, variables=loader.load(trust_as_template(request["variables"])))
        warnings.clear()
        try:
            answer = {"value": json.loads(templar.template(trust_as_template(request["template"])))}
        except AnsibleError as error:
            answer = {"error": _words(error)}
        print(json.dumps({**answer, "warnings": warnings}), flush=True)


def _words(error: BaseException | None) -> str:
    words = []
    while error is not None:
        words.append(str(error))
        error = error.__cause__
    return " ".join(words)


if __name__ == "__main__":
    main()

# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules on targets with a Python that is too old for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.old_python import OLD_PYTHONS, pretended_python
from support.playbook import CHECKOUT, run_play

# Of the collection; of ansible-core, by version.
SENTENCES = (
    "needs Python 3.9 or newer",
    "requires a minimum of Python version",
    "Ansible requires Python 3.9 or newer",
)
GUEST: dict[str, Any] = {"metadata_host": "127.0.0.1:9", "retry_for": 0}


def run_with(python: Path, module: str, parameters: dict[str, Any]) -> str:
    tasks = [{f"gce.guest.{module}": parameters}]
    status, output = run_play(tasks, environment={}, vars={"ansible_python_interpreter": str(python)})
    assert status != 0
    return output


@pytest.mark.parametrize("module, parameters", [("metadata_info", GUEST), ("custom_metadata_info", {"instance": "vm"})])
def test_says_what_to_install_and_to_set(tmp_path: Path, module: str, parameters: dict[str, Any]) -> None:
    output = run_with(pretended_python(tmp_path, "3.6.8"), module, parameters)
    assert "needs Python 3.9 or newer" in output
    assert f"{tmp_path}/python3 is Python 3.6.8" in output
    assert "python3.12 on RHEL 8" in output
    assert "ansible_python_interpreter" in output
    assert "SyntaxError" not in output


def test_other_failures_stay_as_they_are(tmp_path: Path) -> None:
    output = run_with(pretended_python(tmp_path, "3.9.1"), "metadata_info", GUEST)
    assert "SyntaxError" in output
    assert "or newer" not in output


@pytest.mark.skipif(not OLD_PYTHONS, reason="no Python older than 3.9 in pyenv")
def test_real_interpreters() -> None:
    """Some versions of ansible-core reject them themselves, also with a sentence."""
    for python in OLD_PYTHONS:
        output = run_with(python, "legacy_endpoints", {"state": "disabled", "project": "acme"})
        assert "Traceback" not in output
        assert any(sentence in output for sentence in SENTENCES)


def test_every_module_has_the_plugin() -> None:
    modules = {path.stem for path in (CHECKOUT / "plugins" / "modules").glob("*.py")}
    for module in modules - {"rolling_maintenance"}:  # an action of the controller only
        text = (CHECKOUT / "plugins" / "action" / f"{module}.py").read_text(encoding="utf-8")
        assert "(PythonAction)" in text or "(ProgressAction)" in text

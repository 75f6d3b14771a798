# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run plays on localhost with the checkout as the collection, and get the examples of plugins."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

CHECKOUT = Path(__file__).resolve().parents[2]


@contextmanager
def started_play(
    tasks: list[dict[str, Any]], *arguments: str, environment: Mapping[str, str], **play: Any
) -> Iterator[subprocess.Popen[str]]:
    """Start a play of these tasks. `play` has more keys of the play."""
    with tempfile.TemporaryDirectory(prefix="gce-guest-play-") as folder:
        namespace = Path(folder) / "ansible_collections" / "gce"
        namespace.mkdir(parents=True)
        (namespace / "guest").symlink_to(CHECKOUT, target_is_directory=True)
        whole = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks, **play}
        whole["vars"] = {"ansible_python_interpreter": sys.executable, **play.get("vars", {})}
        playbook = Path(folder) / "play.yml"
        playbook.write_text(json.dumps([whole], ensure_ascii=False), encoding="utf-8")
        with subprocess.Popen(
            [sys.executable, "-m", "ansible", "playbook", "--inventory", "localhost,", str(playbook), *arguments],
            cwd=folder,
            env={
                **os.environ,
                "ANSIBLE_COLLECTIONS_PATH": folder,
                "ANSIBLE_HOME": f"{folder}/home",
                "ANSIBLE_NOCOLOR": "1",
                "LC_ALL": "C.UTF-8",
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        ) as process:
            try:
                yield process
            except BaseException:
                # Otherwise the end of this block would wait for it.
                process.kill()
                raise


def run_play(
    tasks: list[dict[str, Any]], *arguments: str, environment: Mapping[str, str], **play: Any
) -> tuple[int, str]:
    """Run a play of these tasks. Return its exit status and its output."""
    with started_play(tasks, *arguments, environment=environment, **play) as process:
        output = process.communicate(timeout=120)[0]
    return process.returncode, output


def changed_tasks(output: str) -> int:
    """How many tasks of a play of one host changed something."""
    found = re.search(r"changed=([0-9]+)", output)
    assert found is not None, output
    return int(found[1])


def run_playbook(
    name: str,
    folder: Path,
    *arguments: str,
    environment: Mapping[str, str],
    hosts: Mapping[str, Mapping[str, Any]] | None = None,
    timeout: float = 120,
) -> tuple[int, str]:
    """Run a playbook of the collection in a directory. Return its exit status and its output.

    `hosts` are reached by the local connection, each with its variables.
    """
    namespace = folder / "ansible_collections" / "gce"
    if not namespace.exists():
        namespace.mkdir(parents=True)
        (namespace / "guest").symlink_to(CHECKOUT, target_is_directory=True)
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    every = {"localhost": {}, **(hosts or {})}
    inventory = {"all": {"hosts": {host: {**local, **variables} for host, variables in every.items()}}}
    (folder / "inventory.json").write_text(json.dumps(inventory, ensure_ascii=False), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", "inventory.json", f"gce.guest.{name}", *arguments],
        cwd=folder,
        env={
            **os.environ,
            "PWD": str(folder),
            "ANSIBLE_COLLECTIONS_PATH": str(folder),
            "ANSIBLE_HOME": str(folder / "home"),
            "ANSIBLE_NOCOLOR": "1",
            "LC_ALL": "C.UTF-8",
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=timeout,
        check=False,
    )
    return done.returncode, done.stdout


def printed_lines(output: str) -> list[str]:
    """The lines that ansible.builtin.debug prints for a list."""
    return [json.loads(line.strip().rstrip(",")) for line in output.splitlines() if line.startswith(" " * 8 + '"')]


def examples(kind: str, name: str) -> list[dict[str, Any]]:
    """The tasks in EXAMPLES of plugins/KIND/NAME.py, or of NAME.yml for a filter."""
    path = CHECKOUT / "plugins" / kind / f"{name}.yml"
    if path.exists():
        text = yaml.safe_load(path.read_text(encoding="utf-8"))["EXAMPLES"]
    else:
        namespace: dict[str, Any] = {}
        source = path.with_suffix(".py").read_text(encoding="utf-8")
        # The documentation comes before the imports.
        exec(source[: source.index('"""', source.index('EXAMPLES = r"""') + 16) + 3], namespace)
        text = namespace["EXAMPLES"]
    tasks: list[dict[str, Any]] = yaml.safe_load(text)
    return tasks

# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""gcloud, unmodified, with an emulated project."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("gcloud")
MISSING = "gcloud is not installed here; it is in Google's Debian package google-cloud-cli"


class Gcloud:
    """Runs commands with its own configuration below `folder`; `compute` is the URL of the Compute API."""

    def __init__(self, compute: str, project: str, folder: Path) -> None:
        self._folder = folder
        token = folder / "token"
        token.write_text("emulated", encoding="utf-8")
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "NO_PROXY": "127.0.0.1",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": f"{compute}/compute/v1/",
            "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(token),
            "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
            "CLOUDSDK_CORE_CHECK_GCE_METADATA": "false",
            "CLOUDSDK_CORE_DISABLE_FILE_LOGGING": "true",
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "true",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
            "CLOUDSDK_CORE_PROJECT": project,
        }

    def __call__(self, command: str, *more: str) -> str:
        """The standard output of a command; `command` is split at blanks, `more` has further arguments."""
        finished = self.run(command, *more)
        if finished.returncode != 0 or "Traceback" in finished.stderr or "gcloud crashed" in finished.stderr:
            raise AssertionError(f"gcloud {command} ended with {finished.returncode} and said: {finished.stderr}")
        return finished.stdout

    def json(self, command: str, *more: str) -> Any:
        return json.loads(self(command, *more, "--format=json"))

    def refusal(self, command: str, *more: str) -> str:
        """The error of a command that has to fail."""
        finished = self.run(command, *more)
        if finished.returncode != 1 or "crashed" in finished.stderr:
            raise AssertionError(f"gcloud {command} ended with {finished.returncode} and said: {finished.stderr}")
        return finished.stderr

    def run(self, command: str, *more: str) -> subprocess.CompletedProcess[str]:
        if PROGRAM is None:
            raise AssertionError(MISSING)
        # Parallel commands would lock each other out of a shared configuration database.
        with tempfile.TemporaryDirectory(dir=self._folder) as configuration:
            return subprocess.run(
                [PROGRAM, *command.split(), *more],
                env={**self._environment, "CLOUDSDK_CONFIG": configuration},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )


def side_by_side(*chains: Callable[[], object]) -> None:
    """Run independent commands in parallel: each takes seconds, most of them to load."""
    with ThreadPoolExecutor(len(chains)) as pool:
        for result in [pool.submit(chain) for chain in chains]:
            result.result()


def names(listed: Sequence[Any]) -> list[str]:
    return sorted(each["name"] for each in listed)

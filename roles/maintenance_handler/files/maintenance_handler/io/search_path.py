# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where programs are looked for: what the handler was started with, and what a login has besides."""

from __future__ import annotations

import os

# A login's (login.defs(5)), and Ubuntu's for snaps, as which gcloud is installed on Google's images.
LOGIN_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/snap/bin")


def search_path(configured: str | None, inherited: str) -> str:
    """The PATH of tasks: as it is configured, else the inherited one, followed by a login's folders."""
    if configured is not None:
        return configured
    folders = [folder for folder in inherited.split(os.pathsep) if folder]
    return os.pathsep.join(dict.fromkeys((*folders, *LOGIN_FOLDERS)))


def adopt(configured: str | None) -> None:
    """Look for programs there from now on, ourselves and all that we start."""
    os.environ["PATH"] = search_path(configured, os.environ.get("PATH", ""))

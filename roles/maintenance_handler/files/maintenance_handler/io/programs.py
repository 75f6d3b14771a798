# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the current user can execute a program: it is found, permitted, and has its interpreter."""

from __future__ import annotations

import os
from collections.abc import Sequence

# What the kernel reads of a script's first line (execve(2)).
_HEAD = 256


def program_problem(program: str, folders: Sequence[str], who: str = "") -> str | None:
    """The reason why a program, searched in these folders, cannot be executed; None if it can.

    `who` names the current user in the reason, such as " by user 'app'".
    """
    if os.path.dirname(program):
        # The working directory of tasks is the root.
        candidates = [os.path.join(os.sep, program)]
        where = ""
    else:
        # Like shutil.which, which would import all compression modules: 0.6 MB of memory.
        candidates = [os.path.join(folder, program) for folder in folders]
        where = f" (PATH is {os.pathsep.join(folders)})"
    found = next((path for path in candidates if os.path.isfile(path) and os.access(path, os.X_OK)), None)
    if found is None:
        return f"program {program!r} does not exist or cannot be executed{who} here{where}"
    return _format_problem(program, found, folders)


def _format_problem(program: str, path: str, folders: Sequence[str]) -> str | None:
    """The reason why the kernel cannot execute a file, such as a missing interpreter."""
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD)
    except OSError:
        # It may be executable but not readable.
        return None
    if not head.startswith(b"#!"):
        if head.startswith(b"\x7fELF") or _has_other_formats():
            return None
        return f"program {program!r} is neither a binary nor a script that begins with a line such as #!/bin/sh"
    line = head[2:].split(b"\n", 1)[0].decode("utf-8", "surrogateescape")
    if line.endswith("\r"):
        return f"program {program!r} has Windows line endings (CRLF), so its interpreter cannot be found"
    words = line.split()
    if not words:
        return f"program {program!r} has no interpreter after #!"
    if not (os.path.isfile(words[0]) and os.access(words[0], os.X_OK)):
        return f"program {program!r} is interpreted by {words[0]!r}, which does not exist or cannot be executed here"
    wanted = _by_env(words)
    if wanted is not None and program_problem(wanted, folders) is not None:
        return f"program {program!r} is interpreted by {wanted!r}, which is not found in {os.pathsep.join(folders)}"
    return None


def _by_env(words: Sequence[str]) -> str | None:
    """The interpreter that env(1) searches in PATH."""
    if os.path.basename(words[0]) != "env":
        return None
    rest = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    return rest[0] if rest else None


def _has_other_formats() -> bool:
    """Whether further formats are registered with the kernel (binfmt_misc)."""
    try:
        return bool({*os.listdir("/proc/sys/fs/binfmt_misc")} - {"register", "status"})
    except OSError:
        return False

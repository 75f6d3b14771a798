# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Interpreters that are too old for the collection: of pyenv, and one that only says so."""

from __future__ import annotations

import os
from pathlib import Path

PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
OLD_PYTHONS = tuple(
    python for version in ("3.6", "3.7", "3.8") for python in sorted(PYENV.glob(f"{version}.*/bin/python3"))
)


def pretended_python(folder: Path, version: str) -> Path:
    """A program that answers as Python of this version, and fails as that does with the collection's code."""
    program = folder / "python3"
    program.write_text(
        "#!/bin/sh\n"
        f'[ "$1" = -c ] && echo {version} && exit\n'
        'echo "SyntaxError: future feature annotations is not defined" >&2\nexit 1\n',
        encoding="ascii",
    )
    program.chmod(0o755)
    return program

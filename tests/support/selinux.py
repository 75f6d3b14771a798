# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pretended programs of SELinux, for plays that label files."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# It keeps the labels in a file: a line for each file that is labeled.
RESTORECON = """#!{python}
import os, sys
options = [word for word in sys.argv[1:] if word.startswith("-")]
paths = [word for word in sys.argv[1:] if not word.startswith("-")]
if not {{"-i", "-R", "-v"}} <= set(options):
    sys.exit("unexpected options " + repr(options))
labels = "{labels}"
known = open(labels).read().splitlines() if os.path.exists(labels) else []
for path in paths:
    files = [path] if os.path.exists(path) else []
    files += [os.path.join(folder, name) for folder, _unused, names in os.walk(path) for name in names]
    for name in files:
        if name not in known:
            print("Would relabel" if "-n" in options else "Relabeled", name)
            if "-n" not in options:
                with open(labels, "a") as file:
                    print(name, file=file)
"""


def selinux_programs(folder: Path, *, enabled: bool) -> dict[str, str]:
    """An environment with selinuxenabled and restorecon."""
    folder.mkdir()
    restorecon = RESTORECON.format(python=sys.executable, labels=folder / "labels")
    texts = {"restorecon": restorecon, "selinuxenabled": f"#!/bin/sh\nexit {0 if enabled else 1}\n"}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}

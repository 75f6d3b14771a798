# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run ansible-test sanity with each ansible-core: `python -m tools.sanity_matrix [--core CORE] [ARGUMENT ...]`.

Other arguments are for ansible-test sanity, such as `--test validate-modules`. The virtual environments are those of
tools/matrix.py. A core without a Python here is reported and skipped.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from tools.matrix import CHECKOUT, CORES, controller, controller_python


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="tools.sanity_matrix", allow_abbrev=False)
    parser.add_argument("--core", action="append", choices=CORES, help="only this ansible-core; may be repeated")
    given, for_sanity = parser.parse_known_args(arguments)
    verdicts: dict[str, str] = {}
    for core in given.core or CORES:
        version = controller_python(core)
        if version is None:
            verdicts[f"{core}, no Python {' or '.join(CORES[core])} here"] = "skipped"
            continue
        name = f"{core}, Python {version}"
        print(f"== ansible-core {name}", flush=True)
        verdicts[name] = "ok" if is_sane(controller(core, version), for_sanity) else "failed"
    print("\n== ansible-test sanity", *(f"{name}: {verdict}" for name, verdict in verdicts.items()), sep="\n")
    return 1 if "failed" in verdicts.values() else 0


def is_sane(commands: Path, arguments: list[str]) -> bool:
    """Run tools/sanity with the ansible-test of this directory."""
    environment = {**os.environ, "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run([CHECKOUT / "tools" / "sanity", *arguments], env=environment, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

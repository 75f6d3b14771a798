# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the index of the documentation a landing page by task.

usage: python tools/landing_page.py DIRECTORY

The directory has index.rst by antsibull-docs, with a caption for each toctree. The tables of docsite/guide_start.rst
replace the description, the guides are in the menu only, and communication and changelog come last.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

_CHANGELOG = re.compile(r"\.\. _changelog_section_for_\S+:\n\n(\.\. toctree::\n.*?\n)    changelog\n", re.DOTALL)
_COMMUNICATION = re.compile(r"\.\. Communication\n.*?(?=\n\.\. toctree::)", re.DOTALL)
_CONTENTS = ".. contents::\n   :local:\n   :depth: 1\n"
_GUIDES = re.compile(r"(    :maxdepth: 1\n)(?=\n    docsite/)")


def main(folder: Path) -> None:
    index = folder / "index.rst"
    tasks = (folder / "docsite" / "guide_start.rst").read_text(encoding="utf-8")
    index.write_text(landing_page(index.read_text(encoding="utf-8"), tasks), encoding="utf-8")


def landing_page(index: str, tasks: str) -> str:
    head, rest = index.split("\nDescription\n-----------\n")
    description, rest = rest.split("\n\n.. Communication\n", 1)
    introduction = description.strip().split("\n")[0].rstrip(".")
    rest = f".. Communication\n{rest}"
    changelog, communication = _CHANGELOG.search(rest), _COMMUNICATION.search(rest)
    if changelog is None or communication is None:
        raise SystemExit("antsibull-docs writes an index of another form than tools/landing_page.py expects.")
    rest = rest.replace(changelog[0], "").replace(communication[0], "")
    return "\n".join(
        [
            head.replace(_CONTENTS, f"{introduction}.\n"),
            tasks.split(_CONTENTS)[1],
            _GUIDES.sub(r"\1    :hidden:\n", rest),
            f"{changelog[1]}    Release notes <changelog>\n".replace("1\n", "1\n    :hidden:\n"),
            communication[0],
        ]
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))

# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prepare a release: set the version, and write the changelog from the fragments.

usage: python tools/release.py VERSION [--date YYYY-MM-DD]

Changes nothing if the version is not newer than the last release, or the fragments have no release_summary.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).resolve().parents[1]
# Files that contain the version, with the text around it.
PLACES = {
    "galaxy.yml": ("version: ", "\n"),
    "README.md": ("gce-guest-", ".tar.gz"),
    "roles/maintenance_handler/files/maintenance_handler/__init__.py": ('__version__ = "', '"'),
    "roles/metadata_emulator/files/gce_emulator/__init__.py": ('__version__ = "', '"'),
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Set the version, and write the changelog from the fragments.")
    parser.add_argument("version", help="such as 0.3.0")
    parser.add_argument(
        "--date", type=date.fromisoformat, default=date.today(), help="of the release; today by default"
    )
    arguments = parser.parse_args()
    if problem := obstacle(arguments.version):
        print(f"Cannot release {arguments.version}: {problem}", file=sys.stderr)
        return 1
    for path in PLACES:
        set_version(path, arguments.version)
    release = ["antsibull-changelog", "release", "--version", arguments.version, "--date", str(arguments.date)]
    subprocess.run(release, cwd=CHECKOUT, check=True)
    print(f"CHANGELOG.md has {arguments.version} now. Commit the changes, and tag the commit with {arguments.version}.")
    return 0


def obstacle(version: str) -> str | None:
    """Return why the version cannot be released, or None."""
    if not re.fullmatch(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)", version):
        return "a version has the form 1.2.3."
    changelog = yaml.safe_load((CHECKOUT / "changelogs" / "changelog.yaml").read_text(encoding="utf-8"))
    newest = max(changelog["releases"], key=numbers, default="0.0.0")
    if numbers(version) <= numbers(newest):
        return f"changelogs/changelog.yaml has {newest} already."
    fragments = (CHECKOUT / "changelogs" / "fragments").glob("*.yml")
    summaries = [path.name for path in fragments if "release_summary" in yaml.safe_load(path.read_text("utf-8"))]
    if len(summaries) != 1:
        found = f"{', '.join(sorted(summaries))} have" if summaries else "none has"
        return f"exactly one file in changelogs/fragments must have a release_summary, and {found} one."
    return None


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))


def set_version(path: str, version: str) -> None:
    before, after = PLACES[path]
    file = CHECKOUT / path
    pattern = re.compile(rf"({re.escape(before)})\d+\.\d+\.\d+({re.escape(after)})")
    text, count = pattern.subn(rf"\g<1>{version}\g<2>", file.read_text(encoding="utf-8"))
    if count != 1:
        raise SystemExit(f"Expected one version in {path}, and found {count}.")
    file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

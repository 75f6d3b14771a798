# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release sets the version everywhere, and moves the fragments into the changelog."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
PLACES = [
    "galaxy.yml",
    "roles/maintenance_handler/files/maintenance_handler/__init__.py",
    "roles/metadata_emulator/files/gce_emulator/__init__.py",
]
SUMMARY = "release_summary: A release for this test.\n"
FIX = "bugfixes:\n  - a fix of this test.\n"


def version_in(path: Path) -> str:
    found = re.search(r"^(?:__)?version(?:__)?(?:: | = )\"?([\d.]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert found
    return found[1]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    copied = subprocess.run([CHECKOUT / "tools" / "copy", tmp_path], check=True, capture_output=True, text=True)
    checkout = Path(copied.stdout.strip())
    for fragment in (checkout / "changelogs" / "fragments").glob("*.yml"):
        fragment.unlink()
    return checkout


def released(checkout: Path, version: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "tools/release.py", version, "--date", "2027-01-02"],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"ANSIBLE_COLLECTIONS_PATH": str(checkout.parents[2])},
    )


def changed(checkout: Path) -> list[str]:
    status = subprocess.run(["git", "diff", "--name-only"], cwd=checkout, check=True, capture_output=True, text=True)
    return status.stdout.split()


def test_the_collection_the_handler_and_the_emulator_have_one_version() -> None:
    assert len({version_in(CHECKOUT / path) for path in PLACES}) == 1


def test_a_release_sets_the_version_and_writes_the_changelog(checkout: Path) -> None:
    fragments = checkout / "changelogs" / "fragments"
    (fragments / "99.0.0.yml").write_text(SUMMARY)
    (fragments / "1-fix.yml").write_text(FIX)

    release = released(checkout, "99.0.0")

    assert release.returncode == 0, release.stderr
    assert {version_in(checkout / path) for path in PLACES} == {"99.0.0"}
    assert "gce-guest-99.0.0.tar.gz" in (checkout / "README.md").read_text()
    entry = yaml.safe_load((checkout / "changelogs" / "changelog.yaml").read_text())["releases"]["99.0.0"]
    assert entry["changes"]["bugfixes"] == ["a fix of this test."]
    assert entry["release_date"] == "2027-01-02"
    assert "A release for this test" in (checkout / "CHANGELOG.md").read_text()
    assert list(fragments.glob("*.yml")) == []

    (fragments / "99.0.0.yml").write_text(SUMMARY)
    again = released(checkout, "99.0.0")

    assert again.returncode == 1
    assert "has 99.0.0 already" in again.stderr


@pytest.mark.parametrize(
    "version, fragments, reason",
    [
        ("99.0", [SUMMARY], "the form 1.2.3"),
        ("0.0.1", [SUMMARY], "already"),
        ("99.0.0", [], "none has one"),
        ("99.0.0", [FIX], "none has one"),
        ("99.0.0", [SUMMARY, SUMMARY], "0.yml, 1.yml have one"),
    ],
)
def test_refuses_before_it_changes_anything(checkout: Path, version: str, fragments: list[str], reason: str) -> None:
    for number, text in enumerate(fragments):
        (checkout / "changelogs" / "fragments" / f"{number}.yml").write_text(text)
    before = changed(checkout)

    release = released(checkout, version)

    assert release.returncode == 1
    assert reason in release.stderr
    assert changed(checkout) == before

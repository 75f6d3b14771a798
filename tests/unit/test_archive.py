# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive that users install contains everything they can use, and no development files."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
GALAXY = [sys.executable, "-m", "ansible", "galaxy", "collection"]

EXPECTED = {
    "FILES.json",
    "LICENSE",
    "MANIFEST.json",
    "README.md",
    "changelogs",
    "docs",
    "meta",
    "playbooks",
    "plugins",
    "roles",
}
# May be missing.
OPTIONAL = {"CHANGELOG.md", "CHANGELOG.rst", "extensions"}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    checkout = subprocess.run(
        [CHECKOUT / "tools" / "copy", folder / "checkout"], check=True, capture_output=True, text=True
    ).stdout.strip()
    subprocess.run([*GALAXY, "build", "--output-path", folder], cwd=checkout, check=True, capture_output=True)
    [path] = folder.glob("gce-guest-*.tar.gz")
    return path


def test_contains_only_files_for_users(archive: Path) -> None:
    with tarfile.open(archive) as tar:
        top = {name.split("/")[0] for name in tar.getnames()}

    assert EXPECTED <= top <= EXPECTED | OPTIONAL


def test_the_readme_runs_make_in_a_checkout(archive: Path) -> None:
    with tarfile.open(archive) as tar:
        text = tar.extractfile("README.md").read().decode()  # type: ignore[union-attr]

    before = text[: text.index("$ make ")]
    assert "git clone" in before


def test_links_are_files_in_an_installed_collection(archive: Path, tmp_path: Path) -> None:
    subprocess.run(
        [*GALAXY, "install", "--force", archive, "--collections-path", tmp_path], check=True, capture_output=True
    )
    installed = tmp_path / "ansible_collections" / "gce" / "guest"

    links = [path for path in installed.rglob("*") if path.is_symlink()]
    assert links
    assert [path for path in links if not path.exists()] == []


def test_links_in_documents_exist_in_the_repository() -> None:
    missing = [link for link in _repository_links() if not (CHECKOUT / link).exists()]

    assert missing == []


def _repository_links() -> Iterator[str]:
    pattern = re.compile(r"https://github\.com/gce-guest/gce\.guest/(?:blob|tree)/main/([\w./-]+)")
    documents = [CHECKOUT / "README.md", CHECKOUT / "CONTRIBUTING.md", *CHECKOUT.glob("roles/*/README.md")]
    documents += CHECKOUT.glob("docs/docsite/rst/*.rst")
    for document in documents:
        yield from pattern.findall(document.read_text(encoding="utf-8"))

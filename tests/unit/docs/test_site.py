# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guides are in the menu of the documentation, and their images are there and small."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

DOCSITE = Path(__file__).resolve().parents[3] / "docs" / "docsite"
MOST_BYTES = 150_000


def test_each_guide_is_in_the_menu() -> None:
    sections = yaml.safe_load((DOCSITE / "extra-docs.yml").read_text(encoding="utf-8"))["sections"]

    listed = [name for section in sections for name in section["toctree"]]

    assert sorted(listed) == sorted(path.stem for path in (DOCSITE / "rst").glob("*.rst"))


def test_images_are_used_and_small() -> None:
    guides = "".join(path.read_text(encoding="utf-8") for path in (DOCSITE / "rst").glob("*.rst"))
    used = set(re.findall(r"^\.\. (?:figure|image):: (images/\S+)$", guides, re.MULTILINE))

    images = {str(path.relative_to(DOCSITE / "rst")): path for path in (DOCSITE / "rst" / "images").iterdir()}

    assert used == set(images)
    assert [name for name, path in images.items() if path.stat().st_size > MOST_BYTES] == []

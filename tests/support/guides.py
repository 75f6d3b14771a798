# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The blocks of code in guides and READMEs."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .playbook import CHECKOUT

_RST = re.compile(r"^\.\. code-block:: (?P<language>\S+)\n\n(?P<text>(?:(?:[ ]{3,}.*)?\n)+)", re.MULTILINE)
_MARKDOWN = re.compile(r"^```(?P<language>\S+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of code: its file, relative to the checkout, its language and its text."""

    path: str
    language: str
    text: str

    @property
    def is_yaml(self) -> bool:
        return self.language in ("yaml", "yaml+jinja", "yml")

    @property
    def data(self) -> Any:
        return yaml.safe_load(self.text)

    @property
    def title(self) -> str:
        """Its file and the first name in it."""
        name = re.search(r"^ *(?:- )?name: (.*)", self.text, re.MULTILINE)
        return f"{Path(self.path).name}: {name[1] if name else self.text.strip().splitlines()[0]}"


def blocks() -> list[Block]:
    """All blocks of the guides and the READMEs, in their order."""
    found = []
    for path in sorted(CHECKOUT.glob("docs/docsite/rst/*.rst")):
        found += _blocks(path, _RST)
    for path in [CHECKOUT / "README.md", *sorted(CHECKOUT.glob("roles/*/README.md"))]:
        found += _blocks(path, _MARKDOWN)
    return found


def _blocks(path: Path, pattern: re.Pattern[str]) -> list[Block]:
    name = str(path.relative_to(CHECKOUT))
    text = path.read_text(encoding="utf-8")
    return [Block(name, match["language"], textwrap.dedent(match["text"])) for match in pattern.finditer(text)]

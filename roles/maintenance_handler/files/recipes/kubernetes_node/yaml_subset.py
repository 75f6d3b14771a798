# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON, and the part of YAML that programs write kubeconfig files in. Python's standard library has no YAML parser."""

from __future__ import annotations

import json
import re
from typing import Any

# A key and its value; a quoted key never occurs.
_PAIR = re.compile(r"([^\s:#'\"\[\]{},&*!|>%@`-][^:#]*?|[\w.-]+):(?:\s+(.*))?$")
# Blocks, anchors, tags, flow collections: not supported, except for empty collections.
_UNSUPPORTED = "|>&*!%@`{["
_EMPTY: dict[str, Any] = {"{}": {}, "[]": [], "null": None, "~": None, "true": True, "false": False}


def parsed(text: str) -> Any:
    """The value of a document. Raises ValueError with the line that is not supported, without its content."""
    try:
        return json.loads(text)
    except ValueError:
        parser = _Parser(text)
        value = parser.block(0)
        if parser.lines:
            raise parser.error() from None
        return value


class _Parser:
    """Consumes `lines`: number, indentation and content of each."""

    def __init__(self, text: str) -> None:
        self.lines: list[tuple[int, int, str]] = []
        for number, line in enumerate(text.splitlines(), start=1):
            content = line.strip()
            if content and not content.startswith("#") and content != "---":
                content = "\t" if line.lstrip(" ").startswith("\t") else content
                self.lines.append((number, len(line) - len(line.lstrip(" ")), content))

    def error(self) -> ValueError:
        return ValueError(f"line {self.lines[0][0]} is not supported")

    def block(self, indent: int) -> Any:
        """A mapping or a list whose lines have this indentation."""
        if not self.lines:
            return None
        return self._list(indent) if self._is_item(indent) else self._mapping(indent)

    def _list(self, indent: int) -> list[Any]:
        items = []
        while self._is_item(indent):
            number, _indent, content = self.lines[0]
            rest = content[1:].lstrip()
            inner = indent + len(content) - len(rest)
            if not rest:
                del self.lines[0]
                items.append(self._nested(indent))
            elif _PAIR.match(rest):
                # The item is a mapping that begins on the same line.
                self.lines[0] = (number, inner, rest)
                items.append(self._mapping(inner))
            else:
                self.lines[0] = (number, indent, rest)
                items.append(self._scalar(rest, indent))
        return items

    def _mapping(self, indent: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self.lines and self.lines[0][1] == indent and not self._is_item(indent):
            pair = _PAIR.match(self.lines[0][2])
            if pair is None or pair.group(1) in found:
                raise self.error()
            value = (pair.group(2) or "").strip()
            if value and not value.startswith("#"):
                found[pair.group(1)] = self._scalar(value, indent)
            else:
                del self.lines[0]
                found[pair.group(1)] = self._nested(indent)
        return found

    def _nested(self, indent: int) -> Any:
        """The value below a key or a dash; a list may have the indentation of its key."""
        if self._is_item(indent):
            return self._list(indent)
        return self.block(self.lines[0][1]) if self.lines and self.lines[0][1] > indent else None

    def _scalar(self, text: str, indent: int) -> Any:
        """A value that begins on this line. Lines with a deeper indentation continue it."""
        if text[0] in "'\"":
            value = self._quoted(text)
            del self.lines[0]
            return value
        if text in _EMPTY:
            del self.lines[0]
            return _EMPTY[text]
        words = [self._plain(text)]
        while self.lines and self.lines[0][1] > indent:
            words.append(self._plain(self.lines[0][2]))
        return " ".join(words)

    def _plain(self, text: str) -> str:
        text = re.sub(r"\s+#.*", "", text)
        if text[0] in _UNSUPPORTED or re.search(r":(\s|$)|\t", text):
            raise self.error()
        del self.lines[0]
        return text

    def _quoted(self, text: str) -> str:
        match = re.fullmatch(r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*')(?:\s+#.*)?""", text)
        if match is None:
            raise self.error()
        quoted = match.group(1)
        if quoted.startswith("'"):
            return quoted[1:-1].replace("''", "'")
        try:
            return str(json.loads(quoted))
        except ValueError:
            raise self.error() from None

    def _is_item(self, indent: int) -> bool:
        return bool(self.lines) and self.lines[0][1] == indent and re.match(r"-(\s|$)", self.lines[0][2]) is not None

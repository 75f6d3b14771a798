# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents encoded inside a text, as in user data: base64, gzip, percent and quoted-printable. Pure.

Private to the collection: it may change at any time. Standard library only.

cloud-init decodes the parts of a MIME archive and the content of write_files, and Ignition decodes data URLs. They are
recognized by their characters, not by parsing YAML or MIME. That needs no library, works for every spelling of "base64"
and "gz+b64", and also finds what a script pipes into "base64 -d".

https://cloudinit.readthedocs.io/en/latest/explanation/format.html
https://coreos.github.io/ignition/configuration-v3_4/
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

# Limits against decompression bombs. Nested archives are rare, and two levels deep.
DEEPEST = 6
LARGEST_TOTAL = 4 * 1024 * 1024
MOST_DOCUMENTS = 5000

# wbits of gzip, as opposed to zlib's own format.
_GZIP = 16 + zlib.MAX_WBITS
_GZIP_MAGIC = b"\x1f\x8b"

# Shorter texts hold neither a call nor a secret. In JSON, a slash may be written as two characters.
_SHORTEST = 20
_BASE64 = r"(?:[A-Za-z0-9+/_-]|\\/)"
_TOKEN = re.compile(rf"(?<![\w+/-]){_BASE64}{{{_SHORTEST},}}={{0,2}}(?![\w+/-])")
# A line of base64 alone, and the end of a line on which base64 begins.
_WHOLE_LINE = re.compile(rf"[ \t>]*({_BASE64}{{4,}}={{0,2}})[ \t]*[\"']?,?\r?")
_END_OF_LINE = re.compile(rf"(?<![\w+/-])({_BASE64}{{4,}}={{0,2}})[ \t]*\r?\Z")
_DATA_URL = re.compile(r"data:([^\s,\"'<>]{0,200}),([^\s\"'<>]+)", re.IGNORECASE)
_QUOTED_PRINTABLE = re.compile(r"quoted-printable", re.IGNORECASE)
_BROKEN_LINE = re.compile(r"(?:\r?\n|\\r|\\n)+")
# The number of lines before base64 that may look like it, such as the word EOF of a here-document.
_FALSE_STARTS = 3


@dataclass(frozen=True)
class Document:
    """A text, and the number of the line in the outermost text on which it begins."""

    text: str
    line: int = 1


class Lines:
    """Line numbers by position, for ascending positions."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._line = 1

    def at(self, position: int) -> int:
        self._line += self._text.count("\n", self._position, position)
        self._position = position
        return self._line


def documents(text: str) -> Iterator[Document]:
    """All documents encoded in a text, without the text itself. Depth, size and number are bounded."""
    budget = _Budget()
    waiting = [(Document(text), 0)]
    while waiting:
        outer, depth = waiting.pop()
        if depth >= DEEPEST:
            continue
        for inner in _decoded_in(outer.text, budget):
            line = outer.line if depth else inner.line
            found = Document(inner.text, line)
            yield found
            budget.documents -= 1
            if budget.documents <= 0:
                return
            waiting.append((found, depth + 1))


def decoded(data: str) -> str | None:
    """The document in a text that is base64 as a whole, decompressed if it is gzip; else None."""
    return _from_base64(data, _Budget())


class _Budget:
    def __init__(self) -> None:
        self.bytes = LARGEST_TOTAL
        self.documents = MOST_DOCUMENTS


def _decoded_in(text: str, budget: _Budget) -> Iterator[Document]:
    lines = Lines(text)
    for match in _DATA_URL.finditer(text):
        # Without a percent sign, the rest of this function finds it.
        if "%" in match[2]:
            plain = unquote(match[2])
            inner = _from_base64(plain, budget) if match[1].lower().endswith(";base64") else plain
            if inner is not None:
                yield Document(inner, lines.at(match.start()))
    if _QUOTED_PRINTABLE.search(text):
        import quopri  # here, since hardly any text needs it

        plain = quopri.decodestring(text.encode("utf-8", "replace")).decode("utf-8", "replace")
        if plain.rstrip() != text.rstrip():
            yield Document(_QUOTED_PRINTABLE.sub("", plain))
    # Whether base64 as a whole is decoded depends on the reader: cloud-init does if another key says so.
    if _is_base64(text):
        return
    lines = Lines(text)
    taken: list[tuple[int, int]] = []
    for block in _blocks(text):
        for start in range(min(_FALSE_STARTS, len(block) - 1)):
            inner = _from_base64("".join(row for _position, row in block[start:]), budget)
            if inner is not None:
                begin = block[start][0]
                taken.append((begin, block[-1][0] + len(block[-1][1])))
                yield Document(inner, lines.at(begin))
                break
    lines = Lines(text)
    for match in _TOKEN.finditer(text):
        while taken and taken[0][1] <= match.start():
            taken.pop(0)
        if taken and taken[0][0] <= match.start():
            continue
        inner = _from_base64(match[0], budget)
        if inner is not None:
            yield Document(inner, lines.at(match.start()))


def _blocks(text: str) -> Iterator[list[tuple[int, str]]]:
    """Base64 on several lines: for each line, its position and its part."""
    block: list[tuple[int, str]] = []
    for position, row in _rows(text):
        whole = _WHOLE_LINE.fullmatch(row) if block else None
        if whole:
            block.append((position + whole.start(1), whole[1]))
        else:
            if len(block) > 1:
                yield block
            begun = _END_OF_LINE.search(row)
            block = [(position + begun.start(1), begun[1])] if begun else []
        if block and block[-1][1].endswith("="):
            if len(block) > 1:
                yield block
            block = []
    if len(block) > 1:
        yield block


def _rows(text: str) -> Iterator[tuple[int, str]]:
    """The lines with their positions. A line may also end in a backslash and a letter, as in JSON."""
    start = 0
    for match in _BROKEN_LINE.finditer(text):
        end = match.start()
        yield start, text[start:end]
        start = match.end()
    yield start, text[start:]


def _is_base64(text: str) -> bool:
    return all(not row.strip() or _WHOLE_LINE.fullmatch(row) for _position, row in _rows(text))


def _from_base64(data: str, budget: _Budget) -> str | None:
    compact = re.sub(r"\s+", "", data.replace("\\/", "/")).translate(_URL_SAFE).rstrip("=")
    compact = compact[: len(compact) - (len(compact) % 4 == 1)]
    if len(compact) * 3 // 4 > budget.bytes:
        return None
    try:
        content = base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    if content.startswith(_GZIP_MAGIC):
        try:
            content = _decompressed(content, budget.bytes)
        except zlib.error:
            return None
    text = _as_text(content)
    if text is not None:
        budget.bytes -= len(content)
    return text


def _decompressed(content: bytes, largest: int) -> bytes:
    """The beginning of gzip's content, of one member or several."""
    parts: list[bytes] = []
    while content.startswith(_GZIP_MAGIC) and largest > 0:
        gzip = zlib.decompressobj(_GZIP)
        parts.append(gzip.decompress(content, largest))
        largest -= len(parts[-1])
        content = gzip.unused_data
    return b"".join(parts)


_URL_SAFE = str.maketrans("-_", "+/")
_TEXT_CONTROLS = frozenset("\t\n\r\f\b\x1b")


def _as_text(content: bytes) -> str | None:
    """Bytes as text, or None if they are something else, such as a hash or a picture."""
    text = content.decode("utf-8", "replace")
    strange = sum(1 for sign in text[:4096] if (sign < " " and sign not in _TEXT_CONTROLS) or sign == "\ufffd")
    return text if strange * 20 <= min(len(text), 4096) else None

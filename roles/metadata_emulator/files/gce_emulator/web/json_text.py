# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON of requests. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

# More than any request needs, and far below the limit of Python's recursion.
_DEEPEST = 100
# Escapes of surrogates. A pair is one character; a single one is none.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

_TOO_DEEP = f"It is nested more than {_DEEPEST} levels deep."


def parse_json(data: bytes) -> Any:
    """Parse a document. Raises ValueError with a sentence.

    Refused are also too deep nesting, too long numbers, and half of a surrogate pair, which cannot be encoded.
    """
    try:
        document = json.loads(data)
    except UnicodeDecodeError as error:
        raise ValueError(f"It is not UTF-8: {error}.") from None
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{error}.") from None
    except ValueError:
        raise ValueError("It has a number that is too long.") from None
    if data.count(b"[") + data.count(b"{") > _DEEPEST and _is_deep(document):
        raise ValueError(_TOO_DEEP)
    if _SURROGATE.search(data):
        try:
            json.dumps(document, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("It has half of a surrogate pair, which is not a character.") from None
    return document


def _is_deep(document: Any) -> bool:
    level = [document]
    for _unused in range(_DEEPEST):
        level = [
            below
            for node in level
            if isinstance(node, (dict, list))
            for below in (node.values() if isinstance(node, dict) else node)
        ]
    return any(isinstance(node, (dict, list)) for node in level)

# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON that somebody sent. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

# Deeper than anything that is meant, and far from what recursion over the document can take.
_DEEPEST = 100
# The escapes of surrogates. Two that belong together are one character; one alone is none.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

_TOO_DEEP = f"It is nested more than {_DEEPEST} levels deep."


def parse_json(data: bytes) -> Any:
    """The document; raises ValueError, whose text is a sentence, for whatever cannot be used or kept.

    Beside what is no JSON these are a document that is nested too deeply, a number that is too long, and half of a
    surrogate pair, which no answer could be encoded with.
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
            raise ValueError("It has half of a surrogate pair, which is no character.") from None
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

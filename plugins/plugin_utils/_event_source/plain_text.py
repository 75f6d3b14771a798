# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts of events that nothing evaluates. Pure.

Private to the collection: it may change at any time.

What `{{ event.summary }}` is in an argument of an action, Ansible takes for a template again, as it does with the
variable `ansible_eda`. So a VM could run code where the rulebook runs. ansible-rulebook also makes a value of a text
that is a literal of Python, such as '\\x7b' (with its quotes), so that it does not suffice to look for templates.
"""

from __future__ import annotations

from typing import Any

# Jinja and Python do not know the fullwidth forms. Before ansible-core 2.19, a line "#jinja2:" sets other delimiters.
_FULLWIDTH = {ord(character): ord(character) + 0xFEE0 for character in "{}\\#"}


def plain(value: Any) -> Any:
    """The value with texts that are no templates."""
    if isinstance(value, str):
        return value.translate(_FULLWIDTH)
    if isinstance(value, dict):
        return {plain(key): plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value

# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command that runs a task's playbook, with the event as data that Ansible does not template. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

PROGRAM = "ansible-playbook"


def command(playbook: str, event: Mapping[str, Any], phase: str) -> tuple[str, ...]:
    """The command that runs a playbook on localhost with the variables `gce_event` and `gce_event_phase`."""
    variables = f'{{"gce_event": {unsafe(event)}, "gce_event_phase": {unsafe(phase)}}}'
    # The trailing comma makes it a list of hosts instead of the path of an inventory.
    return (PROGRAM, "-i", "localhost,", "-c", "local", "-e", variables, playbook)


def unsafe(value: Any) -> str:
    """A JSON value as YAML that Ansible does not template.

    Extra variables are templates to Ansible, unless they are tagged
    (https://docs.ansible.com/ansible-core/devel/playbook_guide/playbooks_advanced_syntax.html#unsafe-strings). The tag
    stands before each mapping and list: before a mapping alone, ansible-core up to 2.18 loses the lists in it; before a
    scalar, it makes a time of a text that looks like one.
    """
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_quoted(str(key))}: {unsafe(below)}" for key, below in value.items())
        return f"!unsafe {{{inner}}}"
    if isinstance(value, (list, tuple)):
        return f"!unsafe [{', '.join(map(unsafe, value))}]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return _quoted(value)
    # YAML reads 1e-05 as a string.
    return f"{value:f}" if isinstance(value, float) else json.dumps(value)


def _quoted(text: str) -> str:
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    """A character in double quotes, by YAML's rules, which are not JSON's: no pairs of surrogates, no DEL."""
    number = ord(character)
    if 0xD800 <= number <= 0xDFFF:
        return r"\uFFFD"
    if character in '"\\':
        return f"\\{character}"
    return character if 0x20 <= number < 0x7F else f"\\U{number:08X}"

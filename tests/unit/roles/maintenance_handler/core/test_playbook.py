# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks get the event in a form that YAML parses and Ansible does not template."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from maintenance_handler.core.playbook import command, unsafe

ANSIBLE = Path(sys.executable).parent / "ansible-playbook"


class Loader(yaml.SafeLoader):
    """YAML as Ansible reads it, with the tag for data."""


def _construct_unsafe(loader: Loader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    assert isinstance(node, yaml.MappingNode), "the tag before a scalar changes its type"
    return loader.construct_mapping(node, deep=True)


Loader.add_constructor("!unsafe", _construct_unsafe)

# Lone ones are replaced.
NO_SURROGATES = st.characters(codec="utf-8")
TEXTS = st.text(NO_SURROGATES)
SCALARS = st.none() | st.booleans() | st.integers() | TEXTS | st.floats(0, 1e9).map(lambda number: round(number, 3))
# YAML has no longer keys in one line than 1024 characters; ours are names.
KEYS = st.text(NO_SURROGATES, max_size=20)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))


@given(VALUES)
@example("yes")
@example("2026-12-01T02:00:00Z")
@example("\x00\x7f\x85\u2028\ufeff\U0001f600\"\\'{{ 1 }}#: -")
def test_yaml_parses_the_same_value(value: Any) -> None:
    text = unsafe(value)
    assert text.isascii()
    assert text.isprintable()
    # Between quotes, as a mapping's value is.
    assert yaml.load(f'{{"x": {text}}}', Loader) == {"x": value}


def test_half_a_surrogate_pair_is_replaced() -> None:
    assert unsafe("a\ud800b") == r'"a\uFFFDb"'


def test_playbook_runs_on_localhost_with_the_event() -> None:
    *options, variables, playbook = command("/etc/drain.yml", {"name": "migrate"}, "drain")
    assert options == ["ansible-playbook", "-i", "localhost,", "-c", "local", "-e"]
    assert playbook == "/etc/drain.yml"
    assert yaml.load(variables, Loader) == {"gce_event": {"name": "migrate"}, "gce_event_phase": "drain"}


@pytest.mark.skipif(not ANSIBLE.exists(), reason="there is no ansible-playbook")
def test_templates_in_an_event_are_not_evaluated(tmp_path: Path) -> None:
    """Templates in every place of an event that can have a value."""
    trap = tmp_path / "executed"
    bad = f"{{{{ lookup('pipe', 'touch {trap}') }}}}{{% set x = lookup('pipe', 'touch {trap}') %}}"
    event = {"name": bad, "value": bad, "reasons": [bad, [bad], {"a": bad}], "more": {"deep": {"list": [bad]}}}
    shown = ("{{ gce_event }}", "{{ gce_event.value }} {{ gce_event.name }}", "{{ gce_event.reasons | join(' ') }}")
    tasks: list[dict[str, Any]] = [{"ansible.builtin.debug": {"msg": text}} for text in shown]
    tasks += [
        {"ansible.builtin.debug": {"var": "gce_event.more.deep.list[0]"}},
        {"ansible.builtin.debug": {"msg": "{{ item }}"}, "loop": "{{ gce_event.reasons }}"},
        {"ansible.builtin.set_fact": {"again": "{{ gce_event.value }} and more"}},
        {"ansible.builtin.debug": {"msg": "{{ again }}"}},
        {"ansible.builtin.command": {"argv": ["true", "{{ gce_event.value }}"]}},
        {"ansible.builtin.assert": {"that": "gce_event.value is search('lookup')"}},
        {"ansible.builtin.copy": {"content": "{{ gce_event | to_json }}", "dest": str(tmp_path / "told")}},
    ]
    playbook = tmp_path / "play.yml"
    playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    _program, *arguments = command(str(playbook), event, "drain")
    environ = {
        **os.environ,
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
    }
    result = subprocess.run(
        [ANSIBLE, *arguments], env=environ, cwd="/", capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert json.loads((tmp_path / "told").read_text()) == event
    assert not trap.exists()

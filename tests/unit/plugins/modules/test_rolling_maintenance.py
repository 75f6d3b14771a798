# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module rolling_maintenance, by its examples. tests/unit/playbooks tests it in the playbook."""

from __future__ import annotations

from typing import Any

from support.playbook import examples, run_play

WEB: dict[str, Any] = {"name": "Add hosts", "ansible.builtin.add_host": {"name": "{{ item }}", "groups": "web"}}


def test_the_examples_run() -> None:
    tasks = [{**WEB, "loop": ["web-2", "web-1"]}, *examples("modules", "rolling_maintenance")]
    status, output = run_play(tasks, environment={"PYTHONUNBUFFERED": "1"})
    assert status == 0, output
    # The canary comes first.
    assert output.index("1      web-1") < output.index("2      web-2")
    assert ": wait for the service" in output


def test_wrong_options_are_refused() -> None:
    for options, word in (
        ({"operation": "plan"}, "hosts"),
        ({"operation": "step", "step": "x"}, "module"),
        ({"operation": "plan", "hosts": [], "hours": ["22:00-04:00 Europe/Berlni"]}, "Europe/Berlni"),
        ({"operation": "plan", "hosts": [], "note": "two\nlines"}, "gce_reason"),
        ({"operation": "plan", "hosts": [], "canaries": ["wbe"]}, "gce_canaries"),
    ):
        status, output = run_play([{"name": "Try", "gce.guest.rolling_maintenance": options}], environment={})
        assert status != 0
        assert word in output
        assert "Traceback" not in output

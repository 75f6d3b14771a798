# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes a line of JSON for each task: its name, the seconds from its start to its result, and its message."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: durations
type: notification
short_description: Writes how long each task took
description: Writes a line of JSON for each task to the file in the environment variable DURATIONS.
"""


class CallbackModule(CallbackBase):  # type: ignore[misc] # Ansible has no types
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "durations"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._began = time.monotonic()

    def v2_runner_on_ok(self, result: Any) -> None:
        seconds = time.monotonic() - self._began
        line = {"task": result.task.get_name(), "seconds": seconds, "msg": result.result.get("msg")}
        with open(os.environ["DURATIONS"], "a", encoding="utf-8") as lines:
            lines.write(json.dumps(line) + "\n")

# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which systemctl commands wait for a job. Their detection is tested with the stop of a handler."""

from __future__ import annotations

import pytest

from maintenance_handler.io.systemctl import waits


@pytest.mark.parametrize(
    "command, does",
    [
        ("systemctl stop db.service", True),
        ("/usr/bin/systemctl --quiet restart db.service cache.service", True),
        ("systemctl -t service try-restart db", True),
        ("systemctl --no-block stop db.service", False),
        ("systemctl stop db.service --no-block", False),
        ("systemctl is-active db.service", False),
        ("systemctl kill db.service", False),
        ("systemctl", False),
        ("sh -c systemctl", False),
        ("vi stop", False),
        ("", False),
    ],
)
def test_commands_that_wait_for_a_job(command: str, does: bool) -> None:
    assert waits(command.encode().split(b" ")) is does

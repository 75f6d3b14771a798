# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `notify-test`."""

from __future__ import annotations

import argparse
import json
import subprocess

from ..core.likeness import did_you_mean
from ..io.notifier_process import command
from .cli_common import EXIT_FAILED, EXIT_OK, CommandError, print_lines, settings_of


def notify_test(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    targets = {target["name"]: target for target in settings.notify}
    if not targets:
        raise CommandError("there is no target: set maintenance_handler_notify")
    if options.target is not None:
        if options.target not in targets:
            hint = did_you_mean(options.target, targets)
            raise CommandError(f"there is no target {options.target!r}; there are {', '.join(targets)}{hint}")
        targets = {options.target: targets[options.target]}
    document = {
        "state_dir": str(settings.state_dir),
        "metadata_host": settings.metadata_host,
        "targets": list(targets.values()),
    }
    # By standard input: the settings have secrets, and other users can see arguments.
    with subprocess.Popen(command("test"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdin is None or process.stdout is None:
            raise CommandError("the notifier has no standard input")
        process.stdin.write(json.dumps(document) + "\n")
        process.stdin.close()
        print_lines(line.rstrip("\n") for line in process.stdout)
    return EXIT_OK if process.returncode == 0 else EXIT_FAILED

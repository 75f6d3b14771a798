# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `unlock`."""

from __future__ import annotations

import argparse

from ..io.request import UNLOCK, Request
from .asking import ask, unique, user
from .cli_common import EXIT_OK, print_lines, public_settings, read_status, settings_of


def unlock(options: argparse.Namespace) -> int:
    settings = settings_of(options, public_settings)
    ask(settings, read_status(settings), Request(UNLOCK, unique(UNLOCK), user(), holder=options.id))
    print_lines([f"{options.id} holds no slot"])
    return EXIT_OK

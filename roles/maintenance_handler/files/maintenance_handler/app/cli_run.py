# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands that the service runs: `run`, and `unpublish` once it is stopped."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from .._vm.guest_attributes import attribute_path
from .._vm.metadata_server import Limits, MetadataNotFound, MetadataServer
from ..io.journal import Journal, JournalError
from ..io.owner import become_owner
from ..io.publish import KEY, NAMESPACE
from . import config
from .cli_common import EXIT_OK, log_to_stderr, settings_of
from .config import Config, ConfigError
from .handler import Handler

# Seconds to try to delete the guest attribute.
UNPUBLISH_FOR = 5.0


def run(options: argparse.Namespace) -> int:
    try:
        settings = settings_of(options)
    except ConfigError as exc:
        return _restore_only(options.config, exc)
    with log_to_stderr(settings) as log:
        return Handler(settings, options.config, log).run()


def unpublish(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    try:
        server = MetadataServer(settings.metadata_host, limits=Limits(retry_for=UNPUBLISH_FOR))
        server.delete(attribute_path(NAMESPACE, KEY))
    except MetadataNotFound:
        print("The guest attribute does not exist.")
    return EXIT_OK


def _restore_only(path: Path, error: ConfigError) -> int:
    """Restore what the journal says is drained, without a configuration, and notify its valid targets.

    Raises the error if nothing is drained.
    """
    settings = config.without_file(path, os.environ, error.notify)
    if settings is None:
        raise error
    become_owner([settings.state_dir])
    if not _has_incident(settings):
        raise error
    with log_to_stderr(settings) as log:
        for problem in error.problems:
            log.error(problem)
        return Handler(settings, path, log).restore_only(error.problems)


def _has_incident(settings: Config) -> bool:
    try:
        entry = Journal(settings.state_dir).read()
    except JournalError:
        return False
    return entry is not None and entry.incident is not None

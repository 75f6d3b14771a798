# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The polls of the event source fleet.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from ...module_utils._compute.api import ComputeApi
from ...module_utils._compute.errors import (
    ComputeBadRequest,
    ComputeError,
    ComputeNotFound,
    CredentialsError,
    PermissionDenied,
)
from ...module_utils._compute.fleet_maintenance import history, read_fleet
from ...module_utils._compute.instances import zone_named
from .fleet_changes import FleetChanges
from .options import SourceError
from .poll import Poll

# What the first poll says of the configuration, and no retry changes.
_MISCONFIGURED = (ComputeBadRequest, ComputeNotFound, CredentialsError, PermissionDenied)

_log = logging.getLogger("gce.guest.fleet")


class FleetPoller:
    """The polls of a project, and the events in what changed since the last one. `options` are those of the source."""

    def __init__(self, api: ComputeApi, options: Mapping[str, Any], changes: FleetChanges) -> None:
        self._api = api
        self._options = options
        self._changes = changes
        self._has_answer = False

    def events(self) -> list[dict[str, Any]]:
        """Poll once. Raises SourceError only before the first answer."""
        try:
            poll = self._poll()
            self._has_answer = True
            return self._changes.polled(poll, time.time())
        except ComputeError as error:
            if not self._has_answer and isinstance(error, _MISCONFIGURED):
                raise SourceError(str(error)) from None
            problem = str(error)
        except Exception as error:
            # Whatever the API says, the source must neither end nor become deaf.
            problem = f"{type(error).__name__}: {error}"
        _log.warning("%s", problem)
        return self._changes.failed(problem, time.time())

    def _poll(self) -> Poll:
        api, options = self._api, self._options
        api.unreachables.clear()
        api.warnings.clear()
        zone = None if options["zone"] is None else zone_named(api, options["zone"])
        fleet = read_fleet(api, options["kinds"], zone, options["filter"])
        problems = len(api.warnings) - len(api.unreachables)
        missing = dict.fromkeys(api.unreachables, "The zone could not be reached.")
        missing.update((kind, str(error)) for kind, error in fleet.denied.items())
        if problems > 0:
            missing["list"] = api.warnings[0]
        operations = self._operations(zone, missing) if options["operations"] else []
        instances = None if options["filter"] is None else fleet.instances
        return Poll(fleet.announcements, missing, problems > 0, operations, instances)

    def _operations(self, zone: str | None, missing: dict[str, str]) -> list[dict[str, Any]]:
        try:
            return history(self._api, zone, 0.0)
        except ComputeError as error:
            missing["operations"] = str(error)
            return []

# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metadata that all instances of a project share: the project's own, and that of each zone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from . import default_tree, tree
from .clock import Clock
from .fleet import Fleet
from .guest_metadata import PROJECT_ATTRIBUTES, GuestMetadata
from .propagation import PropagatedMetadata
from .values import attributes_at, replace_attributes, write


class ProjectMetadata:
    """`tree` is `project/` without the zones' metadata, `view(zone)` what the guests of a zone see."""

    def __init__(self, fleet: Fleet, clock: Clock) -> None:
        self.fleet = fleet
        self.clock = clock
        self.tree = default_tree.project(fleet)
        self._root = tree.directory({"project": self.tree})
        self.metadata = PropagatedMetadata(clock, self._seen_attributes, self._show_attributes)
        # By zone: its metadata as guests see it, its metadata as the API has it, and `project/` of its guests.
        self._zonal_attributes: dict[str, Mapping[str, str]] = dict(fleet.zonal_attributes)
        self._zonal_metadata: dict[str, PropagatedMetadata] = {}
        self._views: dict[str, tree.Directory] = {}

    def guests(self) -> list[GuestMetadata]:
        """Everyone who sees this metadata."""
        raise NotImplementedError

    @property
    def attributes(self) -> dict[str, str]:
        """A copy of the project's custom metadata, as the API has it."""
        return self.metadata.attributes

    def zonal_metadata(self, zone: str) -> PropagatedMetadata:
        """The custom metadata of a zone."""
        if zone not in self._zonal_metadata:
            self._zonal_metadata[zone] = PropagatedMetadata(
                self.clock,
                lambda: self._zonal_attributes.get(zone, {}),
                lambda attributes: self._show_zonal_attributes(zone, attributes),
            )
        return self._zonal_metadata[zone]

    def view(self, zone: str) -> tree.Directory:
        """`project/` as the guests of a zone see it; always the same node."""
        if zone not in self._views:
            self._views[zone] = tree.directory({})
            self._refresh_view(zone)
        return self._views[zone]

    def set(self, path: str, value: Any) -> None:
        """Set a leaf below `project/`. Raises BadValue."""
        self.metadata.settle()
        write(self._root, path, value)
        self._changed(path)

    def remove(self, path: str) -> bool:
        """Remove a leaf or a directory below `project/`; False without one."""
        self.metadata.settle()
        removed = tree.remove(self._root, path)
        if removed:
            self._changed(path)
        return removed

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Make several changes visible to guests as one."""
        with contextlib.ExitStack() as stack:
            for guest in self.guests():
                stack.enter_context(guest.changing())
            yield

    def reset_metadata(self) -> None:
        """Go back to the fleet file's metadata. The caller reports the change."""
        self.metadata.settle()
        for metadata in self._zonal_metadata.values():
            metadata.settle()
        self.tree.entries = default_tree.project(self.fleet).entries
        self._zonal_attributes = dict(self.fleet.zonal_attributes)
        self._refresh_views()

    def _seen_attributes(self) -> dict[str, str]:
        return attributes_at(self.tree.entries.get("attributes"))

    def _show_attributes(self, attributes: Mapping[str, str]) -> None:
        with self.changing():
            replace_attributes(self, PROJECT_ATTRIBUTES, self._seen_attributes(), attributes)

    def _show_zonal_attributes(self, zone: str, attributes: Mapping[str, str]) -> None:
        keys = {*self._zonal_attributes.get(zone, {}), *attributes}
        self._zonal_attributes[zone] = attributes
        self._refresh_view(zone)
        for guest in self.guests():
            if guest.spec.zone == zone:
                with guest.changing():
                    for key in keys:
                        guest.changed(f"{PROJECT_ATTRIBUTES}/{key}")

    def _refresh_views(self) -> None:
        for zone in self._views:
            self._refresh_view(zone)

    def _refresh_view(self, zone: str) -> None:
        # Without a view, no guest of the zone was queried yet.
        if zone in self._views:
            default_tree.place_zonal(self._views[zone], self.tree, self._zonal_attributes.get(zone, {}))

    def _changed(self, path: str) -> None:
        self._refresh_views()
        for guest in self.guests():
            guest.changed(path)

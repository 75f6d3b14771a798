# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metadata tree that one guest sees.

Everything that a guest can read is kept in this tree: attributes, scheduling, the maintenance event, the announced
window, guest attributes. The properties read and write it, so a change through one face shows on the others at once.

Paths are relative to `/computeMetadata/v1/`: `instance/maintenance-event`, `project/attributes/foo`.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Callable

from . import default_tree, tree
from .booleans import is_true_metadata
from .fleet import InstanceSpec
from .propagation import PropagatedMetadata
from .upcoming import UpcomingMaintenance
from .values import BadValue, attributes_at, replace_attributes, write

if TYPE_CHECKING:
    from .project import Project

MAINTENANCE_EVENT = "instance/maintenance-event"
UPCOMING_MAINTENANCE = "instance/upcoming-maintenance"
PREEMPTED = "instance/preempted"
DRIFT_TOKEN = "instance/virtual-clock/drift-token"
ATTRIBUTES = "instance/attributes"
GUEST_ATTRIBUTES = "instance/guest-attributes"
PROJECT_ATTRIBUTES = "project/attributes"
TAGS = "instance/tags"

MIGRATE, TERMINATE, NO_EVENT = "MIGRATE_ON_HOST_MAINTENANCE", "TERMINATE_ON_HOST_MAINTENANCE", "NONE"


class GuestMetadata:
    """The tree, its values, and listeners to its changes. `root` is a new object after `forget_tree`."""

    def __init__(self, project: Project, spec: InstanceSpec) -> None:
        self.project = project
        self.spec = spec
        # Built on first use: most instances of a fleet of thousands are never queried.
        self._root: tree.Directory | None = None
        self.metadata = PropagatedMetadata(project.clock, self._seen_attributes, self._show_attributes)
        self._change_listeners: list[Callable[[str], None]] = []
        self._batch: dict[str, None] | None = None

    @property
    def root(self) -> tree.Directory:
        if self._root is None:
            self._root = self.make_tree()
        return self._root

    def make_tree(self) -> tree.Directory:
        """A new tree, as the fleet file describes it."""
        raise NotImplementedError

    def forget_tree(self) -> None:
        """Go back to the tree of the fleet file. The caller reports the change."""
        self.metadata.settle()
        self._root = None

    # Any value

    def find(self, path: str) -> tree.Node | None:
        """The node at `instance/disks/0`, or None."""
        return tree.find(self.root, path)

    def get(self, path: str) -> Any:
        """The value of a leaf; None without one."""
        node = self.find(path)
        return node.value if isinstance(node, tree.Leaf) else None

    def set(self, path: str, value: Any) -> None:
        """Set a leaf, and create the directories above it. Raises BadValue.

        Strings, whole numbers and lists of strings; a boolean becomes TRUE or FALSE. `instance/upcoming-maintenance`
        takes an object in any of its spellings, or None.
        """
        if path.startswith("project/"):
            self.project.set(path, value)
            return
        if path == UPCOMING_MAINTENANCE and (value is None or isinstance(value, dict)):
            try:
                self.upcoming_maintenance = None if value is None else UpcomingMaintenance.from_mapping(value)
            except ValueError as error:
                raise BadValue(f"{path}: {error}") from None
            return
        self._settle(path)
        write(self.root, path, value)
        self.changed(path)

    def remove(self, path: str) -> bool:
        """Remove a leaf or a directory; False without one."""
        if path.startswith("project/"):
            return self.project.remove(path)
        self._settle(path)
        removed = tree.remove(self.root, path)
        if removed:
            self.changed(path)
        return removed

    # Changes

    def on_change(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with the path of each change in this tree, project metadata included."""
        self._change_listeners.append(listener)

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Make several changes visible as one: listeners are called at the end."""
        if self._batch is not None:
            yield
            return
        self._batch = {}
        try:
            yield
        finally:
            paths, self._batch = self._batch, None
            for path in paths:
                self.changed(path)

    def changed(self, path: str) -> None:
        """Report a change at `path`, or of everything (an empty path)."""
        if self._batch is not None:
            self._batch[path] = None
            return
        for listener in self._change_listeners:
            listener(path)

    # Attributes

    @property
    def attributes(self) -> dict[str, str]:
        """A copy of the instance's custom metadata, as the API has it."""
        return self.metadata.attributes

    def effective_attribute(self, key: str) -> str | None:
        """The instance's value, else the zone's, else the project's, as the guest sees them."""
        for directory in (ATTRIBUTES, PROJECT_ATTRIBUTES):
            value = self.get(f"{directory}/{key}")
            if value is not None:
                return str(value)
        return None

    def is_enabled(self, key: str) -> bool:
        """Whether a boolean attribute is true: TRUE, Y, Yes or 1, in any case."""
        return is_true_metadata(self.effective_attribute(key) or "")

    @property
    def guest_attributes(self) -> dict[str, dict[str, str]]:
        """A copy, by namespace and key."""
        node = self.find(GUEST_ATTRIBUTES)
        spaces = node.entries if isinstance(node, tree.Directory) else {}
        return {namespace: attributes_at(entries) for namespace, entries in spaces.items()}

    @property
    def tags(self) -> list[str]:
        """A copy of the network tags."""
        tags = self.get(TAGS)
        return list(tags) if isinstance(tags, list) else []

    @tags.setter
    def tags(self, tags: list[str]) -> None:
        self.set(TAGS, tags)

    # Announcements

    @property
    def maintenance_event(self) -> str:
        return str(self.get(MAINTENANCE_EVENT))

    @maintenance_event.setter
    def maintenance_event(self, event: str) -> None:
        self.set(MAINTENANCE_EVENT, event)

    @property
    def preempted(self) -> bool:
        return bool(self.get(PREEMPTED) == "TRUE")

    @preempted.setter
    def preempted(self, preempted: bool) -> None:
        self.set(PREEMPTED, preempted)

    @property
    def upcoming_maintenance(self) -> UpcomingMaintenance | None:
        """The announced window in its normal form, or None."""
        value = self.get(UPCOMING_MAINTENANCE)
        return value.window if isinstance(value, tree.Announcement) else None

    @upcoming_maintenance.setter
    def upcoming_maintenance(self, window: UpcomingMaintenance | None) -> None:
        if window is None:
            default_tree.place_no_upcoming(self.root, self.spec)
        else:
            default_tree.place_upcoming(self.root, tree.Announcement(window, self.spec.upcoming_maintenance_style))
        self.changed(UPCOMING_MAINTENANCE)

    def drift_clock(self) -> None:
        """Change `virtual-clock/drift-token`, as a migration does: the guest's clock may have jumped."""
        self.set(DRIFT_TOKEN, str(secrets.randbelow(2**63)))

    # Metadata that the API writes

    def _seen_attributes(self) -> dict[str, str]:
        return attributes_at(self.find(ATTRIBUTES))

    def _show_attributes(self, attributes: Mapping[str, str]) -> None:
        with self.changing():
            replace_attributes(self, ATTRIBUTES, self._seen_attributes(), attributes)

    def _settle(self, path: str) -> None:
        # A value set by hand follows what the API wrote before.
        if path.startswith(ATTRIBUTES):
            self.metadata.settle()

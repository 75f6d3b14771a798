# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A recipe's record of its own changes, so that restore reverts nothing else. It is on disk before a change is made."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote
from zlib import crc32

from maintenance_handler.core.recipe import RECORDS
from maintenance_handler.io.files import read_own, write_whole

DEFAULT_RECORDS = "/var/lib/gce-maintenance-handler/recipes"

# What a file's name may have, less what `write_whole` puts around it.
_LONGEST = 200


class Record:
    """A JSON object on disk: for each object that the recipe changed, its state before.

    As a context, it is locked: of two runs of one recipe, the second waits for the first. Whoever wants to wait for a
    limited time calls `lock` first.
    """

    def __init__(self, path: Path, machine: str, *, locked: bool = True) -> None:
        self.path = path
        self._machine = machine
        self._locked = locked
        self._lock: int | None = None

    @classmethod
    def of(cls, identity: str, environ: Mapping[str, str], *, locked: bool) -> Record:
        """The record of a recipe with these parameters, where the handler keeps it."""
        name = quote(identity, safe="@:,")
        if len(name) > _LONGEST:
            name = f"{name[: _LONGEST - 9]}-{crc32(identity.encode()):08x}"
        return cls(records(environ) / f"{name}.json", _machine(), locked=locked)

    def __enter__(self) -> Record:
        if self._locked:
            fcntl.flock(self._lock_file(), fcntl.LOCK_EX)
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def lock(self) -> bool:
        """Lock it without waiting. Returns whether that was possible; it is if this record needs no lock."""
        if self._locked:
            try:
                fcntl.flock(self._lock_file(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    def __contains__(self, key: str) -> bool:
        return key in self._read()

    def get(self, key: str) -> Any:
        """The state of an object before its change; None if the recipe has not changed it."""
        return self._read().get(key)

    def keys(self) -> list[str]:
        return list(self._read())

    def note(self, key: str, before: Any) -> None:
        """Record the state of an object before changing it. It is on disk when this returns."""
        self._write({**self._read(), key: before})

    def forget(self, key: str) -> None:
        """Remove an entry, once the object is restored or was changed by others."""
        kept = self._read()
        if key in kept:
            del kept[key]
            self._write(kept)

    def make_folder(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    def other_host(self) -> str:
        """The host whose changes are in the record, if it has this machine ID and another name; otherwise "".

        It is this VM before its host name was changed, or the VM whose image this one was created from.
        """
        machine, changed = self._content()
        own_id, _space, own_host = self._machine.partition(" ")
        machine_id, _space, host = machine.partition(" ")
        return host if changed and machine_id == own_id and host != own_host else ""

    def _lock_file(self) -> int:
        if self._lock is None:
            self.make_folder()
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._lock = os.open(self.path.with_suffix(".lock"), flags, 0o600)
        return self._lock

    def _read(self) -> dict[str, Any]:
        machine, changed = self._content()
        # An image of a drained VM has the record of another VM.
        return changed if machine == self._machine else {}

    def _content(self) -> tuple[str, dict[str, Any]]:
        """The machine that has written the record, and its changes."""
        try:
            found = json.loads(read_own(self.path))
            return _with_short_name(str(found["machine"])), dict(found["changed"])
        except FileNotFoundError:
            return "", {}
        except (ValueError, KeyError, TypeError, RecursionError):
            # Records are written atomically, so this is not one of them: no change is known.
            return "", {}

    def _write(self, changed: Mapping[str, Any]) -> None:
        document = {"machine": self._machine, "changed": changed}
        write_whole(self.path, json.dumps(document, indent=1).encode(), durable=True)


def records(environ: Mapping[str, str]) -> Path:
    return Path(environ.get(RECORDS) or DEFAULT_RECORDS)


def _machine() -> str:
    try:
        machine_id = Path("/etc/machine-id").read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        machine_id = ""
    return _with_short_name(f"{machine_id} {socket.gethostname()}")


def _with_short_name(machine: str) -> str:
    """Without the domain: while a VM starts, DHCP changes its host name from the short to the full one, or back."""
    machine_id, _space, host = machine.partition(" ")
    return f"{machine_id} {host.partition('.')[0]}"

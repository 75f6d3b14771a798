# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file in which the source guest keeps what it knows across a restart of the rulebook.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...module_utils._vm.maintenance import Stop, Window
from ...module_utils._vm.signal_values import Value
from .guest_signals import Known
from .options import SourceError

_FORMAT = 1
_LONGEST = 64 * 1024
_FIELDS: dict[str, tuple[type[Any], ...]] = {
    "start": (float, int),
    "end": (float, int),
    "latest_start": (float, int),
    "requested": (float, int),
    "max_duration": (float, int),
    "status": (str,),
    "type": (str,),
    "state": (str,),
    "target_state": (str,),
    "can_reschedule": (bool,),
}


@dataclass
class State:
    """`instance_id` and `boot_id` say what it is about; `was_stopped`, whether the source ended in order."""

    instance_id: str | None = None
    boot_id: str | None = None
    was_stopped: bool = False
    etags: dict[str, str] = field(default_factory=dict)
    known: Known = field(default_factory=Known)


class StateFile:
    """Raises SourceError if the directory cannot be written to."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        try:
            with tempfile.TemporaryFile(dir=self._path.parent):
                pass
        except OSError as error:
            raise SourceError(f"state_file cannot be written in {self._path.parent}: {error.strerror}.") from None
        if self._path.is_dir():
            raise SourceError(f"state_file {self._path} is a directory.")

    def read(self) -> State:
        """What was written last; an empty state if there is none, or if it cannot be read."""
        try:
            with self._path.open("rb") as file:
                return _state(json.loads(file.read(_LONGEST)))
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return State()

    def write(self, state: State) -> None:
        """Replace the file as a whole. Raises OSError."""
        descriptor, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                json.dump(_document(state), file)
            os.replace(name, self._path)
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise


def _document(state: State) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "instance_id": state.instance_id,
        "boot_id": state.boot_id,
        "was_stopped": state.was_stopped,
        "etags": dict(state.etags),
        "values": {key: _written(value) for key, value in state.known.values.items()},
        "is_begun": state.known.is_begun,
        "token": state.known.token,
    }


def _state(raw: Any) -> State:
    if raw["format"] != _FORMAT:
        return State()
    known = Known({str(key): _read(value) for key, value in raw["values"].items()}, raw["is_begun"] is True)
    known.token = _text(raw["token"])
    etags = {str(key): str(etag) for key, etag in raw["etags"].items()}
    return State(_text(raw["instance_id"]), _text(raw["boot_id"]), raw["was_stopped"] is True, etags, known)


def _written(value: Value) -> Any:
    if isinstance(value, (Window, Stop)):
        return {"kind": type(value).__name__, **vars(value)}
    return value


def _read(value: Any) -> Value:
    if value is None or isinstance(value, str):
        return value
    fields = {name: each for name, each in value.items() if name in _FIELDS and isinstance(each, _FIELDS[name])}
    if value["kind"] == "Stop":
        return Stop(**fields)
    fields.setdefault("start", None)
    return Window(**fields, reasons=tuple(map(str, value["reasons"])))


def _text(value: Any) -> str | None:
    return None if value is None else str(value)

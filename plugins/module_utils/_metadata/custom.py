# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Custom metadata: as a dictionary, as the Compute API's list, and how to change it. Pure.

Private to the collection: it may change at any time. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from .owned_keys import owned
from .secrets import REDACTED, is_secret_item
from .text import LARGEST_VALUE, as_text

# In a diff, the new value of a secret that changes.
REDACTED_CHANGE = "[redacted, another value]"

# Patterns of keys that people and tools other than a play write.
KEPT_KEYS = ("ssh-keys", "sshKeys", "windows-keys")

# https://cloud.google.com/compute/docs/metadata/setting-custom-metadata#limitations
LARGEST_TOTAL = 512 * 1024


# Keys of scripts for Linux, and of user data, which cloud-init runs if it begins like a script.
# https://cloud.google.com/compute/docs/instances/startup-scripts/linux
_LINUX_SCRIPTS = {"startup-script", "shutdown-script", "configure-sh"}
_MAYBE_SCRIPTS = {"user-data"}
_BYTE_ORDER_MARK = "\ufeff"

_KEY = re.compile(r"[A-Za-z0-9_-]{1,128}")


class CustomMetadataError(Exception):
    """Invalid custom metadata; str() is a sentence without the value."""


def as_items(values: Mapping[str, Any]) -> list[dict[str, str]]:
    """A dictionary as the API's list, in the same order. Numbers and booleans become text."""
    return [{"key": _checked(key), "value": _text(key, value)} for key, value in values.items()]


def as_dict(items: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The API's list as a dictionary, in the same order."""
    values: dict[str, str] = {}
    for item in items:
        if not isinstance(item, Mapping) or not isinstance(item.get("key"), str):
            raise CustomMetadataError("An item of custom metadata has to be a dictionary with key and value.")
        key = _checked(item["key"])
        if key in values:
            raise CustomMetadataError(f"The items of custom metadata have the key {key!r} twice.")
        values[key] = _text(key, item.get("value", ""))
    return values


def texts_of(values: Mapping[str, Any]) -> dict[str, str]:
    """The values as text, in the same order. Raises CustomMetadataError."""
    texts = {_checked(key): _text(key, value) for key, value in values.items()}
    for key, text in texts.items():
        size = _size(key, text)
        if size > LARGEST_VALUE:
            raise CustomMetadataError(f"The value of {key!r} has {size} bytes, but may have {LARGEST_VALUE} at most.")
    return texts


def script_warnings(values: Mapping[str, str]) -> list[str]:
    """Warnings about scripts for Linux that the API accepts but Linux cannot run, as editors on Windows save them."""
    warnings = []
    for key, value in values.items():
        text = value.lstrip(_BYTE_ORDER_MARK)
        if key not in _LINUX_SCRIPTS and not (key in _MAYBE_SCRIPTS and text.startswith("#!")):
            continue
        if "\r\n" in text:
            warnings.append(
                f"{key} has Windows line ends (CRLF), with which Linux finds neither the script's interpreter nor its "
                "commands. Convert it, such as with dos2unix, or with the filter replace('\\r\\n', '\\n')."
            )
        if text != value:
            warnings.append(
                f"{key} begins with a byte order mark, so that Linux does not recognize it as a script. Remove it."
            )
    return warnings


@dataclass(frozen=True)
class MetadataChange:
    """Current and planned custom metadata."""

    before: Mapping[str, str]
    after: Mapping[str, str]

    @property
    def changed(self) -> bool:
        return bool(self.written or self.deleted)

    @property
    def written(self) -> list[str]:
        """The keys that are added or get another value."""
        return [key for key, value in self.after.items() if self.before.get(key) != value]

    @property
    def deleted(self) -> list[str]:
        return [key for key in self.before if key not in self.after]

    def diff(self, patterns: Sequence[str | re.Pattern[str]], *, show_secrets: bool) -> dict[str, dict[str, str]]:
        """Both sides for Ansible's diff. Secrets are redacted; whether they change is visible."""

        def shown(key: str, value: str, old: str | None) -> str:
            # Of a secret and the ordinary value that replaces it, only the latter is shown.
            if show_secrets or not is_secret_item(key, value, patterns):
                return value
            return REDACTED if old in (None, value) else REDACTED_CHANGE

        return {
            "before": {key: shown(key, value, None) for key, value in self.before.items()},
            "after": {key: shown(key, value, self.before.get(key)) for key, value in self.after.items()},
        }


def plan(
    current: Mapping[str, str],
    wanted: Mapping[str, str],
    *,
    present: bool = True,
    purge: bool = False,
    purge_owned: bool = False,
    keep: Collection[str] = KEPT_KEYS,
) -> MetadataChange:
    """The change that sets the wanted values, or removes the wanted keys if not `present`.

    `purge` removes all other keys, except those that match `keep`, and those of Google's services unless `purge_owned`.
    Existing keys keep their order, new keys follow. Raises CustomMetadataError if the metadata becomes too large.
    """

    # Services are recognized by the keys after the change, so that a second run agrees.
    theirs = set() if purge_owned else owned({*current, *wanted} if present else current.keys() - wanted.keys())

    def stays(key: str) -> bool:
        if key in wanted:
            return present
        return not purge or key in theirs or any(fnmatchcase(key, pattern) for pattern in keep)

    after = {key: value for key, value in current.items() if stays(key)}
    if present:
        after.update(wanted)
    result = MetadataChange(dict(current), after)
    refuse_too_large(result)
    return result


def refuse_too_large(change: MetadataChange) -> None:
    """Raises CustomMetadataError if a change makes a value or the whole metadata too large."""
    after = change.after
    texts_of({key: after[key] for key in change.written})
    total = sum(_size(key, value) + len(key) for key, value in after.items())
    # Metadata that is already too large may shrink, and may stay as it is.
    if change.written and total > LARGEST_TOTAL:
        raise CustomMetadataError(
            f"The custom metadata would have {total} bytes, keys and values together, but may have {LARGEST_TOTAL} at "
            "most."
        )


def merged(layers: Mapping[str, Mapping[str, str]]) -> dict[str, tuple[str, str]]:
    """For each key, in order, the value and the name of the first layer that has it."""
    found: dict[str, tuple[str, str]] = {}
    for name, layer in layers.items():
        for key, value in layer.items():
            found.setdefault(key, (value, name))
    return dict(sorted(found.items()))


def _size(key: str, value: str) -> int:
    try:
        return len(value.encode())
    except UnicodeEncodeError:
        raise CustomMetadataError(f"The value of {key!r} is not Unicode text and cannot be sent.") from None


def _checked(key: Any) -> str:
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise CustomMetadataError(
            f"{key!r} is not a key of custom metadata, which has up to 128 letters, digits, '_' and '-'."
        )
    return key


def _text(key: str, value: Any) -> str:
    text = as_text(value)
    if text is not None:
        return text
    if isinstance(value, float):
        raise CustomMetadataError(f"The value of {key!r} is {value}, not a finite number. Quote it if it is meant so.")
    raise CustomMetadataError(
        f"The value of {key!r} is neither text nor a number nor a boolean. Make it text, such as with to_json."
    )

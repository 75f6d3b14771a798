# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Methods of instances about labels and network tags: setLabels, setTags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..state import errors
from ..state.errors import ApiError
from .calls import INSTANCE, Calls
from .operations import OperationError
from .request import Answer, ApiRequest, Routes
from .resources import instance_path, labels_fingerprint, tags_fingerprint

_MOST = 64
_TAG = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")
_LABELS_CHANGED = (
    "Labels fingerprint either invalid or resource labels have changed. Please fetch the latest labels and try again."
)
_ONLY_CONTAIN = (
    "only contain lowercase letters, numeric characters, underscores and dashes. It can be at most 63 characters long. "
    "International characters are allowed."
)
_TAGS_CHANGED = "Supplied fingerprint does not match current tags fingerprint."


class MarkMethods:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def routes(self) -> Routes:
        return [
            ("POST", INSTANCE + "/setLabels", self.set_labels),
            ("POST", INSTANCE + "/setTags", self.set_tags),
        ]

    async def set_labels(self, request: ApiRequest) -> Answer:
        instance = self._calls.instance_of(request)
        replayed = self._calls.replayed(request, "setLabels", instance_path(instance))
        if replayed is not None:
            return replayed
        body = request.read_object()
        labels = _labels(body.get("labels") or {})
        fingerprint = body.get("labelFingerprint", "")
        if fingerprint != labels_fingerprint(instance):
            raise ApiError(412, "conditionNotMet", _LABELS_CHANGED, location="If-Match", locationType="header")

        async def work() -> OperationError | None:
            if fingerprint != labels_fingerprint(instance):
                return OperationError("CONDITION_NOT_MET", _LABELS_CHANGED, 412, "PRECONDITION FAILED")
            instance.labels = labels
            return None

        return self._calls.start_on(instance, request, "setLabels", work)

    async def set_tags(self, request: ApiRequest) -> Answer:
        instance = self._calls.instance_of(request)
        replayed = self._calls.replayed(request, "setTags", instance_path(instance))
        if replayed is not None:
            return replayed
        body = request.read_object()
        tags = _tags(body.get("items") or [])
        fingerprint = body.get("fingerprint", "")
        if fingerprint != tags_fingerprint(instance):
            raise ApiError(412, "conditionNotMet", _TAGS_CHANGED, location="If-Match", locationType="header")

        async def work() -> OperationError | None:
            if fingerprint != tags_fingerprint(instance):
                return OperationError("CONDITION_NOT_MET", _TAGS_CHANGED, 412, "PRECONDITION FAILED")
            instance.tags = tags
            return None

        return self._calls.start_on(instance, request, "setTags", work)


def _labels(given: Any) -> dict[str, str]:
    if not isinstance(given, Mapping):
        raise errors.invalid("labels", str(given), "Must be a map.")
    for key, value in given.items():
        if not _is_label(key) or not key[0].isalpha():
            raise errors.invalid("labels", key, f"The key must start with a lowercase character, can {_ONLY_CONTAIN}")
        if not isinstance(value, str) or not (value == "" or _is_label(value)):
            raise errors.invalid("labels", str(value), f"The value can {_ONLY_CONTAIN}")
    if len(given) > _MOST:
        raise errors.invalid("labels", str(len(given)), f"Must be at most {_MOST} labels.")
    return dict(given)


def _is_label(text: str) -> bool:
    return 1 <= len(text) <= 63 and text == text.lower() and re.fullmatch(r"[\w-]+", text) is not None


def _tags(given: Any) -> list[str]:
    if not isinstance(given, list):
        raise errors.invalid("tags.items", str(given), "Must be a list.")
    for number, tag in enumerate(given):
        if not isinstance(tag, str) or not _TAG.fullmatch(tag):
            raise errors.invalid(f"tags.items[{number}]", str(tag), f"Must be a match of regex '(?:{_TAG.pattern})'")
    if len(given) > _MOST:
        raise errors.invalid("tags.items", str(len(given)), f"Must be at most {_MOST} tags.")
    # Sorted, as the API returns them.
    return sorted(set(given))

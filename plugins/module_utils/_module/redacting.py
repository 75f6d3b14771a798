# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module that redacts its arguments in what it returns.

Private to the collection: it may change at any time. Apart from argument specs, so that only modules that take secrets
ship it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .._metadata.secrets import REDACTED


class RedactingModule(AnsibleModule):  # type: ignore[misc] # Ansible has no types
    """A module that does not return the values of some options, not even when it refuses its options.

    Unknown options are redacted as well: one of them may be a misspelt secret option.
    """

    def __init__(self, *options: str, **specification: Any) -> None:
        self._options = options  # first, since super() refuses invalid options
        super().__init__(**specification)

    def exit_json(self, **result: Any) -> None:
        super().exit_json(**self._redacted(result))

    def fail_json(self, msg: str, **result: Any) -> None:
        super().fail_json(msg, **self._redacted(result))

    def _redacted(self, result: dict[str, Any]) -> dict[str, Any]:
        open_options = self.argument_spec.keys() - set(self._options)
        shown = {name: value if name in open_options else _hidden(value) for name, value in self.params.items()}
        return {"invocation": {"module_args": shown}, **result}


def _hidden(value: Any) -> Any:
    return dict.fromkeys(value, REDACTED) if isinstance(value, Mapping) else value and REDACTED

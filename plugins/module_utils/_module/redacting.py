# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module that does not tell what it was called with, where that may hold secrets.

Private to the collection: it may change at any time. Apart from _module.py, so that only those modules carry it along
that are called with values which people choose.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from .._metadata.secrets import REDACTED


class DiscreetModule(AnsibleModule):  # type: ignore[misc] # Ansible has no types
    """A module that does not repeat the values of some options, not even when it refuses its options.

    Nor does it repeat options that it does not have: the one that counts may be among them, misspelt.
    """

    def __init__(self, *options: str, **specification: Any) -> None:
        self._options = options  # first, as the rest refuses bad options
        super().__init__(**specification)

    def exit_json(self, **result: Any) -> NoReturn:
        super().exit_json(**self._discreet(result))
        raise SystemExit  # never, but for those who check types

    def fail_json(self, msg: str, **result: Any) -> NoReturn:
        super().fail_json(msg, **self._discreet(result))
        raise SystemExit

    def _discreet(self, result: dict[str, Any]) -> dict[str, Any]:
        open_options = self.argument_spec.keys() - set(self._options)
        shown = {name: value if name in open_options else _hidden(value) for name, value in self.params.items()}
        return {"invocation": {"module_args": shown}, **result}


def _hidden(value: Any) -> Any:
    return dict.fromkeys(value, REDACTED) if isinstance(value, Mapping) else value and REDACTED

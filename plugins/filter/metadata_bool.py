# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: metadata_bool
short_description: Convert a value of custom metadata to a boolean as Compute Engine does
version_added: 0.1.0
description:
  - Converts V(TRUE), V(Y), V(Yes) and V(1) to V(true), and V(FALSE), V(N), V(No) and V(0) to V(false). Case does not
    matter.
  - Unlike P(ansible.builtin.bool#filter), it accepts no other text, such as V(on) or an empty text, since Compute
    Engine does not.
author:
  - The gce.guest authors (@gce-guest)
positional: default
options:
  _input:
    description: The value. Booleans are returned unchanged.
    type: raw
    required: true
  default:
    description:
      - The result for any other value. Without a default, other values are an error.
    type: raw
seealso:
  - plugin: gce.guest.metadata
    plugin_type: lookup
  - name: Boolean values of custom metadata
    description: The values that Compute Engine accepts as booleans.
    link: https://cloud.google.com/compute/docs/metadata/setting-custom-metadata
"""

EXAMPLES = r"""
- name: Show whether OS Login is on
  ansible.builtin.debug:
    msg: "{{ 'TRUE' | gce.guest.metadata_bool }}"

- name: Do something where guest attributes are enabled
  ansible.builtin.debug:
    msg: Guest attributes are enabled.
  when: lookup('gce.guest.metadata', 'instance/attributes/enable-guest-attributes', default='FALSE')
    | gce.guest.metadata_bool(default=false)
"""

RETURN = r"""
_value:
  description: The boolean, or O(default).
  type: raw
  sample: true
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.gce.guest.plugins.module_utils._metadata.text import as_bool

NO_DEFAULT = object()


def metadata_bool(value: Any, default: Any = NO_DEFAULT) -> Any:
    result = as_bool(value)
    if result is not None:
        return result
    if default is NO_DEFAULT:
        # Without the value, which may be a secret.
        raise AnsibleFilterError(
            "The value is none of TRUE, Y, Yes, 1, FALSE, N, No and 0. Set a default if it may be something else."
        )
    return default


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"metadata_bool": metadata_bool}

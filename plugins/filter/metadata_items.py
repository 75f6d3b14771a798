# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: metadata_items
short_description: Convert a dictionary to the Compute API's list of custom metadata
version_added: 0.1.0
description:
  - The Compute API, and tools that take its structures, have custom metadata as a list of keys and values. This filter
    creates such a list.
author:
  - The gce.guest authors (@gce-guest)
options:
  _input:
    description:
      - Keys and their values. Booleans become V(TRUE) and V(FALSE), numbers become text.
      - Other values are an error.
    type: dict
    required: true
seealso:
  - plugin: gce.guest.metadata_dict
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show the items for a request to the Compute API
  ansible.builtin.debug:
    msg: "{{ {'role': 'web', 'enable-oslogin': true} | gce.guest.metadata_items }}"
"""

RETURN = r"""
_value:
  description: The items, in the order of the dictionary.
  type: list
  elements: dict
  contains:
    key:
      description: The key.
      type: str
      sample: enable-oslogin
    value:
      description: The value.
      type: str
      sample: "TRUE"
  sample:
    - key: role
      value: web
    - key: enable-oslogin
      value: "TRUE"
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.gce.guest.plugins.module_utils._metadata.custom import CustomMetadataError, as_items


def metadata_items(values: Any) -> list[dict[str, str]]:
    if not isinstance(values, Mapping):
        raise AnsibleFilterError("metadata_items needs a dictionary of keys and values.")
    try:
        return as_items(values)
    except CustomMetadataError as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"metadata_items": metadata_items}

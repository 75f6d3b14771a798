# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: metadata_dict
short_description: Convert the Compute API's list of custom metadata to a dictionary
version_added: 0.1.0
description:
  - The Compute API, and tools that return its structures, have custom metadata as a list of keys and values. This
    filter converts it to a dictionary.
author:
  - The gce.guest authors (@gce-guest)
options:
  _input:
    description:
      - The list of items, or the C(metadata) of an instance or the C(commonInstanceMetadata) of a project. These have
        no items if there is no custom metadata; the result is then empty.
      - Any other dictionary, such as a whole instance, is an error, and so is a duplicate key.
    type: raw
    required: true
seealso:
  - plugin: gce.guest.metadata_items
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show one value from an answer of the Compute API
  ansible.builtin.debug:
    msg: "{{ (instance.metadata | gce.guest.metadata_dict).role }}"
  vars:
    instance:
      name: web-1
      metadata:
        fingerprint: zhma6O1w2l8=
        items:
          - key: role
            value: web
"""

RETURN = r"""
_value:
  description: Keys and their values, in the order of the list.
  type: dict
  sample:
    role: web
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.gce.guest.plugins.module_utils._metadata.custom import CustomMetadataError, as_dict

# The fields of the API's resource Metadata.
RESOURCE = frozenset({"fingerprint", "items", "kind"})


def metadata_dict(value: Any) -> dict[str, str]:
    if isinstance(value, Mapping) and "items" not in value and value.keys() - RESOURCE:
        # Without the values, which may be secrets.
        raise AnsibleFilterError(
            f"The dictionary is not metadata: it has {', '.join(sorted(map(str, value)))}, and no items. "
            "Pass the metadata of an instance, or the commonInstanceMetadata of a project."
        )
    items = value.get("items") or [] if isinstance(value, Mapping) else value
    if isinstance(items, (str, bytes)) or not isinstance(items, Sequence):
        raise AnsibleFilterError("metadata_dict needs a list of items, or a dictionary with such a list in items.")
    try:
        return as_dict(items)
    except CustomMetadataError as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"metadata_dict": metadata_dict}

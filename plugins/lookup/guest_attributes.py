# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: guest_attributes
short_description: Read guest attributes of an instance through the Compute API
version_added: 0.1.0
description:
  - Reads the guest attributes of an instance, without access to it.
  - If guest attributes are not enabled, the message for a missing attribute says so, see O(on_missing). A missing
    permission or an organization policy that forbids access is always an error.
author:
  - The gce.guest authors (@gce-guest)
extends_documentation_fragment:
  - gce.guest._api.plugins
  - gce.guest._api
  - gce.guest._guest.secrets
  - gce.guest._lookup
options:
  _terms:
    description:
      - C(NAMESPACE/KEY) for the value of an attribute, or C(NAMESPACE/) for all of a namespace as a dictionary.
      - Secret keys and values are refused unless O(show_secrets=true), so that no V([redacted]) gets into a file. In
        dictionaries, secrets are redacted.
    type: list
    elements: str
    required: true
  instance:
    description:
      - The instance, as a name, an ID, C(ZONE/NAME), C(projects/PROJECT/zones/ZONE/instances/NAME),
        C(zones/ZONE/instances/NAME), a URL, or its name in the internal DNS.
    type: str
    required: true
  zone:
    description:
      - The zone of the instance, as a name, a path or a URL. By default, the instance is looked up in all zones.
    type: str
seealso:
  - module: gce.guest.guest_attributes_info
  - module: gce.guest.guest_attributes
notes:
  - New values can take some seconds to appear.
  - Templates in values are not evaluated.
"""

EXAMPLES = r"""
- name: Show the deployed version
  ansible.builtin.debug:
    msg: "{{ lookup('gce.guest.guest_attributes', 'deployment/version', instance='web-1', default='none') }}"

- name: Show all deployment attributes of an instance
  ansible.builtin.debug:
    msg: "{{ lookup('gce.guest.guest_attributes', 'deployment/', instance='us-central1-a/web-1') }}"

- name: Show the state of the maintenance handler, such as idle or drained
  ansible.builtin.debug:
    msg: "{{ (lookup('gce.guest.guest_attributes', 'maintenance-handler/status', instance='web-1')
      | from_json).state }}"
"""

RETURN = r"""
_list:
  description:
    - One value for each term, in their order. With O(on_missing=warn) and O(on_missing=skip), missing values are left
      out.
  type: list
  elements: raw
  sample:
    - 1.4.2
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible_collections.gce.guest.plugins.module_utils._compute.api import ComputeApi
from ansible_collections.gce.guest.plugins.module_utils._compute.errors import ComputeError
from ansible_collections.gce.guest.plugins.module_utils._compute.guest_attributes import (
    FIELDS,
    is_enabled,
    query_path,
    read,
)
from ansible_collections.gce.guest.plugins.module_utils._compute.instances import instance_named, zone_named
from ansible_collections.gce.guest.plugins.module_utils._metadata.secrets import is_secret, is_secret_item, redact_tree
from ansible_collections.gce.guest.plugins.module_utils._vm.guest_attributes import DIRECTORY, HOW_TO_ENABLE
from ansible_collections.gce.guest.plugins.plugin_utils._compute_lookup import ComputeLookup


class NoSuchAttribute(ComputeError):
    """The instance has no such attribute, or none at all."""


class LookupModule(ComputeLookup):
    missing = (NoSuchAttribute,)

    def finder(self, terms: list[str]) -> Callable[[str], Any]:
        patterns = self.secret_patterns()
        show_secrets = self.get_option("show_secrets")
        paths = {term: named(term, patterns, show_secrets=show_secrets) for term in terms}
        search = self.query()
        api = self.api()

        def find(term: str) -> Any:
            namespace, key = paths[term]
            path = query_path(namespace, key)
            found = self.cached(f"guest attributes {self._name()} {path}", lambda: read(api, self._instance(api), path))
            values = found.get(namespace, {})
            if not values:
                raise NoSuchAttribute(self._nothing(api, term))
            if key is not None:
                if not show_secrets and is_secret_item(key, values[key], patterns):
                    raise AnsibleLookupError(
                        f"Cannot read {term}: its value is or contains a secret. Set show_secrets=true to read it."
                    )
                return search(values[key])
            return search(redact_tree(values, patterns, f"{DIRECTORY}/{namespace}", show_secrets=show_secrets))

        return find

    def _name(self) -> str:
        return f"{self._plain('zone')}/{self._plain('instance')}"

    def _instance(self, api: ComputeApi) -> Mapping[str, Any]:
        zone = self._plain("zone")
        name = instance_named(api, self._plain("instance"), None if zone is None else zone_named(api, zone))
        if name.zone is not None:
            # This only requires the permission to read guest attributes.
            return {"name": name.name, "zone": name.zone}
        return self.instance(api, name.written, None, FIELDS)

    def _nothing(self, api: ComputeApi, term: str) -> str:
        """The message for a missing attribute."""
        sentence = f"There is no guest attribute {term} of the instance {self._plain('instance')}."
        instance = self.instance(api, self._plain("instance"), self._plain("zone"), FIELDS)
        if is_enabled(instance) is False:
            sentence += f" Guest attributes are not enabled for it. {HOW_TO_ENABLE}"
        return sentence


def named(term: str, patterns: Sequence[re.Pattern[str]], *, show_secrets: bool) -> tuple[str, str | None]:
    """Namespace and key of a term. Invalid and secret names are refused."""
    namespace, _slash, key = term.partition("/")
    query_path(namespace, key or None)
    if not show_secrets and any(is_secret(name, patterns) for name in (namespace, key) if name):
        raise AnsibleLookupError(f"Cannot read {term}: it is secret. Set show_secrets=true to read it.")
    return namespace, key or None

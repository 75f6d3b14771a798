# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: custom_metadata
short_description: Read values of custom metadata through the Compute API
version_added: 0.1.0
description:
  - Reads values of custom metadata, by default the effective ones of an instance. Its own value takes precedence over
    its zone's, which takes precedence over the project's.
  - Requires no access to the instance. On the VM itself, P(gce.guest.metadata#lookup) and M(gce.guest.metadata_info)
    require no credentials.
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
      - Keys of custom metadata.
      - Secret keys and values are refused unless O(show_secrets=true), so that no V([redacted]) gets into a file.
    type: list
    elements: str
    required: true
  instance:
    description:
      - The instance, as a name, an ID, C(ZONE/NAME), C(projects/PROJECT/zones/ZONE/instances/NAME),
        C(zones/ZONE/instances/NAME), a URL, or its name in the internal DNS.
      - Without it, the values are those of the O(zone), which take precedence over the project's.
    type: str
  zone:
    description:
      - The zone of the instance, as a name, a path or a URL. By default, the instance is looked up in all zones.
      - Without an O(instance), the zone whose metadata takes precedence over the project's.
    type: str
  scope:
    description:
      - Where to read the values.
      - With V(effective), the first of instance, zone and project that has the key.
      - With the other choices, only there.
    type: str
    choices: [effective, instance, zonal, project]
    default: effective
seealso:
  - module: gce.guest.custom_metadata_info
  - plugin: gce.guest.metadata
    plugin_type: lookup
  - plugin: gce.guest.metadata_bool
    plugin_type: filter
notes:
  - The guest uses the SSH keys of an instance and of the project together, unless the instance blocks the project's.
    This lookup returns only the one that takes precedence.
  - Templates in values are not evaluated.
"""

EXAMPLES = r"""
- name: Show the effective release of an instance
  ansible.builtin.debug:
    msg: "{{ lookup('gce.guest.custom_metadata', 'release', instance='web-1', project='acme') }}"

- name: Show it only if it is set on the instance itself
  ansible.builtin.debug:
    msg: "{{ lookup('gce.guest.custom_metadata', 'release', instance='europe-west1-b/web-1', project='acme',
      scope='instance', default='none') }}"

- name: Show a setting of the project
  ansible.builtin.debug:
    msg: "{{ lookup('gce.guest.custom_metadata', 'enable-oslogin', project='acme', default='FALSE')
      | gce.guest.metadata_bool }}"

- name: Show settings in a JSON document
  ansible.builtin.debug:
    msg: "{{ lookup('gce.guest.custom_metadata', 'settings', instance='web-1', project='acme') | from_json }}"
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

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible_collections.gce.guest.plugins.module_utils._compute.api import ComputeApi
from ansible_collections.gce.guest.plugins.module_utils._compute.errors import ComputeError
from ansible_collections.gce.guest.plugins.module_utils._compute.instances import instance_named, zone_named, zone_of
from ansible_collections.gce.guest.plugins.module_utils._compute.metadata_store import (
    ProjectStore,
    ZonalStore,
    snapshot_of,
)
from ansible_collections.gce.guest.plugins.module_utils._metadata.secrets import is_secret, is_secret_item
from ansible_collections.gce.guest.plugins.plugin_utils._compute_lookup import ComputeLookup

Layer = Callable[[], Mapping[str, str]]


class NoSuchKey(ComputeError):
    """None of the layers has the key."""


class LookupModule(ComputeLookup):
    missing = (NoSuchKey,)

    def finder(self, terms: list[str]) -> Callable[[str], Any]:
        refuse = self._refusal(terms)
        search = self.query()
        api = self.api()
        layers = self._layers(api)

        def find(key: str) -> Any:
            # The others are only read if the first ones lack the key.
            for layer in layers.values():
                values = layer()
                if key in values:
                    refuse(key, values[key])
                    return search(values[key])
            raise NoSuchKey(
                f"There is no custom metadata {key} of {_listing(list(layers))} in the project {api.project}."
            )

        return find

    def _layers(self, api: ComputeApi) -> dict[str, Layer]:
        """Where to look, in order of precedence, by a title for errors."""
        scope, name, zone = self.get_option("scope"), self._plain("instance"), self._plain("zone")
        # Invalid names are refused before any request.
        if zone is not None:
            zone = zone_named(api, zone)
        if name is not None:
            zone = instance_named(api, name, zone).zone

        def instance() -> dict[str, Any]:
            return self.instance(api, name, zone, "metadata(items)")

        def own() -> Mapping[str, str]:
            return snapshot_of(instance().get("metadata", {})).values

        def zonal() -> Mapping[str, str]:
            store = ZonalStore(api, zone or zone_of(instance()))
            return self.cached(store.path, lambda: store.read().values)

        def project() -> Mapping[str, str]:
            return self.cached("project", lambda: ProjectStore(api).read().values)

        layers: dict[str, tuple[str, Layer]] = {}
        if name is not None:
            layers["instance"] = (f"the instance {name}", own)
        if zone is not None or name is not None:
            layers["zonal"] = (f"the zone {zone}" if zone else "its zone", zonal)
        layers["project"] = ("the project", project)
        if scope not in ("effective", *layers):
            raise AnsibleLookupError(
                f"scope is {scope}, which requires the option {'zone' if scope == 'zonal' else scope}"
            )
        return {title: layer for key, (title, layer) in layers.items() if scope in ("effective", key)}

    def _refusal(self, keys: Sequence[str]) -> Callable[[str, str], None]:
        """A function that refuses secret values. Secret keys are refused at once."""
        patterns, show_secrets = self.secret_patterns(), self.get_option("show_secrets")

        def refuse(key: str, value: str) -> None:
            if not show_secrets and is_secret_item(key, value, patterns):
                raise AnsibleLookupError(
                    f"Cannot read {key}: its value is or contains a secret. Set show_secrets=true to read it."
                )

        for key in keys:
            if not show_secrets and is_secret(key, patterns):
                raise AnsibleLookupError(f"Cannot read {key}: it is secret. Set show_secrets=true to read it.")
        return refuse


def _listing(names: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))

#!/usr/bin/python
# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: custom_metadata_info
short_description: Read custom metadata of instances, zones and projects
version_added: 0.1.0
description:
  - Reads custom metadata through the Compute API, as it is set on instances, zones and the project, and as it is
    effective for instances, with the source of each value.
  - An instance's own value takes precedence over its zone's, which takes precedence over the project's.
  - Secrets are redacted, see O(show_secrets).
author:
  - The gce.guest authors (@gce-guest)
extends_documentation_fragment:
  - gce.guest._attributes
  - gce.guest._attributes.info_module
  - gce.guest._attributes.actiongroup_api
  - gce.guest._api
  - gce.guest._api.instances
  - gce.guest._guest.secrets
options:
  zone:
    description:
      - The zone of the instances. Without instances, the zone whose metadata is read in addition to the project's.
      - By default, instances are looked up in all zones.
  effective:
    description:
      - Whether to return the effective metadata of the instances. This takes one more request for the project, and one
        for each of their zones.
    type: bool
    default: true
  only:
    description:
      - The keys to return. In patterns, V(*) matches anything and V(?) one character.
      - By default, all keys.
    type: list
    elements: str
seealso:
  - module: gce.guest.custom_metadata
  - module: gce.guest.metadata_info
  - plugin: gce.guest.custom_metadata
    plugin_type: lookup
notes:
  - The guest uses the SSH keys of an instance and of the project together, unless the instance blocks the project's.
    This module returns only the one that takes precedence, as for all keys.
"""

EXAMPLES = r"""
- name: Read the effective metadata of an instance
  gce.guest.custom_metadata_info:
    project: acme
    zone: europe-west1-b
    instance: web-1
  register: metadata

- name: Show where the release comes from
  ansible.builtin.debug:
    msg: "{{ release['value'] }} is set by the {{ release['source'] }}"
  vars:
    release: "{{ metadata.instances[0].effective['release'] }}"

- name: Read one key of many instances
  gce.guest.custom_metadata_info:
    project: acme
    filter: labels.env = prod
    only: [release]
    effective: false
  register: releases

- name: Show the release of each
  ansible.builtin.debug:
    msg: "{{ item.name }}: {{ item.metadata['release'] | default('none') }}"
  loop: "{{ releases.instances }}"
  loop_control:
    label: "{{ item.name }}"

- name: Read the project's metadata
  gce.guest.custom_metadata_info:
    project: acme
"""

RETURN = r"""
project_metadata:
  description:
    - The keys and values that are set on the project.
    - V(null) if not read.
  returned: always, once the instances are known
  type: dict
  sample:
    enable-oslogin: "TRUE"
zonal_metadata:
  description: The keys and values that are set on zones, by zone, for the zones that were read.
  returned: always, once the instances are known
  type: dict
  sample:
    europe-west1-b:
      mirror: http://mirror.b.internal/
instances:
  description: The instances, in the order of O(instances), or by zone and name.
  returned: always, once they are known
  type: list
  elements: dict
  contains:
    name:
      description: The instance's name, or the entry of O(instances) if it was not found.
      type: str
      returned: always
      sample: web-1
    zone:
      description: Its zone. V(null) if it was not found.
      type: str
      returned: always
      sample: europe-west1-b
    failed:
      description: Whether it was not found.
      type: bool
      returned: always
      sample: false
    msg:
      description: Why it was not found.
      type: str
      returned: when it failed
      sample: There is no instance web-1 in any zone of the project acme.
    metadata:
      description: The keys and values that are set on the instance itself.
      type: dict
      returned: always
      sample:
        release: 1.4.2
    effective:
      description:
        - The effective metadata, by key. Each is a dictionary with C(value) and C(source), which is V(instance),
          V(zonal) or V(project).
        - Empty with O(effective=false).
      type: dict
      returned: always
      sample:
        enable-oslogin:
          source: project
          value: "TRUE"
        release:
          source: instance
          value: 1.4.2
unreachables:
  description:
    - Zones that the API could not list, such as V(zones/europe-west1-b). Their instances were not found. The module
      also warns of them.
  returned: always, once the instances are known
  type: list
  elements: str
  sample: []
"""

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gce.guest.plugins.module_utils._compute.api import ComputeApi
from ansible_collections.gce.guest.plugins.module_utils._compute.instances import Selection, zone_named, zone_of
from ansible_collections.gce.guest.plugins.module_utils._compute.metadata_store import (
    ProjectStore,
    read_zones,
    snapshot_of,
)
from ansible_collections.gce.guest.plugins.module_utils._metadata.custom import merged
from ansible_collections.gce.guest.plugins.module_utils._metadata.secrets import redacted
from ansible_collections.gce.guest.plugins.module_utils._module.api import (
    API_ARGSPEC,
    API_ERRORS,
    ApiModule,
    compute_api,
)
from ansible_collections.gce.guest.plugins.module_utils._module.argument_spec import (
    SECRETS_ARGSPEC,
    ArgumentSpec,
    failing,
    secret_patterns,
)
from ansible_collections.gce.guest.plugins.module_utils._module.targets import (
    INSTANCES_ARGSPEC,
    ONE_SELECTION,
    checked_result,
    missing_rows,
    refuse_empty,
    selected,
    selections,
)

Values = Mapping[str, str]
Show = Callable[[Values], dict[str, str]]


def main() -> None:
    spec = ArgumentSpec({"effective": {"type": "bool", "default": True}, "only": {"type": "list", "elements": "str"}})
    spec.update(API_ARGSPEC).update(INSTANCES_ARGSPEC, **ONE_SELECTION).update(SECRETS_ARGSPEC)
    module = spec.create_module(kind=ApiModule)
    with failing(module, *API_ERRORS):
        refuse_empty(module.params)
        show = display(module)
        with compute_api(module) as api:
            result = read(module.params, api, show)
        module.exit_json(changed=False, **checked_result(result, result["instances"]))


def read(params: Mapping[str, Any], api: ComputeApi, show: Show) -> dict[str, Any]:
    selection = selected(params, api, "metadata(items)") if selections(params) else None
    project: Values | None = None
    zonal: dict[str, Values] = {}
    if selection is None or params["effective"]:
        project = ProjectStore(api).read().values
        if selection is not None:
            zones = [zone_of(instance) for instance in selection.instances]
        else:
            zones = [zone_named(api, params["zone"])] if params["zone"] else []
        zonal = {zone: snapshot.values for zone, snapshot in read_zones(api, zones).items()}
    selection = selection or Selection()
    effective_project = project if params["effective"] else None
    return {
        "project_metadata": None if project is None else show(project),
        "zonal_metadata": {zone: show(values) for zone, values in zonal.items()},
        "instances": [
            *(described(instance, show, effective_project, zonal) for instance in selection.instances),
            *missing_rows(selection.failures, metadata={}, effective={}),
        ],
        "unreachables": api.unreachables,
    }


def described(
    instance: Mapping[str, Any], show: Show, project: Values | None, zonal: Mapping[str, Values]
) -> dict[str, Any]:
    own = snapshot_of(instance.get("metadata", {})).values
    effective: dict[str, dict[str, str]] = {}
    if project is not None:
        layers = {"instance": own, "zonal": zonal[zone_of(instance)], "project": project}
        found = merged(layers)
        shown = show({key: value for key, (value, source) in found.items()})
        effective = {key: {"value": value, "source": found[key][1]} for key, value in shown.items()}
    return {
        "name": instance["name"],
        "zone": zone_of(instance),
        "failed": False,
        "metadata": show(own),
        "effective": effective,
    }


def display(module: AnsibleModule) -> Show:
    """The function that selects and redacts values, by the options."""
    only, patterns, show_secrets = module.params["only"], secret_patterns(module), module.params["show_secrets"]

    def show(values: Values) -> dict[str, str]:
        chosen = {
            key: value
            for key, value in values.items()
            if only is None or any(fnmatchcase(key, pattern) for pattern in only)
        }
        return redacted(chosen, patterns, show_secrets=show_secrets)

    return show


if __name__ == "__main__":
    main()

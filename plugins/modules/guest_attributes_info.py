#!/usr/bin/python
# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: guest_attributes_info
short_description: Read guest attributes of instances through the Compute API
version_added: 0.1.0
description:
  - Reads the guest attributes of one instance or many.
  - Distinguishes instances without guest attributes from those where they are not enabled. A missing permission or an
    organization policy that forbids access is an error.
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
  namespace:
    description: Only the attributes of this namespace. By default, those of all namespaces.
    type: str
  key:
    description: Only this attribute of the O(namespace).
    type: str
notes:
  - Required permissions are C(compute.instances.getGuestAttributes), and C(compute.instances.get) or
    C(compute.instances.list).
  - New values can take some seconds to appear.
seealso:
  - module: gce.guest.guest_attributes
  - plugin: gce.guest.guest_attributes
    plugin_type: lookup
  - ref: ansible_collections.gce.guest.docsite.guide_guest_attributes
    description: How to enable, write and read guest attributes.
"""

EXAMPLES = r"""
- name: Read an instance's deployment attributes
  gce.guest.guest_attributes_info:
    instance: web-1
    zone: us-central1-a
    namespace: deployment
  register: deployment

- name: Show the deployed version
  ansible.builtin.debug:
    msg: "{{ deployment.attributes.deployment.version | default('not deployed') }}"

- name: Read the status of all maintenance handlers
  gce.guest.guest_attributes_info:
    filter: labels.env = prod
    namespace: maintenance-handler
    key: status
  register: handlers

- name: Show the instances without a status
  ansible.builtin.debug:
    msg: "{{ handlers.instances | rejectattr('state', 'eq', 'found') | map(attribute='name') }}"
"""

RETURN = r"""
instances:
  description: The result for each instance.
  returned: success, and when some instances failed
  type: list
  elements: dict
  contains:
    name:
      description: The instance.
      type: str
      returned: success
      sample: web-1
    zone:
      description: Its zone. V(null) if it was not found.
      type: str
      returned: success
      sample: us-central1-a
    state:
      description:
        - V(found) if it has any of the requested attributes, V(empty) if it has none.
        - V(disabled) if it has none because C(enable-guest-attributes) is not set.
        - V(constrained) if an organization policy or a perimeter of VPC Service Controls forbids access, V(denied) if a
          permission is missing, and V(failed) for all other errors.
      type: str
      returned: success
      sample: found
    enabled:
      description: Whether guest attributes are enabled for it. V(null) if unknown.
      type: bool
      returned: success
      sample: true
    attributes:
      description: The attributes by namespace and key. Secrets are redacted, see O(show_secrets).
      type: dict
      returned: success
      sample: {deployment: {version: 1.4.2}}
    failed:
      description: Whether reading them failed.
      type: bool
      returned: success
      sample: false
    msg:
      description: Why it failed.
      type: str
      returned: when it failed
      sample: "Cannot read the guest attributes of projects/acme/zones/us-central1-a/instances/web-1: the Compute API
        answers 403 forbidden: Required 'compute.instances.getGuestAttributes' permission."
attributes:
  description: RV(instances[].attributes) of the first instance.
  returned: success
  type: dict
  sample: {deployment: {version: 1.4.2}}
unreachables:
  description: Zones that the API could not list. Their instances were not found.
  returned: success, and when some instances failed
  type: list
  elements: str
  sample: []
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gce.guest.plugins.module_utils._compute.api import REAL_TIME, Time
from ansible_collections.gce.guest.plugins.module_utils._compute.errors import (
    ComputeError,
    ConstraintViolated,
    PerimeterViolated,
    PermissionDenied,
)
from ansible_collections.gce.guest.plugins.module_utils._compute.guest_attributes import (
    FIELDS,
    Attributes,
    is_enabled,
    query_path,
    read,
)
from ansible_collections.gce.guest.plugins.module_utils._compute.instances import zone_of
from ansible_collections.gce.guest.plugins.module_utils._metadata.secrets import redact_tree
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
    SOME_SELECTION,
    instances_result,
    missing_rows,
    refuse_empty,
    selected,
)
from ansible_collections.gce.guest.plugins.module_utils._vm.guest_attributes import DIRECTORY, HOW_TO_ENABLE


def main(time: Time = REAL_TIME) -> None:
    spec = ArgumentSpec(
        {"namespace": {"type": "str"}, "key": {"type": "str", "no_log": False}}, required_by={"key": ["namespace"]}
    )
    spec.update(API_ARGSPEC).update(INSTANCES_ARGSPEC, **SOME_SELECTION).update(SECRETS_ARGSPEC)
    module = spec.create_module(kind=ApiModule)
    with failing(module, *API_ERRORS):
        refuse_empty(module.params)
        path = query_path(module.params["namespace"], module.params["key"])
        patterns, show_secrets = secret_patterns(module), module.params["show_secrets"]

        def shown(attributes: Attributes) -> Any:
            return redact_tree(attributes, patterns, DIRECTORY, show_secrets=show_secrets)

        with compute_api(module, time) as api:
            selection = selected(module.params, api, FIELDS)
            outcomes = api.each(selection.instances, lambda instance: read(api, instance, path), requests=1)
        rows = [
            *(row_of(instance, outcome, shown) for instance, outcome in zip(selection.instances, outcomes)),
            *missing_rows(selection.failures, state="failed", enabled=None, attributes={}),
        ]
        warn_of_disabled(module, rows)
        module.exit_json(**instances_result(api, rows, attributes=rows[0]["attributes"] if rows else {}))


def row_of(
    instance: Mapping[str, Any], outcome: Attributes | ComputeError, shown: Callable[[Attributes], Any]
) -> dict[str, Any]:
    enabled, has_failed = is_enabled(instance), isinstance(outcome, ComputeError)
    row = {
        "name": instance["name"],
        "zone": zone_of(instance),
        "failed": has_failed,
        "state": state_of(outcome, enabled),
        "enabled": enabled,
        "attributes": shown({} if isinstance(outcome, ComputeError) else outcome),
    }
    return {**row, "msg": str(outcome)} if has_failed else row


def state_of(outcome: Attributes | ComputeError, enabled: bool | None) -> str:
    if isinstance(outcome, (ConstraintViolated, PerimeterViolated)):
        return "constrained"
    if isinstance(outcome, PermissionDenied):
        return "denied"
    if isinstance(outcome, ComputeError):
        return "failed"
    if outcome:
        return "found"
    return "disabled" if enabled is False else "empty"


def warn_of_disabled(module: AnsibleModule, rows: Sequence[Mapping[str, Any]]) -> None:
    names = [row["name"] for row in rows if row["state"] == "disabled"]
    if names:
        shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
        module.warn(f"Guest attributes are not enabled for {shown}. {HOW_TO_ENABLE}")


if __name__ == "__main__":
    main()

#!/usr/bin/python
# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: guest_attributes_info
short_description: Read guest attributes of instances from outside
version_added: 0.1.0
description:
  - Reads what one instance or many have written into their guest attributes.
  - Instances that have none are told from those that cannot have any, since they are not enabled. What an organization
    policy forbids, or a permission is missing for, is an error that says so.
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
    description: Only the attributes of this namespace. By default those of all.
    type: str
  key:
    description: Only this attribute of the O(namespace).
    type: str
notes:
  - Needs C(compute.instances.getGuestAttributes), and C(compute.instances.get) or C(compute.instances.list).
  - What an instance has written just now can take some seconds to be seen.
seealso:
  - module: gce.guest.guest_attributes
  - plugin: gce.guest.guest_attributes
    plugin_type: lookup
  - ref: ansible_collections.gce.guest.docsite.guide_guest_attributes
    description: How to enable, write and read guest attributes.
"""

EXAMPLES = r"""
- name: Read what an instance says about its deployment
  gce.guest.guest_attributes_info:
    instance: web-1
    zone: us-central1-a
    namespace: deployment
  register: deployment

- name: Show its version
  ansible.builtin.debug:
    msg: "{{ deployment.attributes.deployment.version | default('not deployed') }}"

- name: Read what the handlers of a fleet say
  gce.guest.guest_attributes_info:
    filter: labels.env = prod
    namespace: maintenance-handler
    key: status
  register: handlers

- name: Show where there is none to be heard of
  ansible.builtin.debug:
    msg: "{{ handlers.instances | rejectattr('state', 'eq', 'found') | map(attribute='name') }}"
"""

RETURN = r"""
instances:
  description: An entry for each instance.
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
      description: Its zone. V(null) if there is no such instance.
      type: str
      returned: success
      sample: us-central1-a
    state:
      description:
        - V(found) if it has some of the attributes that were asked for, and V(empty) if it has none.
        - V(disabled) if it has none since C(enable-guest-attributes) is not set for it.
        - V(constrained) if an organization policy or a perimeter of VPC Service Controls forbids access, V(denied) if a
          permission is missing, and V(failed) if it was something else that failed.
      type: str
      returned: success
      sample: found
    enabled:
      description: Whether guest attributes are enabled for it. V(null) if the API does not say.
      type: bool
      returned: success
      sample: true
    attributes:
      description: The attributes by namespace and key, without secrets unless O(show_secrets) is set.
      type: dict
      returned: success
      sample: {deployment: {version: 1.4.2}}
    failed:
      description: Whether they could not be read.
      type: bool
      returned: success
      sample: false
    msg:
      description: Why.
      type: str
      returned: when it failed
      sample: "Cannot read the guest attributes of projects/acme/zones/us-central1-a/instances/web-1: the Compute API
        answers 403 forbidden: Required 'compute.instances.getGuestAttributes' permission."
attributes:
  description: RV(instances[].attributes) of the first instance, which may be the only one.
  returned: success
  type: dict
  sample: {deployment: {version: 1.4.2}}
unreachables:
  description: Scopes, such as zones, in which instances could not be looked up.
  returned: success, and when some instances failed
  type: list
  elements: str
  sample: []
"""

import time
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
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
from ansible_collections.gce.guest.plugins.module_utils._metadata.secrets import redact_tree
from ansible_collections.gce.guest.plugins.module_utils._module.api import (
    API_ARGSPEC,
    ApiModule,
    compute_api,
    each,
    failing,
)
from ansible_collections.gce.guest.plugins.module_utils._module.guest import (
    SECRETS_ARGSPEC,
    ArgumentSpec,
    secret_patterns,
)
from ansible_collections.gce.guest.plugins.module_utils._module.instance_results import (
    Target,
    finish,
    targets_of,
)
from ansible_collections.gce.guest.plugins.module_utils._module.selection import (
    INSTANCES_ARGSPEC,
    SOME_SELECTION,
    refuse_empty,
)
from ansible_collections.gce.guest.plugins.module_utils._vm.guest_attributes import DIRECTORY


def main(clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep) -> None:
    spec = ArgumentSpec(
        {"namespace": {"type": "str"}, "key": {"type": "str", "no_log": False}}, required_by={"key": ["namespace"]}
    )
    spec.update(API_ARGSPEC).update(INSTANCES_ARGSPEC, **SOME_SELECTION).update(SECRETS_ARGSPEC)
    module = spec.create_module(kind=ApiModule)
    with failing(module):
        refuse_empty(module)
        path = query_path(module.params["namespace"], module.params["key"])
        patterns, show_secrets = secret_patterns(module), module.params["show_secrets"]

        def shown(attributes: Attributes) -> Any:
            return redact_tree(attributes, patterns, DIRECTORY, show_secrets=show_secrets)

        with compute_api(module, clock=clock, sleep=sleep) as api:
            targets = targets_of(module, api, FIELDS)
            outcomes = each(api, targets, lambda target: read_target(target, lambda it: read(api, it, path)))
        results = [result(target, outcome, shown) for target, outcome in zip(targets, outcomes)]
        warn_of_disabled(module, results)
        finish(module, api, results, attributes=results[0]["attributes"] if results else {})


def read_target(target: Target, read_instance: Callable[[Any], Attributes]) -> Attributes:
    if target.error is not None:
        raise target.error
    return read_instance(target.instance)


def result(target: Target, outcome: Attributes | ComputeError, shown: Callable[[Attributes], Any]) -> dict[str, Any]:
    enabled = is_enabled(target.instance or {})
    if isinstance(outcome, ComputeError):
        target.error, attributes = outcome, Attributes()
    else:
        attributes = outcome
    return target.to_result(state=state_of(outcome, enabled), enabled=enabled, attributes=shown(attributes))


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


def warn_of_disabled(module: AnsibleModule, results: list[dict[str, Any]]) -> None:
    names = [each_result["name"] for each_result in results if each_result["state"] == "disabled"]
    if names:
        shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
        module.warn(
            f"Guest attributes are not enabled for {shown}. Set enable-guest-attributes=TRUE in the custom metadata of "
            "the instance, which goes before that of its zone, which goes before that of the project."
        )


if __name__ == "__main__":
    main()

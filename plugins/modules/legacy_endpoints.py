#!/usr/bin/python
# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: legacy_endpoints
short_description: Disable the metadata server's legacy endpoints
version_added: 0.1.0
description:
  - Sets V(disable-legacy-endpoints) in the metadata of the project, or of the instances in O(instance), O(instances) or
    O(filter).
  - An instance's own value takes precedence over its zone's, which takes precedence over the project's. All three are
    read.
  - Finds the instances that differ from the project, by their own value or their zone's. With O(enforce), removes those
    values.
  - With O(audit), finds calls of C(/computeMetadata/v1beta1/) and C(/0.1/) in the metadata, which would fail.
  - Equivalent values, such as V(yes) and V(TRUE), are left alone.
author:
  - The gce.guest authors (@gce-guest)
extends_documentation_fragment:
  - gce.guest._attributes
  - gce.guest._attributes.actiongroup_api
  - gce.guest._api
  - gce.guest._api.instances
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
options:
  state:
    description:
      - The desired state for the project, or for the instances.
      - Instances without a value of their own have that of their zone, or else the project's.
    type: str
    choices: [disabled, enabled]
    default: disabled
  enforce:
    description:
      - Whether to remove the key from instances and zones that differ from the project.
      - Zones without instances are not checked.
      - Only for the project. Cannot be used together with O(instance), O(instances) or O(filter).
    type: bool
    default: false
  audit:
    description:
      - Whether to search for calls of legacy endpoints in all metadata of the project, of all or the selected
        instances, and of their zones. In check mode, nothing else is done.
      - All values are searched, including what cloud-init and Ignition decode in them. These are MIME parts,
        C(write_files) in base64 and gzip, data URLs, and C(user-data) as a whole if C(user-data-encoding) is set.
      - Only literal calls are found. Scripts are not run, and those kept elsewhere are not fetched.
    type: bool
    default: false
  timeout:
    description:
      - Seconds to change the metadata of one instance, of a zone or of the project. This includes retries after
        conflicts, waiting for the operation, and reading it back.
    type: float
    default: 300.0
notes:
  - Required permissions are C(compute.projects.get), C(compute.instanceSettings.get), C(compute.instances.list) or
    C(compute.instances.get). Changes of the project require C(compute.projects.setCommonInstanceMetadata), changes of
    zones C(compute.instanceSettings.update), and changes of instances C(compute.instances.setMetadata) and
    C(iam.serviceAccounts.actAs) on the service accounts that the instances run as.
  - New instances get the metadata of their instance template. Templates are not checked.
seealso:
  - module: gce.guest.legacy_endpoints_info
  - name: Turning off legacy endpoints
    description: A step-by-step guide.
    link: https://github.com/gce-guest/gce.guest/blob/main/docs/docsite/rst/guide_legacy_endpoints.rst
"""

EXAMPLES = r"""
- name: Find scripts that would break
  gce.guest.legacy_endpoints:
    audit: true
  check_mode: true
  register: legacy

- name: Show where they are
  ansible.builtin.debug:
    msg: "{{ item.instance or item.zone or 'the project' }}, {{ item.key }}, line {{ item.line }}: {{ item.endpoint }}"
  loop: "{{ legacy.legacy_calls }}"

- name: Disable them for some instances first
  gce.guest.legacy_endpoints:
    filter: labels.env = test

- name: Disable them for the project, and for the zones and instances that override it
  gce.guest.legacy_endpoints:
    enforce: true
"""

RETURN = r"""
project:
  description: The project after the change.
  returned: always, once the instances are known
  type: dict
  contains:
    name:
      description: The project.
      type: str
      returned: success
      sample: acme
    value:
      description: The value of V(disable-legacy-endpoints) in its metadata. V(null) if it has none.
      type: str
      returned: success
      sample: "TRUE"
    state:
      description: The state by this value, V(disabled) or V(enabled), or V(unclear) if the value is not a boolean.
      type: str
      returned: success
      sample: disabled
    changed:
      description: Whether its metadata was changed.
      type: bool
      returned: success
      sample: true
instances:
  description:
    - The selected instances after the change. For the project, those that differed from it with O(enforce), and none
      otherwise.
  returned: always, once the instances are known
  type: list
  elements: dict
  contains:
    name:
      description: The instance's name, or the entry of O(instances) if it was not found.
      type: str
      returned: success
      sample: web-1
    zone:
      description: Its zone. V(null), like all other values, if it was not found.
      type: str
      returned: success
      sample: europe-west1-b
    value:
      description: Its own value. V(null) if it has none, and uses its zone's or the project's.
      type: str
      returned: success
      sample: "TRUE"
    state:
      description: Its state, by its own value, its zone's or the project's.
      type: str
      returned: success
      sample: disabled
    changed:
      description: Whether its metadata was changed.
      type: bool
      returned: success
      sample: true
    failed:
      description: Whether the change failed.
      type: bool
      returned: success
      sample: false
    msg:
      description: Why it failed.
      type: str
      returned: when it failed
      sample: There is no instance web-1 in any zone of the project acme.
zones:
  description:
    - The zones of these instances that have a value, or had one before. For the project, the zones of all its
      instances.
  returned: always, once the instances are known
  type: list
  version_added: 0.2.0
  elements: dict
  contains:
    name:
      description: The zone.
      type: str
      returned: success
      sample: europe-west1-b
    value:
      description: The value of V(disable-legacy-endpoints) in its metadata after the change. V(null) if it has none.
      type: str
      returned: success
      sample: "FALSE"
    state:
      description: The state of its instances that have no value of their own.
      type: str
      returned: success
      sample: enabled
    changed:
      description: Whether its metadata was changed.
      type: bool
      returned: success
      sample: false
    failed:
      description: Whether the change failed.
      type: bool
      returned: success
      sample: false
    msg:
      description: Why it failed.
      type: str
      returned: when it failed
      sample: "Cannot set the metadata of projects/acme/zones/europe-west1-b/instanceSettings: permission denied."
overrides:
  description:
    - The instances that differ from the project after the change, by their own value or their zone's. With a
      selection, only selected instances.
  returned: always, once the instances are known
  type: list
  elements: dict
  contains:
    name:
      description: The instance.
      type: str
      returned: success
      sample: build-7
    zone:
      description: Its zone.
      type: str
      returned: success
      sample: europe-west1-b
    value:
      description: Its own value. V(null) if it has none, and differs by its zone's, see RV(zones).
      type: str
      returned: success
      sample: "FALSE"
    state:
      description: Its state.
      type: str
      returned: success
      sample: enabled
legacy_calls:
  description:
    - Where the metadata calls legacy endpoints. V(null) without O(audit).
    - The text itself is not returned, since it may contain secrets.
  returned: always, once the instances are known
  type: list
  elements: dict
  contains:
    instance:
      description: The instance. V(null) for the metadata of a zone or of the project.
      type: str
      returned: success
      sample: web-1
    zone:
      description: The zone of the instance, or the zone itself. V(null) for the project's metadata.
      type: str
      returned: success
      sample: europe-west1-b
    key:
      description: The key in the metadata.
      type: str
      returned: success
      sample: startup-script
    line:
      description:
        - The line in the value, counted from V(1).
        - For encoded text, such as base64, the line where that text starts.
      type: int
      returned: success
      sample: 12
    endpoint:
      description: The endpoint that is called, V(/computeMetadata/v1beta1/) or V(/0.1/).
      type: str
      returned: success
      sample: /computeMetadata/v1beta1/
scripts_elsewhere:
  description: Scripts that were not searched, since the metadata only has their location. V(null) without O(audit).
  returned: always, once the instances are known
  type: list
  elements: dict
  contains:
    instance:
      description: The instance. V(null) for the metadata of a zone or of the project.
      type: str
      returned: success
      sample: web-1
    zone:
      description: The zone of the instance, or the zone itself. V(null) for the project's metadata.
      type: str
      returned: success
      sample: europe-west1-b
    key:
      description: The key that has the script's location.
      type: str
      returned: success
      sample: startup-script-url
unreachables:
  description:
    - Zones that the API could not list, such as V(zones/europe-west1-b). Their instances are missing here. The module
      also warns of them.
  returned: always, once the instances are known
  type: list
  elements: str
  sample: []
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gce.guest.plugins.module_utils._compute.api import REAL_TIME, ComputeApi, Time
from ansible_collections.gce.guest.plugins.module_utils._compute.errors import ComputeBadRequest, ComputeError
from ansible_collections.gce.guest.plugins.module_utils._compute.instances import select
from ansible_collections.gce.guest.plugins.module_utils._compute.metadata_store import (
    Planner,
    ProjectStore,
    ZonalStore,
    read_zones,
)
from ansible_collections.gce.guest.plugins.module_utils._metadata.custom import MetadataChange, plan
from ansible_collections.gce.guest.plugins.module_utils._metadata.legacy_endpoints import (
    DISABLED,
    KEY,
    calls,
    effective_state,
    overrides,
    scripts_elsewhere,
    state_of,
)
from ansible_collections.gce.guest.plugins.module_utils._module.api import (
    API_ARGSPEC,
    API_ERRORS,
    ApiModule,
    compute_api,
)
from ansible_collections.gce.guest.plugins.module_utils._module.argument_spec import (
    ArgumentSpec,
    failing,
)
from ansible_collections.gce.guest.plugins.module_utils._module.metadata_targets import (
    INSTANCE_FIELDS,
    MetadataTarget,
    change_metadata,
    metadata_diff,
    metadata_targets,
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


@dataclass
class Found:
    """The metadata that decides on legacy endpoints. `changing` are the instances that the module changes."""

    project: MetadataTarget
    zones: Mapping[str, MetadataTarget] = field(default_factory=dict)
    instances: Sequence[MetadataTarget] = ()
    changing: Sequence[MetadataTarget] = ()
    missing: Mapping[str, ComputeError] = field(default_factory=dict)

    def inherited(self, zone: str | None) -> tuple[str | None, str | None]:
        """The values that count for an instance after its own."""
        return value_of(self.zones[str(zone)]), value_of(self.project)

    def state(self, instance: MetadataTarget) -> str:
        return effective_state(value_of(instance), *self.inherited(instance.zone))

    def overriding(self) -> list[MetadataTarget]:
        """The instances that differ from the project."""
        state = state_of(value_of(self.project))
        return [instance for instance in self.instances if self.state(instance) != state]


def main(time: Time = REAL_TIME) -> None:
    spec = ArgumentSpec(
        {
            "state": {"type": "str", "choices": ["disabled", "enabled"], "default": "disabled"},
            "enforce": {"type": "bool", "default": False},
            "audit": {"type": "bool", "default": False},
            "timeout": {"type": "float", "default": 300.0},
        }
    )
    module = spec.update(API_ARGSPEC).update(INSTANCES_ARGSPEC, **ONE_SELECTION).create_module(kind=ApiModule)
    with failing(module, *API_ERRORS):
        check_scope(module.params)
        with compute_api(module, time) as api:
            store = ProjectStore(api)
            found = Found(MetadataTarget(api.project, None, store, store.read()))
            if selections(module.params):
                change_instances(module, api, found)
            else:
                change_project(module, api, found)
        result = result_of(module, api, found)
        if result["legacy_calls"] and module.params["state"] == DISABLED:
            module.warn(f"Metadata calls legacy endpoints: {len(result['legacy_calls'])} found, see legacy_calls.")
        zones = [{**row, "name": f"The zone {row['name']}"} for row in result["zones"] if was_planned(found, row)]
        what = "zones and instances" if zones else "instances"
        module.exit_json(**checked_result(result, [*zones, *result["instances"]], what))


def check_scope(params: Mapping[str, Any]) -> None:
    refuse_empty(params)
    if selections(params):
        if params["enforce"]:
            raise ComputeBadRequest("enforce applies to the project. Omit it, or omit instance, instances and filter.")
    elif params["zone"] is not None:
        raise ComputeBadRequest("The project's metadata has no zone. Select instances, or omit zone.")


# Changes


def change_project(module: AnsibleModule, api: ComputeApi, found: Found) -> None:
    """The project first, so that no override is removed before the project has the value to fall back on."""
    state = module.params["state"]
    read_instances(api, found)
    change_metadata(module, api, [found.project], lambda _target: with_state(state, ()))
    if found.project.error is not None:
        raise found.project.error
    if module.params["enforce"]:
        planner = without_override(value_of(found.project))
        for zone in found.zones.values():
            change_metadata(module, api, [zone], lambda _target: planner)
        has_changed = any(target.changed for target in (found.project, *found.zones.values()))
        if has_changed and not module.check_mode:
            # These changes also change the fingerprints of the instances' metadata.
            # https://github.com/GoogleCloudPlatform/magic-modules/pull/1614
            read_instances(api, found)
        found.changing = [each for each in found.instances if overrides(value_of(each), value_of(found.project))]
        change_metadata(module, api, found.changing, lambda _target: planner)


def change_instances(module: AnsibleModule, api: ComputeApi, found: Found) -> None:
    selection = selected(module.params, api, INSTANCE_FIELDS)
    found.missing = selection.failures
    found.instances = found.changing = metadata_targets(api, selection.instances)
    found.zones = zone_targets(api, found.instances)
    state = module.params["state"]
    change_metadata(module, api, found.changing, lambda target: with_state(state, found.inherited(target.zone)))


def read_instances(api: ComputeApi, found: Found) -> None:
    found.instances = metadata_targets(api, select(api, fields=INSTANCE_FIELDS).instances)
    # Keeps the zones that were changed, and adds those that have got their first instance meanwhile.
    found.zones = {**zone_targets(api, found.instances), **found.zones}


def zone_targets(api: ComputeApi, instances: Sequence[MetadataTarget]) -> dict[str, MetadataTarget]:
    snapshots = read_zones(api, {str(instance.zone) for instance in instances})
    return {zone: MetadataTarget(zone, zone, ZonalStore(api, zone), snapshot) for zone, snapshot in snapshots.items()}


def with_state(state: str, inherited: Sequence[str | None]) -> Planner:
    """Sets the key, unless the own or the inherited value already has this state."""

    def planned(values: Mapping[str, str]) -> MetadataChange:
        if effective_state(values.get(KEY), *inherited) == state:
            return plan(values, {})
        return plan(values, {KEY: "TRUE" if state == DISABLED else "FALSE"})

    return planned


def without_override(project_value: str | None) -> Planner:
    def planned(values: Mapping[str, str]) -> MetadataChange:
        is_override = overrides(values.get(KEY), project_value)
        return plan(values, {KEY: ""}, present=False) if is_override else plan(values, {})

    return planned


# Result


def result_of(module: AnsibleModule, api: ComputeApi, found: Found) -> dict[str, Any]:
    changeable = (found.project, *found.zones.values(), *found.changing)
    result = {
        "changed": any(target.changed for target in changeable),
        "project": project_row(found.project),
        "zones": zone_rows(found),
        "instances": instance_rows(found),
        "overrides": [
            {"name": each.name, "zone": each.zone, "value": value_of(each), "state": found.state(each)}
            for each in found.overriding()
        ],
        "legacy_calls": legacy_calls(found) if module.params["audit"] else None,
        "scripts_elsewhere": elsewhere(found) if module.params["audit"] else None,
        "unreachables": api.unreachables,
    }
    if module._diff:
        result["diff"] = diffs_of(changeable)
    return result


def was_planned(found: Found, row: Mapping[str, Any]) -> bool:
    """Whether a zone was to be changed."""
    plan = found.zones[row["name"]].plan
    return plan is not None and plan.changed


def value_of(target: MetadataTarget) -> str | None:
    return target.values.get(KEY)


def project_row(project: MetadataTarget) -> dict[str, Any]:
    value = value_of(project)
    return {"name": project.name, "value": value, "state": state_of(value), "changed": project.changed}


def zone_rows(found: Found) -> list[dict[str, Any]]:
    rows = []
    for zone in found.zones.values():
        if KEY in zone.snapshot.values or KEY in zone.values:
            row = zone.row(value=value_of(zone), state=effective_state(*found.inherited(zone.zone)))
            del row["zone"]
            rows.append(row)
    return rows


def instance_rows(found: Found) -> list[dict[str, Any]]:
    return [
        *(target.row(value=value_of(target), state=found.state(target)) for target in found.changing),
        *missing_rows(found.missing, changed=False, value=None, state=None),
    ]


def audited(found: Found) -> list[tuple[dict[str, str | None], Mapping[str, str]]]:
    """All metadata, each with the instance and the zone that has it."""
    return [
        ({"instance": None, "zone": None}, found.project.values),
        *(({"instance": None, "zone": zone.zone}, zone.values) for zone in found.zones.values()),
        *(({"instance": instance.name, "zone": instance.zone}, instance.values) for instance in found.instances),
    ]


def legacy_calls(found: Found) -> list[dict[str, Any]]:
    return [{**place, **asdict(call)} for place, values in audited(found) for call in calls(values)]


def elsewhere(found: Found) -> list[dict[str, Any]]:
    return [{**place, "key": key} for place, values in audited(found) for key in scripts_elsewhere(values)]


def diffs_of(targets: Sequence[MetadataTarget]) -> list[dict[str, Any]]:
    """Only this module's key is shown."""

    def shown(values: Mapping[str, str]) -> dict[str, str]:
        return {key: value for key, value in values.items() if key == KEY}

    return [
        metadata_diff(target, {"before": shown(target.done.before), "after": shown(target.done.after)})
        for target in targets
        if target.done is not None and target.done.changed
    ]


if __name__ == "__main__":
    main()

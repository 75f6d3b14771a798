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
  - Sets V(disable-legacy-endpoints) in the metadata of the project, or of instances if O(instance), O(instances) or
    O(filter) says which.
  - An instance has its own value, or else that of its zone, or else the project's. All three are looked at.
  - Finds the instances that differ from the project, by a value of their own or of their zone, and with O(enforce)
    removes that.
  - With O(audit), finds what in the metadata still calls C(/computeMetadata/v1beta1/) or C(/0.1/), and would fail.
  - What is so already, in whatever spelling of a boolean, is not written again.
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
      - What is to be so for the project, or for the instances.
      - Instances with no value of their own have that of their zone, and if that has none, the project's.
    type: str
    choices: [disabled, enabled]
    default: disabled
  enforce:
    description:
      - Whether to remove the key from the metadata of instances and of zones that would differ from the project.
      - Zones without any instance are not looked at.
      - Only for the project. It cannot be used together with O(instance), O(instances) or O(filter).
    type: bool
    default: false
  audit:
    description:
      - Whether to look for calls of legacy endpoints in all metadata of the project, of its instances or of those
        selected, and of the zones that these are in. With check mode, that is all that happens.
      - All values are looked at, and so is what cloud-init and Ignition decode in them, which are MIME parts,
        C(write_files) in base64 and gzip, and data URLs, and C(user-data) as a whole if C(user-data-encoding) says so.
      - It finds what is written out. It does not run scripts, nor fetch those that are kept elsewhere.
    type: bool
    default: false
  timeout:
    description:
      - For how many seconds the metadata of one instance, of a zone, or of the project, is tried to be changed while
        others change it, too, its operation is waited for, and it is read back.
    type: float
    default: 300.0
notes:
  - Needs C(compute.projects.get), C(compute.instanceSettings.get), C(compute.instances.list) or
    C(compute.instances.get), and to change the project C(compute.projects.setCommonInstanceMetadata), to change zones
    C(compute.instanceSettings.update), to change instances C(compute.instances.setMetadata), and
    C(iam.serviceAccounts.actAs) on the service accounts that they run as.
  - Instances that are made from an instance template have what the template says. This does not look into templates.
seealso:
  - module: gce.guest.legacy_endpoints_info
  - name: Turning off legacy endpoints
    description: How to do it step by step.
    link: https://github.com/gce-guest/gce.guest/blob/main/docs/docsite/rst/guide_legacy_endpoints.rst
"""

EXAMPLES = r"""
- name: Look for what would break
  gce.guest.legacy_endpoints:
    audit: true
  check_mode: true
  register: legacy

- name: Show where it is
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
  description: The project after this.
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
      description: What that means, which is V(disabled), V(enabled), or V(unclear) if the value is not a boolean.
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
    - The instances that this was about, after it. With O(enforce), those that differed from the project. Else, for the
      project, none.
  returned: always, once the instances are known
  type: list
  elements: dict
  contains:
    name:
      description: The instance's name, or what O(instances) has, if there is no such instance.
      type: str
      returned: success
      sample: web-1
    zone:
      description: Its zone. V(null), as all else, if there is no such instance.
      type: str
      returned: success
      sample: europe-west1-b
    value:
      description: Its own value. V(null) if it has none, and thus that of its zone or the project.
      type: str
      returned: success
      sample: "TRUE"
    state:
      description: What is so for it, by its own value, its zone's or the project's.
      type: str
      returned: success
      sample: disabled
    changed:
      description: Whether its metadata was changed.
      type: bool
      returned: success
      sample: true
    failed:
      description: Whether that failed.
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
    - The zones of these instances that have a value, or had one before this. For the project, of all its instances.
  returned: always, once the instances are known
  type: list
  elements: dict
  contains:
    name:
      description: The zone.
      type: str
      returned: success
      sample: europe-west1-b
    value:
      description: The value of V(disable-legacy-endpoints) in its metadata after this. V(null) if it has none any more.
      type: str
      returned: success
      sample: "FALSE"
    state:
      description: What is so for its instances that have no value of their own.
      type: str
      returned: success
      sample: enabled
    changed:
      description: Whether its metadata was changed.
      type: bool
      returned: success
      sample: false
    failed:
      description: Whether that failed.
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
    - The instances that differ from the project after this, by a value of their own or of their zone. Of all the
      project's instances if this is about the project, or else of those selected.
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
      description: Its own value. V(null) if it has none, and differs by that of its zone, see RV(zones).
      type: str
      returned: success
      sample: "FALSE"
    state:
      description: What is so for it.
      type: str
      returned: success
      sample: enabled
legacy_calls:
  description:
    - Where the metadata calls legacy endpoints. V(null) without O(audit).
    - The text itself is not returned, since it may hold secrets.
  returned: always, once the instances are known
  type: list
  elements: dict
  contains:
    instance:
      description: The instance whose metadata it is. V(null) if it is that of a zone or of the project.
      type: str
      returned: success
      sample: web-1
    zone:
      description: The instance's zone, or the zone whose metadata it is. V(null) if it is the project's.
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
        - The number of the line in the value. The first one is V(1).
        - If it is encoded there, such as in base64, this is the line on which the encoded text begins.
      type: int
      returned: success
      sample: 12
    endpoint:
      description: What it calls, which is V(/computeMetadata/v1beta1/) or V(/0.1/).
      type: str
      returned: success
      sample: /computeMetadata/v1beta1/
scripts_elsewhere:
  description: Scripts that were not looked at, since the metadata only says where they are. V(null) without O(audit).
  returned: always, once the instances are known
  type: list
  elements: dict
  contains:
    instance:
      description: The instance whose metadata it is. V(null) if it is that of a zone or of the project.
      type: str
      returned: success
      sample: web-1
    zone:
      description: The instance's zone, or the zone whose metadata it is. V(null) if it is the project's.
      type: str
      returned: success
      sample: europe-west1-b
    key:
      description: The key that says where the script is.
      type: str
      returned: success
      sample: startup-script-url
unreachables:
  description:
    - The zones that the API could not list, such as V(zones/europe-west1-b). Nothing here is about instances in them.
      There is a warning, too.
  returned: always, once the instances are known
  type: list
  elements: str
  sample: []
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gce.guest.plugins.module_utils._compute.api import ComputeApi
from ansible_collections.gce.guest.plugins.module_utils._compute.errors import ComputeError
from ansible_collections.gce.guest.plugins.module_utils._compute.instances import select, zone_of
from ansible_collections.gce.guest.plugins.module_utils._compute.metadata_store import (
    InstanceStore,
    ProjectStore,
    Snapshot,
    Store,
    ZonalStore,
    change,
    snapshot_of,
    unverified,
)
from ansible_collections.gce.guest.plugins.module_utils._metadata.custom import Plan, plan
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
    ApiModule,
    compute_api,
    each,
    failing,
    summary_of_failures,
)
from ansible_collections.gce.guest.plugins.module_utils._module.guest import ArgumentSpec
from ansible_collections.gce.guest.plugins.module_utils._module.selection import (
    INSTANCES_ARGSPEC,
    ONE_SELECTION,
    refuse_empty,
    selected,
    selections,
)

Planner = Callable[[Mapping[str, str]], Plan]

FIELDS = "metadata(fingerprint,items)"


@dataclass
class Place:
    """The metadata of the project, of a zone, which have no name here, or of an instance, and what becomes of it."""

    store: Store
    found: Snapshot
    name: str | None = None
    zone: str | None = None
    plan: Plan | None = None
    deadline: float = 0.0
    error: Exception | None = None

    @property
    def values(self) -> Mapping[str, str]:
        return self.found.values if self.plan is None or self.error else self.plan.after

    @property
    def own(self) -> str | None:
        return self.values.get(KEY)

    @property
    def changed(self) -> bool:
        return self.plan is not None and self.plan.changed and self.error is None


@dataclass
class Report:
    """What was found, and done. `treated` are those of the instances that it was about."""

    project: Place
    zones: Mapping[str, Place] = field(default_factory=dict)
    instances: Sequence[Place] = ()
    treated: Sequence[Place] = ()
    missing: Mapping[str, Exception] = field(default_factory=dict)

    def state_below(self, zone: str | None) -> str:
        """What is so for an instance in a zone that has no value of its own."""
        return effective_state(self.zones[str(zone)].own, self.project.own)

    def state(self, place: Place) -> str:
        """What is so for an instance."""
        return effective_state(place.own, self.zones[str(place.zone)].own, self.project.own)

    def differs(self, place: Place) -> bool:
        """Whether an instance is not as the project."""
        return self.state(place) != state_of(self.project.own)


def main(clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep) -> None:
    spec = ArgumentSpec(
        {
            "state": {"type": "str", "choices": ["disabled", "enabled"], "default": "disabled"},
            "enforce": {"type": "bool", "default": False},
            "audit": {"type": "bool", "default": False},
            "timeout": {"type": "float", "default": 300.0},
        }
    )
    module = spec.update(API_ARGSPEC).update(INSTANCES_ARGSPEC, **ONE_SELECTION).create_module(kind=ApiModule)
    check_scope(module)
    with failing(module):
        with compute_api(module, clock=clock, sleep=sleep) as api:
            store = ProjectStore(api)
            report = Report(Place(store, store.read()))
            if selections(module.params):
                treat_instances(module, api, report)
            else:
                treat_project(module, api, report)
        tell(module, api, report)


def check_scope(module: AnsibleModule) -> None:
    """Refuse what could be meant otherwise."""
    params = module.params
    refuse_empty(module)
    if selections(params):
        if params["enforce"]:
            module.fail_json(msg="enforce is about the project. Leave it out, or else instance, instances and filter.")
    elif params["zone"] is not None:
        module.fail_json(msg="The project's metadata has no zone. Say which instances, or leave zone out.")


# What is wanted


def with_state(values: Mapping[str, str], state: str, meaning: Callable[[str | None], str]) -> Plan:
    """A value that already means it is left as it is spelled."""
    if meaning(values.get(KEY)) == state:
        return plan(values, {})
    return plan(values, {KEY: "TRUE" if state == DISABLED else "FALSE"})


def without_override(values: Mapping[str, str], project_value: str | None) -> Plan:
    return plan(values, {KEY: ""}, present=False) if overrides(values.get(KEY), project_value) else plan(values, {})


# Doing it


def treat_project(module: AnsibleModule, api: ComputeApi, report: Report) -> None:
    """First the project, so that an override is not removed before there is something to fall back on."""
    state = module.params["state"]
    report.instances = places(api, select(api, fields=FIELDS).instances)
    report.zones = zones_of(api, report.instances)
    treat(module, api, [report.project], lambda values: with_state(values, state, state_of))
    if report.project.error is not None:
        raise report.project.error
    project_value = report.project.own
    if module.params["enforce"]:
        for zone in report.zones.values():
            treat(module, api, [zone], lambda values: without_override(values, project_value))
        has_changed = report.project.changed or any(zone.changed for zone in report.zones.values())
        if has_changed and not module.check_mode:
            # That has given the instances' metadata other fingerprints, too.
            # https://github.com/GoogleCloudPlatform/magic-modules/pull/1614
            report.instances = places(api, select(api, fields=FIELDS).instances)
            # Somebody may have made the first one of a zone, meanwhile.
            report.zones = {**zones_of(api, report.instances), **report.zones}
        report.treated = [place for place in report.instances if overrides(place.own, project_value)]
        treat(module, api, report.treated, lambda values: without_override(values, project_value))


def treat_instances(module: AnsibleModule, api: ComputeApi, report: Report) -> None:
    params = module.params
    selection = selected(params, api, FIELDS)
    report.instances = report.treated = places(api, selection.instances)
    report.missing = selection.failures
    report.zones = zones_of(api, report.instances)

    def planner(place: Place) -> Planner:
        below = (report.zones[str(place.zone)].own, report.project.own)
        return lambda values: with_state(values, params["state"], lambda own: effective_state(own, *below))

    treat_each(module, api, [(place, planner(place)) for place in report.treated])


def treat(module: AnsibleModule, api: ComputeApi, treated: Sequence[Place], planner: Planner) -> None:
    treat_each(module, api, [(place, planner) for place in treated])


def treat_each(module: AnsibleModule, api: ComputeApi, treated: Sequence[tuple[Place, Planner]]) -> None:
    """Plan it, and carry it out unless this only checks. Each place gets its plan, and an error if it failed.

    If they are several, they have to be instances, which are read back together.
    """
    for place, planner in treated:
        place.plan = planner(place.found.values)
    if module.check_mode:
        return
    planners = {place.store.path: planner for place, planner in treated}
    due = [place for place, _planner in treated if place.changed]

    def carry_out(place: Place) -> Plan:
        # Counted from when it is the instance's turn.
        place.deadline = api.clock() + float(module.params["timeout"])
        return change(place.store, planners[place.store.path], snapshot=place.found, deadline=place.deadline)

    for place, done in zip(due, each(api, due, carry_out)):
        if isinstance(done, Plan):
            place.plan = done
        else:
            place.error = done
    written = [(place.store, place.plan) for place in due if place.plan is not None and place.changed]
    problems = unverified(written, deadline=max((place.deadline for place in due), default=0.0))
    for place in due:
        place.error = place.error or problems.get(place.store.path)


def zones_of(api: ComputeApi, instances: Sequence[Place]) -> dict[str, Place]:
    """The metadata of the zones that these are in."""

    def read(zone: str) -> Place:
        store = ZonalStore(api, zone)
        return Place(store, store.read(), zone=zone)

    names = sorted({str(place.zone) for place in instances})
    found: dict[str, Place] = {}
    for name, place in zip(names, each(api, names, read)):
        if isinstance(place, ComputeError):
            # What is so for its instances is not known without it.
            raise place
        found[name] = place
    return found


def places(api: ComputeApi, instances: Sequence[Mapping[str, Any]]) -> list[Place]:
    return [
        Place(
            InstanceStore(api, instance),
            snapshot_of(instance.get("metadata", {})),
            str(instance["name"]),
            zone_of(instance),
        )
        for instance in instances
    ]


# Telling it


def tell(module: AnsibleModule, api: ComputeApi, report: Report) -> None:
    result = as_result(report, api, with_audit=module.params["audit"])
    if module._diff:
        result["diff"] = diffs((report.project, *report.zones.values(), *report.treated))
    if result["legacy_calls"] and module.params["state"] == DISABLED:
        module.warn(f"Metadata still calls legacy endpoints: {len(result['legacy_calls'])} found, see legacy_calls.")
    failures = {written: str(error) for written, error in report.missing.items()}
    failed = [place for place in (*report.zones.values(), *report.treated) if place.error is not None]
    failures.update({place.name or f"The zone {place.zone}": str(place.error) for place in failed})
    zones = [zone for zone in report.zones.values() if zone.plan is not None and zone.plan.changed]
    total = len(report.treated) + len(report.missing) + len(zones)
    if not failures:
        module.exit_json(**result)
    if total == 1:
        module.fail_json(msg="".join(failures.values()), **result)
    what = "zones and instances" if zones else "instances"
    module.fail_json(msg=summary_of_failures(failures, total, what), **result)


def as_result(report: Report, api: ComputeApi, *, with_audit: bool) -> dict[str, Any]:
    project, audited = report.project, (report.project, *report.zones.values(), *report.instances)
    return {
        "changed": any(place.changed for place in (project, *report.zones.values(), *report.treated)),
        "project": {
            "name": api.project,
            "value": project.own,
            "state": state_of(project.own),
            "changed": project.changed,
        },
        "instances": [
            *(instance_result(place, report.state(place)) for place in report.treated),
            *(missing_result(written, error) for written, error in report.missing.items()),
        ],
        "zones": [
            zone_result(name, zone, report.state_below(name))
            for name, zone in report.zones.items()
            if KEY in zone.found.values or zone.own is not None
        ],
        "overrides": [
            {"name": place.name, "zone": place.zone, "value": place.own, "state": report.state(place)}
            for place in report.instances
            if report.differs(place)
        ],
        "legacy_calls": [
            {"instance": place.name, "zone": place.zone, **asdict(call)}
            for place in audited
            for call in calls(place.values)
        ]
        if with_audit
        else None,
        "scripts_elsewhere": [
            {"instance": place.name, "zone": place.zone, "key": key}
            for place in audited
            for key in scripts_elsewhere(place.values)
        ]
        if with_audit
        else None,
        "unreachables": api.unreachables,
    }


def zone_result(name: str, zone: Place, state: str) -> dict[str, Any]:
    result = {
        "name": name,
        "value": zone.own,
        "state": state,
        "changed": zone.changed,
        "failed": zone.error is not None,
    }
    return result if zone.error is None else {**result, "msg": str(zone.error)}


def instance_result(place: Place, state: str) -> dict[str, Any]:
    result = {
        "name": place.name,
        "zone": place.zone,
        "value": place.own,
        "state": state,
        "changed": place.changed,
        "failed": place.error is not None,
    }
    return result if place.error is None else {**result, "msg": str(place.error)}


def missing_result(written: str, error: Exception) -> dict[str, Any]:
    return {
        "name": written,
        "zone": None,
        "value": None,
        "state": None,
        "changed": False,
        "failed": True,
        "msg": str(error),
    }


def diffs(treated: Sequence[Place]) -> list[dict[str, Any]]:
    """One for each change, with nothing of the metadata but the key that this is about."""
    return [
        {
            "before_header": place.store.resource,
            "after_header": place.store.resource,
            "before": {key: value for key, value in place.plan.before.items() if key == KEY},
            "after": {key: value for key, value in place.plan.after.items() if key == KEY},
        }
        for place in treated
        if place.plan is not None and place.changed
    ]


if __name__ == "__main__":
    main()

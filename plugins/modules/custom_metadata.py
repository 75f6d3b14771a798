#!/usr/bin/python
# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: custom_metadata
short_description: Set and remove custom metadata of instances, zones and projects
version_added: 0.1.0
description:
  - Makes custom metadata what it is to be, through the Compute API, for one instance, for many at once, for a zone, or
    for the project.
  - Nothing that others write at the same time gets lost. The API refuses a write if somebody else was faster, be it at
    once or when its operation ends. Then the metadata is read again, and changed again, until O(timeout).
  - What differs only is written, and is read back afterwards.
  - Many instances are seen to at the same time. If some of them fail, the others are done, and the module fails at the
    end, with one result for each in RV(instances). When it is run again, it does what is left to do.
  - Keys, values and sizes are checked before anything is sent. There is a warning if a script for Linux has line ends
    of Windows, since it would not run.
  - SSH keys can be added and removed one by one, see O(ssh_keys).
author:
  - The gce.guest authors (@gce-guest)
extends_documentation_fragment:
  - gce.guest._attributes
  - gce.guest._attributes.actiongroup_api
  - gce.guest._api
  - gce.guest._api.instances
  - gce.guest._guest.secrets
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Secrets are redacted, see O(show_secrets). Whether they change is shown.
options:
  scope:
    description:
      - Whose metadata this is about.
      - With V(instance), that of O(instance), O(instances) or O(filter).
      - With V(zonal), that of O(zone), which is in effect for all of its instances that do not have the key themselves.
      - With V(project), that of the project, which is in effect for all instances where neither they nor their zone
        have the key.
      - By default V(instance) if instances are given, even if it is an empty list of them, and else V(project).
    type: str
    choices: [instance, zonal, project]
  zone:
    description:
      - The zone whose metadata O(scope=zonal) is about, or else the zone of the instances.
      - By default instances are looked up in all zones.
  metadata:
    description:
      - Keys and values. A key has up to 128 letters, digits, V(_) and V(-). A value has up to 256 KiB, and all keys and
        values together have up to 512 KiB.
      - A value is a text, or a number or a boolean, which become text. Booleans become V(TRUE) and V(FALSE), as the
        metadata server writes its own. Anything else is refused, and so is a number that is not
        finite.
      - With O(state=absent), the values do not matter, and can be left empty.
    type: dict
  metadata_from_file:
    description:
      - Keys, and the paths of files that have the values, where the module runs. The files are UTF-8 text.
      - A key cannot be here and in O(metadata).
    type: dict
  ssh_keys:
    description:
      - Single SSH keys to add to C(ssh-keys) and to remove from it. All other lines stay as they are, with their
        comments.
      - A line is C(USER:KEY), such as V(alice:ssh-ed25519 AAAA... alice@example.com). Two lines are about the same key
        if they have the same user, type and key.
      - In C(sshKeys), the older name of the key, lines are found and removed as well. New lines are written to
        C(ssh-keys).
      - It cannot be used together with C(ssh-keys) or C(sshKeys) in O(metadata), and O(purge) leaves both alone then.
      - It warns of instances that do not take the keys, see RV(ssh_keys_ignored).
    type: dict
    suboptions:
      present:
        description:
          - Lines that are to be there. An entry may also have several lines, such as those of a file.
          - A line without a comment leaves that of a line that is there already. With another comment, the line is
            replaced, such as by one with another expiry in C(google-ssh {"userName":"...","expireOn":"..."\}).
        type: list
        elements: str
      absent:
        description:
          - Lines that are not to be there, whatever their comments.
          - A key without a user is removed from all users. A user without a key loses all keys but those in
            O(ssh_keys.present).
        type: list
        elements: str
  state:
    description: Whether the keys are to have these values, or not to be there.
    type: str
    choices: [present, absent]
    default: present
  purge:
    description:
      - Whether to also remove all other keys, but for those that O(keep) has, and those that Google's own services have
        written, see O(purge_owned).
      - Needs O(metadata) or O(metadata_from_file), though it may be an empty dictionary, unless O(state=absent).
    type: bool
    default: false
  keep:
    description:
      - What O(purge) leaves alone, as keys or as patterns, in which V(*) is anything and V(?) is one character.
      - By default SSH keys and the keys of Windows accounts. An empty list lets O(purge) remove these, too.
    type: list
    elements: str
    default:
      - ssh-keys
      - sshKeys
      - windows-keys
  purge_owned:
    description:
      - Whether O(purge) also removes what Google's own services have written, and do not work without.
      - These are C(created-by) and C(instance-template) of managed instance groups, C(gce-container-declaration),
        C(google-*), C(gke-*), C(k8s-*), C(kube-*), C(kubeconfig), C(kubelet-config) and C(dataproc-*).
      - On a node of Kubernetes Engine, which has C(kube-env) or C(cluster-name), they are also C(cluster-*), C(gci-*),
        C(configure-sh), C(containerd-configure-sh), C(disable-address-manager), C(startup-script), C(user-data),
        C(windows-startup-script-ps1) and the rest of what its guide has in a table. So are keys on instances of
        Dataproc, App Engine and Cloud TPU.
    type: bool
    default: false
  timeout:
    description:
      - For how many seconds the metadata of one instance, or of the zone or the project, is tried to be changed while
        others change it, too, its operation is waited for, and it is read back.
    type: float
    default: 300.0
seealso:
  - name: About VM metadata
    description: What Google says about custom metadata.
    link: https://cloud.google.com/compute/docs/metadata/overview
  - ref: ansible_collections.gce.guest.docsite.guide_custom_metadata
    description: Which keys belong to Google's services, in a table.
  - module: gce.guest.custom_metadata_info
  - module: gce.guest.metadata_info
  - plugin: gce.guest.custom_metadata
    plugin_type: lookup
notes:
  - Runs where the credentials are, which usually is the controller, such as with C(delegate_to=localhost).
  - The permissions are C(compute.instances.get), C(compute.instances.list) and C(compute.instances.setMetadata) for
    instances, C(compute.projects.get) and C(compute.projects.setCommonInstanceMetadata) for the project,
    C(compute.instanceSettings.get) and C(compute.instanceSettings.update) for zones, and C(iam.serviceAccounts.actAs)
    on the service accounts that instances run as.
  - Whoever can read an instance's metadata can read its secrets. The module does not repeat them, but Ansible writes
    what a module is called with into the system's log. For a value that must not be there, set C(no_log=true), or use
    O(metadata_from_file).
"""

EXAMPLES = r"""
- name: Let guest attributes be used on one instance
  gce.guest.custom_metadata:
    project: acme
    zone: europe-west1-b
    instance: web-1
    metadata:
      enable-guest-attributes: true

- name: Tell many instances, wherever they are, which release is theirs
  gce.guest.custom_metadata:
    project: acme
    filter: labels.env = prod AND status = RUNNING
    metadata:
      release: 1.4.2
      canary: false

- name: Let one instance have this metadata and no other, but for what belongs to Google's services
  gce.guest.custom_metadata:
    project: acme
    zone: europe-west1-b
    instance: web-1
    metadata:
      release: 1.4.2
      role: web
    purge: true

- name: Set what is to be in effect in a zone
  gce.guest.custom_metadata:
    project: acme
    scope: zonal
    zone: europe-west1-b
    metadata:
      mirror: http://mirror.b.internal/

- name: Remove a key from the project
  gce.guest.custom_metadata:
    project: acme
    metadata:
      release:
    state: absent

- name: See what would be changed
  gce.guest.custom_metadata:
    project: acme
    instances:
      - europe-west1-b/web-1
      - europe-west1-c/web-2
    metadata:
      release: 1.5.0
  check_mode: true
  diff: true
  register: release

- name: Let Alice in, and Bob no more
  gce.guest.custom_metadata:
    project: acme
    filter: labels.env = prod
    ssh_keys:
      present:
        - alice:ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ9AX5xkfQ3IDuvWj5bM8VfoTZVhS1a0jQ2nZk0pYr7B alice@example.com
      absent:
        - bob

- name: Say so
  ansible.builtin.debug:
    msg: "{{ release.instances | selectattr('changed') | map(attribute='name') | join(', ') }}"
"""

RETURN = r"""
scope:
  description: Whose metadata it was about.
  returned: success
  type: str
  sample: instance
instances:
  description: What was done to each instance. Empty for other scopes.
  returned: always, once the instances are known
  type: list
  elements: dict
  contains:
    name:
      description: The instance's name, or what O(instances) has, if there is no such instance.
      type: str
      returned: always
      sample: web-1
    zone:
      description: Its zone. V(null) if there is no such instance.
      type: str
      returned: always
      sample: europe-west1-b
    changed:
      description: Whether its metadata was changed.
      type: bool
      returned: always
      sample: true
    failed:
      description: Whether it could not be made what it is to be.
      type: bool
      returned: always
      sample: false
    msg:
      description: What went wrong.
      type: str
      returned: when it failed
      sample: There is no instance web-1 in any zone of the project acme.
    written:
      description: The keys that were written, or would be in check mode.
      type: list
      elements: str
      returned: always
      sample: [release]
    deleted:
      description: The keys that were removed, or would be in check mode.
      type: list
      elements: str
      returned: always
      sample: []
    not_kept:
      description:
        - The keys that were written or removed, but had something else when they were read back, since somebody else
          writes there, too.
      type: list
      elements: str
      returned: when there are any
      sample: [release]
written:
  description: The keys that were written, or would be in check mode, on whichever instance.
  returned: success
  type: list
  elements: str
  sample: [release]
deleted:
  description: The keys that were removed, or would be in check mode, from whichever instance.
  returned: success
  type: list
  elements: str
  sample: []
ssh_keys_added:
  description: The SSH keys that were added, or would be, on whichever instance. With user, type and fingerprint.
  returned: when O(ssh_keys) is given
  type: list
  elements: str
  sample: ["alice ssh-ed25519 SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"]
ssh_keys_removed:
  description: The SSH keys that were removed, or would be, from whichever instance.
  returned: when O(ssh_keys) is given
  type: list
  elements: str
  sample: []
ssh_keys_ignored:
  description:
    - Instances that do not take the keys in O(ssh_keys.present), and why.
    - For the project and for zones, all their instances are looked at, since an instance may block the project's keys.
  returned: when O(ssh_keys) has keys to be there
  type: list
  elements: dict
  contains:
    name:
      description: The instance.
      type: str
      returned: success
      sample: web-1
    zone:
      description: Its zone.
      type: str
      returned: success
      sample: europe-west1-b
    reason:
      description: Why it does not take them.
      type: str
      returned: success
      sample: block-project-ssh-keys is TRUE
unreachables:
  description:
    - The zones that the API could not list, such as V(zones/europe-west1-b). Instances in them were not found. There
      is a warning, too.
  returned: success
  type: list
  elements: str
  sample: []
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gce.guest.plugins.module_utils._compute.api import ComputeApi
from ansible_collections.gce.guest.plugins.module_utils._compute.errors import ComputeError
from ansible_collections.gce.guest.plugins.module_utils._compute.instances import zone_named, zone_of
from ansible_collections.gce.guest.plugins.module_utils._compute.metadata_store import (
    InstanceStore,
    NotKept,
    ProjectStore,
    Snapshot,
    Store,
    ZonalStore,
    change,
    plan_for,
    snapshot_of,
    unverified,
)
from ansible_collections.gce.guest.plugins.module_utils._metadata import ssh_keys as _ssh_keys
from ansible_collections.gce.guest.plugins.module_utils._metadata.custom import (
    KEPT_KEYS,
    CustomMetadataError,
    Plan,
    as_bool,
    plan,
    refuse_too_large,
    script_warnings,
    texts_of,
)
from ansible_collections.gce.guest.plugins.module_utils._module.api import (
    API_ARGSPEC,
    ApiModule,
    compute_api,
    each,
    failing,
    summary_of_failures,
)
from ansible_collections.gce.guest.plugins.module_utils._module.guest import (
    SECRETS_ARGSPEC,
    ArgumentSpec,
    secret_patterns,
)
from ansible_collections.gce.guest.plugins.module_utils._module.redacting import DiscreetModule
from ansible_collections.gce.guest.plugins.module_utils._module.selection import (
    INSTANCES_ARGSPEC,
    ONE_SELECTION,
    refuse_empty,
    selected,
    selections,
)
from ansible_collections.gce.guest.plugins.module_utils._module.ssh_key_reach import (
    Ignoring,
    of_instances,
    of_project,
    of_zone,
)

Planner = Callable[[Mapping[str, str]], Plan]


class DiscreetApiModule(DiscreetModule, ApiModule):
    pass


@dataclass
class Target:
    """One instance, and what becomes of it. Without a store, there is no such instance."""

    name: str
    zone: str | None = None
    store: Store | None = None
    snapshot: Snapshot | None = None
    plan: Plan | None = None
    deadline: float = 0.0
    error: Exception | None = None

    @property
    def done(self) -> Plan | None:
        """What was changed, or would be; None if it failed."""
        return self.plan if self.error is None else None

    def to_result(self) -> dict[str, Any]:
        result = {
            "name": self.name,
            "zone": self.zone,
            "changed": bool(self.done and self.done.changed),
            "failed": self.error is not None,
            "written": self.done.written if self.done else [],
            "deleted": self.done.deleted if self.done else [],
        }
        if isinstance(self.error, NotKept):
            result["not_kept"] = list(self.error.keys)
        return result if self.error is None else {**result, "msg": str(self.error)}


def main(clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep) -> None:
    spec = ArgumentSpec(
        {
            "scope": {"type": "str", "choices": ["instance", "zonal", "project"]},
            "metadata": {"type": "dict"},
            "metadata_from_file": {"type": "dict"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "purge": {"type": "bool", "default": False},
            "purge_owned": {"type": "bool", "default": False},
            "keep": {"type": "list", "elements": "str", "default": list(KEPT_KEYS), "no_log": False},
            "ssh_keys": {
                "type": "dict",
                "no_log": False,
                "options": {
                    "present": {"type": "list", "elements": "str"},
                    "absent": {"type": "list", "elements": "str"},
                },
            },
            "timeout": {"type": "float", "default": 300.0},
        },
        required_if=[("scope", "zonal", ["zone"]), ("scope", "instance", ["instance", "instances", "filter"], True)],
    )
    spec.update(API_ARGSPEC).update(INSTANCES_ARGSPEC, **ONE_SELECTION).update(SECRETS_ARGSPEC)
    module = spec.create_module(kind=partial(DiscreetApiModule, "metadata", "ssh_keys"))
    with failing(module):
        scope, patterns, planner = checked_scope(module), secret_patterns(module), wanted_plan(module)
        with compute_api(module, clock=clock, sleep=sleep) as api:
            if scope == "instance":
                change_instances(module, api, planner, patterns)
            change_one(module, api, scope, planner, patterns)


# What is wanted


def checked_scope(module: AnsibleModule) -> str:
    """The scope as it is meant; what could be meant otherwise is refused."""
    params = module.params
    given = selections(params)
    scope = str(params["scope"] or ("instance" if given else "project"))
    if given and scope != "instance":
        module.fail_json(msg=f"{given[0]} is given, but the scope is {scope}. Leave one of them out.")
    refuse_empty(module)
    if scope == "project" and params["zone"] is not None:
        module.fail_json(
            msg="The project's metadata has no zone. Set scope=zonal for the zone's metadata, or say which instances."
        )
    return scope


def wanted_plan(module: AnsibleModule) -> Planner:
    """The function from current metadata to what is to become of it; all that can be checked without it is."""
    params = module.params
    values, files = params["metadata"] or {}, params["metadata_from_file"] or {}
    is_present = params["state"] == "present"
    for key in values.keys() & files.keys():
        module.fail_json(msg=f"The key {key!r} is both in metadata and in metadata_from_file.")
    ssh_keys = wanted_ssh_keys(module)
    if not values and not files and not params["purge"] and ssh_keys is None:
        module.fail_json(msg="There is nothing to do: give metadata, metadata_from_file, ssh_keys or purge=true.")
    if params["purge_owned"] and not params["purge"]:
        module.fail_json(msg="purge_owned says what purge removes, and needs purge=true.")
    # For Ansible, an option that is null is there. Here it would remove everything for a variable that is not defined.
    names_none = params["metadata"] is None and params["metadata_from_file"] is None
    if is_present and names_none and (params["purge"] or ssh_keys is None):
        module.fail_json(
            msg="metadata and metadata_from_file are null, which does not say what purge is to leave. Give a "
            "dictionary of it, and {} for none. To remove all keys, set state=absent and purge=true."
        )
    if is_present:
        wanted = texts_of({**values, **{key: file_text(key, path) for key, path in files.items()}})
        for warning in script_warnings(wanted):
            module.warn(warning)
    else:
        wanted = texts_of(dict.fromkeys([*values, *files], ""))
    purging = {name: params[name] for name in ("purge", "purge_owned", "keep")}
    if ssh_keys is None:
        return lambda current: plan(current, wanted, present=is_present, **purging)
    purging["keep"] = [*params["keep"], *_ssh_keys.BOTH]

    def planner(current: Mapping[str, str]) -> Plan:
        others = plan(current, wanted, present=is_present, **purging)
        whole = Plan(others.before, _ssh_keys.applied(others.after, ssh_keys))
        refuse_too_large(whole)
        return whole

    return planner


def wanted_ssh_keys(module: AnsibleModule) -> _ssh_keys.Wanted | None:
    """The single keys that are to be there and those that are not, or None if this is not about them."""
    params = module.params
    if params["ssh_keys"] is None:
        return None
    if _ssh_keys.names_them([*(params["metadata"] or {}), *(params["metadata_from_file"] or {})]):
        module.fail_json(
            msg="ssh_keys is about single lines of ssh-keys, which is also given as a whole. Leave one of them out."
        )
    return _ssh_keys.wanted(params["ssh_keys"]["present"] or [], params["ssh_keys"]["absent"] or [])


def file_text(key: str, path: Any) -> str:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except (OSError, TypeError) as error:
        why = getattr(error, "strerror", None) or "it is not a path"
        raise CustomMetadataError(f"The file {path} for the key {key!r} cannot be read: {why}.") from error
    except UnicodeDecodeError as error:
        raise CustomMetadataError(f"The file {path} for the key {key!r} is not UTF-8 text.") from error


# The project, or a zone


def change_one(
    module: AnsibleModule, api: ComputeApi, scope: str, planner: Planner, patterns: Sequence[str | re.Pattern[str]]
) -> None:
    zone = zone_named(api, module.params["zone"]) if scope == "zonal" else ""
    store = ZonalStore(api, zone) if scope == "zonal" else ProjectStore(api)
    if module.check_mode:
        done = plan_for(store, store.read(), planner)
    else:
        end = deadline(module, api)
        done = change(store, planner, deadline=end, patterns=patterns)
        if done.changed:
            for error in unverified([(store, done)], deadline=end).values():
                raise error
    result = {"scope": scope, "instances": [], **summary(module, api, [(store, done)], patterns)}

    def find() -> list[Ignoring]:
        return of_zone(api, zone, done.after) if scope == "zonal" else of_project(api, done.after)

    module.exit_json(**result, **ignored_keys(module, find))


# Instances


def change_instances(
    module: AnsibleModule, api: ComputeApi, planner: Planner, patterns: Sequence[str | re.Pattern[str]]
) -> None:
    targets = targets_of(module, api)
    # All of them before the first is changed: what is too large for one is not written to the others.
    for target in targets:
        if target.store and target.snapshot:
            target.plan = plan_for(target.store, target.snapshot, planner)
    if not module.check_mode:
        carry_out(module, api, [target for target in targets if target.done and target.done.changed], planner, patterns)
    well = [(target.store, target.done) for target in targets if target.store and target.done]
    result = {
        "scope": "instance",
        "instances": [target.to_result() for target in targets],
        **summary(module, api, well, patterns),
        **ignored_keys(
            module,
            lambda: of_instances(api, [(each.name, str(each.zone), each.done.after) for each in targets if each.done]),
        ),
    }
    warn_of_unblocked(module, targets)
    failures = {target.name: str(target.error) for target in targets if target.error is not None}
    if not failures:
        module.exit_json(**result)
    module.fail_json(msg=summary_of_failures(failures, len(targets), "instances"), **result)


def targets_of(module: AnsibleModule, api: ComputeApi) -> list[Target]:
    selection = selected(module.params, api, "metadata(fingerprint,items)")
    targets = [
        Target(
            instance["name"],
            zone_of(instance),
            store=InstanceStore(api, instance),
            snapshot=snapshot_of(instance.get("metadata", {})),
        )
        for instance in selection.instances
    ]
    return targets + [Target(name, error=error) for name, error in selection.failures.items()]


def carry_out(
    module: AnsibleModule,
    api: ComputeApi,
    targets: Sequence[Target],
    planner: Planner,
    patterns: Sequence[str | re.Pattern[str]],
) -> None:
    """Change and verify them, and leave in each what became of it."""

    def change_it(target: Target) -> Plan:
        snapshot, target.snapshot = target.snapshot, None
        # Counted from when it is the instance's turn.
        target.deadline = deadline(module, api)
        return change(store_of(target), planner, snapshot=snapshot, deadline=target.deadline, patterns=patterns)

    for target, outcome in zip(targets, each(api, targets, change_it)):
        if isinstance(outcome, Plan):
            target.plan = outcome
        else:
            target.error = outcome
    # Others may have made some of them what they are to be, meanwhile.
    written = {store_of(target).path: target for target in targets if target.done and target.done.changed}
    done = [(store_of(target), target.done) for target in written.values() if target.done]
    end = max((target.deadline for target in written.values()), default=0.0)
    for path, error in unverified(done, deadline=end).items():
        written[path].error = error


def store_of(target: Target) -> Store:
    if target.store is None:
        raise ValueError(f"There is no instance {target.name}, and nothing to change.")
    return target.store


# Both


def summary(
    module: AnsibleModule,
    api: ComputeApi,
    done: Sequence[tuple[Store, Plan]],
    patterns: Sequence[str | re.Pattern[str]],
) -> dict[str, Any]:
    changes = [(store, each_plan) for store, each_plan in done if each_plan.changed]
    result: dict[str, Any] = {
        "changed": bool(changes),
        "written": sorted({key for store, each_plan in changes for key in each_plan.written}),
        "deleted": sorted({key for store, each_plan in changes for key in each_plan.deleted}),
        "unreachables": api.unreachables,
    }
    if module.params["ssh_keys"] is not None:
        lines = [_ssh_keys.changes(each_plan.before, each_plan.after) for store, each_plan in changes]
        result["ssh_keys_added"] = sorted({line for added, removed in lines for line in added})
        result["ssh_keys_removed"] = sorted({line for added, removed in lines for line in removed})
    if module._diff:
        result["diff"] = [
            {
                "before_header": store.resource,
                "after_header": store.resource,
                **shown_diff(module, each_plan, patterns),
            }
            for store, each_plan in changes
        ]
    return result


def shown_diff(
    module: AnsibleModule, done: Plan, patterns: Sequence[str | re.Pattern[str]]
) -> dict[str, dict[str, str]]:
    """Secrets are redacted; if single SSH keys are what this is about, they are shown without what is private."""
    show = module.params["show_secrets"]
    diff = done.diff(patterns, show_secrets=show)
    if module.params["ssh_keys"] is not None and not show:
        for side, values in (("before", done.before), ("after", done.after)):
            for key in _ssh_keys.BOTH:
                if key in values:
                    lines = [line for line in values[key].split("\n") if line.strip()]
                    diff[side][key] = "".join(f"{_ssh_keys.described(line)}\n" for line in lines)
    return diff


def ignored_keys(module: AnsibleModule, find: Callable[[], list[Ignoring]]) -> dict[str, Any]:
    """The instances that do not take the SSH keys which are to be there, with a warning."""
    if not (module.params["ssh_keys"] or {}).get("present"):
        return {}
    try:
        ignoring = find()
    except ComputeError as error:
        module.warn(f"Whether all instances take the SSH keys is not known. {error}")
        return {}
    if ignoring:
        shown = "; ".join(f"{each.zone}/{each.name}: {each.reason}" for each in ignoring[:3])
        more = f"; and {len(ignoring) - 3} more, see ssh_keys_ignored" if len(ignoring) > 3 else ""
        count = f"{len(ignoring)} instance{'s' if len(ignoring) > 1 else ''}"
        module.warn(f"The SSH keys are ignored by {count}. {shown}{more}.")
    return {"ssh_keys_ignored": [asdict(each) for each in ignoring]}


def warn_of_unblocked(module: AnsibleModule, targets: Sequence[Target]) -> None:
    """An instance with sshKeys does not take the project's keys. Without, it does."""
    for target in targets:
        if not (module.params["ssh_keys"] and target.done and _ssh_keys.LEGACY_KEY in target.done.deleted):
            continue
        if not as_bool(target.done.after.get("block-project-ssh-keys")):
            module.warn(
                f"The last line of sshKeys is removed from {target.name}, which takes the SSH keys of the project from "
                "then on. Set block-project-ssh-keys to TRUE to keep them out."
            )


def deadline(module: AnsibleModule, api: ComputeApi) -> float:
    return api.clock() + float(module.params["timeout"])


if __name__ == "__main__":
    main()

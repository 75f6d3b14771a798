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
  - Sets and removes custom metadata through the Compute API, for one instance, for many at once, for a zone, or for the
    project.
  - Concurrent writes by others are never lost. The API refuses a write if the metadata has changed since it was read,
    at once or when the operation ends. The module then reads the metadata again, and changes it again, until
    O(timeout).
  - Only differences are written. They are read back afterwards.
  - Many instances are changed at the same time. If some of them fail, the others are still changed, and the module
    fails at the end, with one result for each in RV(instances). Another run changes only those that are left.
  - Keys, values and sizes are checked before anything is sent. A warning tells of Linux scripts with Windows line
    endings, which do not run.
  - Single SSH keys can be added and removed, see O(ssh_keys).
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
      - Secrets are redacted, see O(show_secrets). Whether they change is visible.
options:
  scope:
    description:
      - Where the metadata is set.
      - With V(instance), on the instances in O(instance), O(instances) or O(filter).
      - With V(zonal), on O(zone). It applies to all instances in the zone that do not have the key themselves.
      - With V(project), on the project. It applies to all instances that do not have the key themselves or from their
        zone.
      - Defaults to V(instance) if instances are given, even if the list is empty, and to V(project) otherwise.
    type: str
    choices: [instance, zonal, project]
  zone:
    description:
      - The zone for O(scope=zonal), or the zone of the instances.
      - By default, instances are looked up in all zones.
  metadata:
    description:
      - Keys and values. A key has up to 128 letters, digits, V(_) and V(-). A value has up to 256 KiB, and all keys and
        values together have up to 512 KiB.
      - A value is a string, a finite number or a boolean. Booleans are written as V(TRUE) and V(FALSE), as the metadata
        server does.
      - With O(state=absent), values are ignored and can be empty.
    type: dict
  metadata_from_file:
    description:
      - Keys, and paths of files with their values, on the host where the module runs. The files are UTF-8 text.
      - A key cannot also be in O(metadata).
    type: dict
  ssh_keys:
    description:
      - Single SSH keys to add to C(ssh-keys) and to remove from it. All other lines are left alone.
      - A line is C(USER:KEY), such as V(alice:ssh-ed25519 AAAA... alice@example.com). Two lines are the same key if
        user, type and key are equal, whatever the comments.
      - Lines are also found in and removed from C(sshKeys), the older name. New lines are written to C(ssh-keys).
      - Cannot be used together with C(ssh-keys) or C(sshKeys) in O(metadata). O(purge) leaves both alone.
      - The module warns of instances that ignore the keys, see RV(ssh_keys_ignored).
    type: dict
    version_added: 0.2.0
    suboptions:
      present:
        description:
          - Lines to add. An entry may have several lines, such as the content of a file.
          - A line without a comment keeps the comment of an existing line. A line with another comment replaces it,
            for example to change the expiry in C(google-ssh {"userName":"...","expireOn":"..."\}).
        type: list
        elements: str
      absent:
        description:
          - Lines to remove, whatever their comments.
          - A key without a user is removed from all users. A user without a key loses all keys except those in
            O(ssh_keys.present).
        type: list
        elements: str
  state:
    description: Whether to set the keys or to remove them.
    type: str
    choices: [present, absent]
    default: present
  purge:
    description:
      - Whether to remove all other keys, except those that match O(keep) and those of Google's services, see
        O(purge_owned).
      - Requires O(metadata) or O(metadata_from_file), which may be an empty dictionary, unless O(state=absent).
    type: bool
    default: false
  keep:
    description:
      - Keys that O(purge) leaves alone. In patterns, V(*) matches anything and V(?) one character.
      - Defaults to SSH keys and the keys of Windows accounts. With an empty list, O(purge) removes these, too.
    type: list
    elements: str
    default:
      - ssh-keys
      - sshKeys
      - windows-keys
  purge_owned:
    description:
      - Whether O(purge) also removes the keys that Google's services have written and need.
      - These are C(created-by) and C(instance-template) of managed instance groups, C(gce-container-declaration),
        C(google-*), C(gke-*), C(k8s-*), C(kube-*), C(kubeconfig), C(kubelet-config) and C(dataproc-*).
      - On a node of Kubernetes Engine, which has C(kube-env) or C(cluster-name), they are also C(cluster-*), C(gci-*),
        C(configure-sh), C(containerd-configure-sh), C(disable-address-manager), C(startup-script), C(user-data),
        C(windows-startup-script-ps1) and the others that the guide lists. Keys on instances of Dataproc, App Engine and
        Cloud TPU are included.
    type: bool
    version_added: 0.2.0
    default: false
  timeout:
    description:
      - Seconds to change the metadata of one instance, of the zone or of the project. This includes retries after
        conflicts, waiting for the operation, and reading it back.
    type: float
    default: 300.0
seealso:
  - name: About VM metadata
    description: Google's documentation of custom metadata.
    link: https://cloud.google.com/compute/docs/metadata/overview
  - ref: ansible_collections.gce.guest.docsite.guide_custom_metadata
    description: The keys that belong to Google's services.
  - module: gce.guest.custom_metadata_info
  - module: gce.guest.metadata_info
  - plugin: gce.guest.custom_metadata
    plugin_type: lookup
notes:
  - Runs where the credentials are, usually on the controller with C(delegate_to=localhost).
  - Required permissions are C(compute.instances.get), C(compute.instances.list) and
    C(compute.instances.setMetadata) for instances, C(compute.projects.get) and
    C(compute.projects.setCommonInstanceMetadata) for the project, C(compute.instanceSettings.get) and
    C(compute.instanceSettings.update) for zones, and C(iam.serviceAccounts.actAs) on the service accounts that
    instances run as.
  - Whoever can read an instance's metadata can read its secrets. The module does not return them, but Ansible logs the
    arguments of modules to syslog. To prevent that, set C(no_log=true) or use O(metadata_from_file).
"""

EXAMPLES = r"""
- name: Enable guest attributes on one instance
  gce.guest.custom_metadata:
    project: acme
    zone: europe-west1-b
    instance: web-1
    metadata:
      enable-guest-attributes: true

- name: Set the release on many instances, in all zones
  gce.guest.custom_metadata:
    project: acme
    filter: labels.env = prod AND status = RUNNING
    metadata:
      release: 1.4.2
      canary: false

- name: Remove all other metadata from one instance, except that of Google's services
  gce.guest.custom_metadata:
    project: acme
    zone: europe-west1-b
    instance: web-1
    metadata:
      release: 1.4.2
      role: web
    purge: true

- name: Set metadata for a zone
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

- name: Preview a change
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

- name: Add an SSH key for Alice, and remove all of Bob's
  gce.guest.custom_metadata:
    project: acme
    filter: labels.env = prod
    ssh_keys:
      present:
        - alice:ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ9AX5xkfQ3IDuvWj5bM8VfoTZVhS1a0jQ2nZk0pYr7B alice@example.com
      absent:
        - bob

- name: Show the instances that would change
  ansible.builtin.debug:
    msg: "{{ release.instances | selectattr('changed') | map(attribute='name') | join(', ') }}"
"""

RETURN = r"""
scope:
  description: The scope of the change.
  returned: success
  type: str
  sample: instance
instances:
  description: The result for each instance. Empty for other scopes.
  returned: always, once the instances are known
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
    changed:
      description: Whether its metadata was changed, or would be in check mode.
      type: bool
      returned: always
      sample: true
    failed:
      description: Whether the change failed.
      type: bool
      returned: always
      sample: false
    msg:
      description: Why it failed.
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
        - The changed keys that had another value when they were read back, since another program writes them, too.
      type: list
      version_added: 0.2.0
      elements: str
      returned: when there are any
      sample: [release]
written:
  description: The keys that were written on any instance, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [release]
deleted:
  description: The keys that were removed from any instance, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: []
ssh_keys_added:
  description: The SSH keys that were added on any instance, or would be, as user, type and fingerprint.
  returned: when O(ssh_keys) is given
  type: list
  version_added: 0.2.0
  elements: str
  sample: ["alice ssh-ed25519 SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"]
ssh_keys_removed:
  description: The SSH keys that were removed from any instance, or would be.
  returned: when O(ssh_keys) is given
  type: list
  version_added: 0.2.0
  elements: str
  sample: []
ssh_keys_ignored:
  description:
    - Instances that ignore the keys in O(ssh_keys.present), and why.
    - For the project and for zones, all their instances are checked, since an instance may block the project's keys.
  returned: when O(ssh_keys.present) is given
  type: list
  version_added: 0.2.0
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
      description: Why it ignores them.
      type: str
      returned: success
      sample: block-project-ssh-keys is TRUE
unreachables:
  description:
    - Zones that the API could not list, such as V(zones/europe-west1-b). Their instances were not found. The module
      also warns of them.
  returned: success
  type: list
  elements: str
  sample: []
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gce.guest.plugins.module_utils._compute.api import REAL_TIME, ComputeApi, Time
from ansible_collections.gce.guest.plugins.module_utils._compute.errors import ComputeError
from ansible_collections.gce.guest.plugins.module_utils._compute.instances import zone_named
from ansible_collections.gce.guest.plugins.module_utils._compute.metadata_store import (
    NotKept,
    Planner,
    ProjectStore,
    Store,
    ZonalStore,
)
from ansible_collections.gce.guest.plugins.module_utils._metadata import ssh_keys as _ssh_keys
from ansible_collections.gce.guest.plugins.module_utils._metadata.custom import (
    KEPT_KEYS,
    CustomMetadataError,
    MetadataChange,
    plan,
    refuse_too_large,
    script_warnings,
    texts_of,
)
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
from ansible_collections.gce.guest.plugins.module_utils._module.metadata_targets import (
    INSTANCE_FIELDS,
    MetadataTarget,
    change_metadata,
    metadata_diff,
    metadata_targets,
)
from ansible_collections.gce.guest.plugins.module_utils._module.redacting import RedactingModule
from ansible_collections.gce.guest.plugins.module_utils._module.ssh_key_report import (
    ssh_key_result,
    with_described_keys,
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


class RedactingApiModule(RedactingModule, ApiModule):
    pass


def main(time: Time = REAL_TIME) -> None:
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
    module = spec.create_module(kind=partial(RedactingApiModule, "metadata", "ssh_keys"))
    with failing(module, *API_ERRORS):
        scope, patterns, planner = checked_scope(module.params), secret_patterns(module), wanted_change(module)
        with compute_api(module, time) as api:
            targets, missing = targets_of(module.params, api, scope)
            change_metadata(module, api, targets, lambda _target: planner, patterns)
            rows = [*map(row_of, targets), *missing_rows(missing, changed=False, written=[], deleted=[])]
            result = {
                "scope": scope,
                "instances": rows if scope == "instance" else [],
                "changed": any(row["changed"] for row in rows),
                "written": keys_of(rows, "written"),
                "deleted": keys_of(rows, "deleted"),
                "unreachables": api.unreachables,
                **ssh_key_result(module, api, scope, targets),
            }
        if module._diff:
            result["diff"] = diffs_of(module.params, targets, patterns)
        module.exit_json(**checked_result(result, rows))


# Options


def checked_scope(params: Mapping[str, Any]) -> str:
    given = selections(params)
    scope = str(params["scope"] or ("instance" if given else "project"))
    if given and scope != "instance":
        raise CustomMetadataError(f"{given[0]} is given, but the scope is {scope}. Omit one of them.")
    refuse_empty(params)
    if scope == "project" and params["zone"] is not None:
        raise CustomMetadataError(
            "The project's metadata has no zone. Set scope=zonal for the zone's metadata, or select instances."
        )
    return scope


def wanted_change(module: AnsibleModule) -> Planner:
    """The function from current metadata to the change. Raises CustomMetadataError for options that are wrong."""
    params = module.params
    values, files = params["metadata"] or {}, params["metadata_from_file"] or {}
    is_present = params["state"] == "present"
    for key in values.keys() & files.keys():
        raise CustomMetadataError(f"The key {key!r} is both in metadata and in metadata_from_file.")
    ssh_keys = wanted_ssh_keys(params)
    if not values and not files and not params["purge"] and ssh_keys is None:
        raise CustomMetadataError("There is nothing to do: give metadata, metadata_from_file, ssh_keys or purge=true.")
    if params["purge_owned"] and not params["purge"]:
        raise CustomMetadataError("purge_owned extends purge, and requires purge=true.")
    # An option that is null, such as an undefined variable, must not remove everything.
    has_none = params["metadata"] is None and params["metadata_from_file"] is None
    if is_present and has_none and (params["purge"] or ssh_keys is None):
        raise CustomMetadataError(
            "metadata and metadata_from_file are null, so that purge would remove all keys. Give a dictionary, and {} "
            "for none. To remove all keys, set state=absent and purge=true."
        )
    if is_present:
        wanted = texts_of({**values, **{key: file_text(key, path) for key, path in files.items()}})
        for warning in script_warnings(wanted):
            module.warn(warning)
    else:
        wanted = texts_of(dict.fromkeys([*values, *files], ""))
    keep = params["keep"] if ssh_keys is None else [*params["keep"], *_ssh_keys.BOTH]

    def planned(current: Mapping[str, str]) -> MetadataChange:
        change = plan(
            current,
            wanted,
            present=is_present,
            purge=params["purge"],
            purge_owned=params["purge_owned"],
            keep=keep,
        )
        if ssh_keys is not None:
            change = MetadataChange(change.before, _ssh_keys.applied(change.after, ssh_keys))
            refuse_too_large(change)
        return change

    return planned


def wanted_ssh_keys(params: Mapping[str, Any]) -> _ssh_keys.Wanted | None:
    if params["ssh_keys"] is None:
        return None
    if _ssh_keys.names_them([*(params["metadata"] or {}), *(params["metadata_from_file"] or {})]):
        raise CustomMetadataError(
            "ssh_keys changes single lines of ssh-keys, which is also given as a whole. Omit one of them."
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


# Targets


def targets_of(
    params: Mapping[str, Any], api: ComputeApi, scope: str
) -> tuple[list[MetadataTarget], Mapping[str, ComputeError]]:
    """The targets, and the instances that were not found."""
    if scope == "instance":
        selection = selected(params, api, INSTANCE_FIELDS)
        return metadata_targets(api, selection.instances), selection.failures
    zone = zone_named(api, params["zone"]) if scope == "zonal" else None
    store: Store = ProjectStore(api) if zone is None else ZonalStore(api, zone)
    return [MetadataTarget(store.resource, zone, store, store.read())], {}


# Result


def row_of(target: MetadataTarget) -> dict[str, Any]:
    done = target.done
    row = target.row(written=done.written if done else [], deleted=done.deleted if done else [])
    if isinstance(target.error, NotKept):
        row["not_kept"] = list(target.error.keys)
    return row


def keys_of(rows: Sequence[Mapping[str, Any]], column: str) -> list[str]:
    return sorted({key for row in rows for key in row[column]})


def diffs_of(
    params: Mapping[str, Any], targets: Sequence[MetadataTarget], patterns: Sequence[str | re.Pattern[str]]
) -> list[dict[str, Any]]:
    diffs = []
    for target in targets:
        if target.done is not None and target.done.changed:
            diff = target.done.diff(patterns, show_secrets=params["show_secrets"])
            if params["ssh_keys"] is not None and not params["show_secrets"]:
                diff = with_described_keys(diff, target.done)
            diffs.append(metadata_diff(target, diff))
    return diffs


if __name__ == "__main__":
    main()

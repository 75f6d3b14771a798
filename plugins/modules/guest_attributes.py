#!/usr/bin/python
# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: guest_attributes
short_description: Write and delete a VM's guest attributes
version_added: 0.1.0
description:
  - Writes and deletes guest attributes through the metadata server of the VM that this runs on. They can be read from
    outside the VM with the Compute API.
  - Reads the namespace first, writes and deletes only differences, and reads it again to verify that all changes have
    arrived. Dropped changes are sent again.
  - Stays within the rate that the metadata server allows, which is 10 requests a minute and 3 a second. Up to eight
    changes take at most three seconds, and every further ten about a minute. If O(attributes) can take more than ten
    seconds, Ansible shows the longest time in advance. RV(seconds) has the time, also in check mode. Changes that would
    take longer than O(max_wait) are rejected.
  - Denied requests are also retried for O(retry_for) seconds. Guest attributes are denied for some minutes after they
    were enabled; set it to V(300) then.
  - Names, sizes and values are checked before anything is sent.
author:
  - The gce.guest authors (@gce-guest)
extends_documentation_fragment:
  - gce.guest._attributes
  - gce.guest._attributes.actiongroup_guest
  - gce.guest._guest
  - gce.guest._guest.secrets
attributes:
  action:
    description: Indicates that the module has an action plugin, which runs on the controller first.
    support: full
    details:
      - It only shows how long the module can take, by the number of O(attributes). It does not know the current
        attributes, what O(purge) deletes, or who else uses the rate, and shows neither names nor values.
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Secrets are redacted, see O(show_secrets).
options:
  namespace:
    description:
      - The namespace of the attributes.
      - Up to 128 letters, digits, V(_) and V(-), like the names of attributes.
    type: str
    required: true
  attributes:
    description:
      - The attributes and their values, of at most 256 KiB each.
      - A value is text, a number or a boolean. Booleans are written as V(TRUE) and V(FALSE). Numbers have to be finite.
      - With O(state=absent), values are ignored and can be empty.
      - Required unless O(state=absent) and O(purge=true) delete the whole namespace. V(null) is rejected; for no
        attributes, use an empty dictionary.
    type: dict
  state:
    description: Whether to set or to delete the attributes.
    type: str
    choices: [present, absent]
    default: present
  purge:
    description:
      - Whether to delete all other attributes of the namespace.
      - Attributes that others add after the module has read the namespace are not deleted. Still, only one play should
        use a namespace that it purges.
    type: bool
    default: false
  max_wait:
    description:
      - The longest time in seconds to wait for the limited rate.
      - Changes that take longer are rejected before the first one, also in check mode. If other processes of the VM use
        up the rate meanwhile, the module fails and reports how many changes were made.
    type: float
    default: 300.0
notes:
  - Unchanged keys are never written, so that plays can write different keys of one namespace at the same time. If two
    plays write the same key, the last one wins.
  - Every process of the VM can read and write guest attributes. Do not use them for secrets. The module's result does
    not repeat O(attributes), and secrets are redacted in its diff. For a value that must not be logged anywhere, set
    C(no_log=true).
seealso:
  - name: Setting and querying guest attributes
    description: Limits and use of guest attributes.
    link: https://cloud.google.com/compute/docs/metadata/manage-guest-attributes
  - ref: ansible_collections.gce.guest.docsite.guide_guest_attributes
    description: How to enable, write and read guest attributes.
"""

EXAMPLES = r"""
- name: Publish the deployed version
  gce.guest.guest_attributes:
    namespace: deployment
    attributes:
      version: 1.4.2
      port: 8443
      canary: true

- name: Write guest attributes that were enabled a moment ago
  gce.guest.guest_attributes:
    namespace: deployment
    attributes:
      state: ready
    retry_for: 300

- name: Write one attribute and delete all others
  gce.guest.guest_attributes:
    namespace: deployment
    attributes:
      version: 1.4.2
    purge: true

- name: Publish a list as text
  gce.guest.guest_attributes:
    namespace: deployment
    attributes:
      shards: "{{ [3, 5, 8] | to_json }}"

- name: Delete an attribute
  gce.guest.guest_attributes:
    namespace: deployment
    attributes:
      shards:
    state: absent

- name: Check how long it takes to write many attributes
  gce.guest.guest_attributes:
    namespace: inventory
    attributes: "{{ dict(range(30) | map('regex_replace', '^', 'disk-') | product(['ok'])) }}"
  check_mode: true
  register: inventory

- name: Show the time
  ansible.builtin.debug:
    msg: "{{ inventory.requests }} requests, {{ inventory.seconds }} seconds"

- name: Delete the whole namespace
  gce.guest.guest_attributes:
    namespace: deployment
    state: absent
    purge: true
"""

RETURN = r"""
written:
  description: The keys that were written, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [canary, version]
deleted:
  description: The keys that were deleted, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [old-version]
overtaken:
  description:
    - Keys that something else has changed while the module ran. The module leaves them unchanged and warns.
  returned: success
  type: list
  elements: str
  sample: []
requests:
  description:
    - The number of requests, if none has to be repeated.
    - One to read the namespace, one for each change, and one to verify the changes.
  returned: success
  type: int
  sample: 4
seconds:
  description: The least number of seconds that these requests take at the limited rate.
  returned: success
  type: float
  sample: 1.0
"""

from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gce.guest.plugins.module_utils._metadata.secrets import redact_tree
from ansible_collections.gce.guest.plugins.module_utils._metadata.tree import as_unicode
from ansible_collections.gce.guest.plugins.module_utils._module.argument_spec import (
    SECRETS_ARGSPEC,
    ArgumentSpec,
    failing,
    secret_patterns,
)
from ansible_collections.gce.guest.plugins.module_utils._module.guest import (
    GUEST_ARGSPEC,
    metadata_server,
)
from ansible_collections.gce.guest.plugins.module_utils._module.redacting import RedactingModule
from ansible_collections.gce.guest.plugins.module_utils._vm.attribute_namespace import (
    Namespace,
    NamespaceChange,
    leave_rate_alone,
    plan,
    texts_of,
)
from ansible_collections.gce.guest.plugins.module_utils._vm.guest_attributes import (
    DIRECTORY,
    GuestAttributeError,
    attribute_path,
    namespace_path,
)
from ansible_collections.gce.guest.plugins.module_utils._vm.metadata_server import REAL_TIME, MetadataError, Time


def main(time: Time = REAL_TIME) -> None:
    spec = ArgumentSpec(
        {
            "namespace": {"type": "str", "required": True},
            "attributes": {"type": "dict"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "purge": {"type": "bool", "default": False},
            "max_wait": {"type": "float", "default": 300.0},
        },
        required_if=[("state", "present", ["attributes"]), ("purge", False, ["attributes"])],
    )
    spec.update(GUEST_ARGSPEC).update(SECRETS_ARGSPEC)
    module = spec.create_module(kind=partial(RedactingModule, "attributes"))
    with failing(module, MetadataError, GuestAttributeError):
        result = run(module, time)
    module.exit_json(**result)


def run(module: AnsibleModule, time: Time) -> dict[str, Any]:
    params = module.params
    is_present = params["state"] == "present"
    # For Ansible, null is a value. Here, an undefined variable would empty the namespace.
    if params["attributes"] is None and (is_present or not params["purge"]):
        module.fail_json(
            msg="attributes is null. Set it to a dictionary, or to {} for no attributes. To delete the whole "
            "namespace, set state=absent and purge=true."
        )
    texts = checked(params["namespace"], params["attributes"] or {}, present=is_present)
    hide = redaction(module)
    with closing(metadata_server(module, time=time, on_retry=leave_rate_alone)) as server:
        namespace = Namespace(
            server,
            params["namespace"],
            max_wait=params["max_wait"],
            denied_for=params["retry_for"],
            time=time,
        )
        changes = plan(namespace.read(), texts, present=is_present, purge=params["purge"])
        namespace.refuse_to_take_long(changes)
        overtaken = [] if module.check_mode else carried_out(module, namespace, changes)
    result = {
        "changed": bool(changes.changes),
        "written": changes.written,
        "deleted": changes.deleted,
        "overtaken": overtaken,
        "requests": changes.queries,
        "seconds": changes.seconds,
    }
    if module._diff:
        result["diff"] = {
            "before_header": namespace.path,
            "after_header": namespace.path,
            "before": hide(changes.before),
            "after": hide(changes.after),
        }
    return result


def checked(namespace: str, attributes: dict[str, Any], *, present: bool) -> dict[str, str]:
    """The attributes as text. Raises GuestAttributeError for names and values that cannot be sent."""
    namespace_path(namespace)
    for key in attributes:
        attribute_path(namespace, key)
    return texts_of(attributes) if present else dict.fromkeys(attributes, "")


def carried_out(module: AnsibleModule, namespace: Namespace, changes: NamespaceChange) -> list[str]:
    if changes.changes:
        # The result comes at the end; the VM's journal has this at once.
        module.log(f"{len(changes.changes)} changes to {namespace.path} take {changes.seconds:.0f} s at least")
    overtaken = namespace.carry_out(changes)
    if overtaken:
        module.warn(f"Something else has changed keys in {namespace.path} meanwhile: {', '.join(overtaken)}.")
    return overtaken


def redaction(module: AnsibleModule) -> Callable[[Any], Any]:
    """The function that makes attributes printable: as Unicode, with secrets redacted as the parameters say."""
    patterns, show = secret_patterns(module), module.params["show_secrets"]
    path = f"{DIRECTORY}/{module.params['namespace']}/"
    return lambda attributes: redact_tree(as_unicode(attributes), patterns, path, show_secrets=show)


if __name__ == "__main__":
    main()

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
  - Makes guest attributes what they are to be, through the metadata server of the VM that this runs on. They can be
    read from outside the VM with the Compute API.
  - Reads the namespace first, writes and deletes only what differs, and then reads it once more to see that everything
    has arrived. What was dropped is sent again.
  - Keeps within the 10 requests a minute, and 3 a second, that the metadata server allows. Up to eight changes take no
    more than three seconds. After that it is about one minute for every ten. If O(attributes) has so many that it can
    take more than ten seconds, Ansible shows beforehand how long it takes at most. RV(seconds) says how long it takes,
    in check mode before anything is written, and what would take longer than O(max_wait) is refused.
  - As long as guest attributes are denied, requests are tried again for O(retry_for) seconds, too. After they were
    enabled they are denied for some minutes, so give it as much as V(300) then.
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
    description: Has an action plugin of the same name, which runs on the controller before the module does.
    support: full
    details:
      - It only shows how long the module can take. It goes by the number of O(attributes), does not know what is there
        already, what O(purge) deletes, or who else uses up the rate, and shows no names and values.
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Secrets are redacted, see O(show_secrets).
options:
  namespace:
    description:
      - The namespace that the attributes are in.
      - Letters, digits, V(_) and V(-), at most 128 of them. The same goes for the names of attributes.
    type: str
    required: true
  attributes:
    description:
      - The attributes and their values, which are at most 256 KiB each.
      - A value is a text, or a number or a boolean, which are written as text. Booleans become V(TRUE) and V(FALSE), as
        the metadata server writes its own. Anything else is refused, and so is a number that is not finite.
      - With O(state=absent), the values do not matter, and can be left empty.
      - Needed unless everything is deleted with O(state=absent) and O(purge=true). If there are to be none, this has to
        be an empty dictionary, and not null.
    type: dict
  state:
    description: Whether the attributes are to have these values, or not to be there.
    type: str
    choices: [present, absent]
    default: present
  purge:
    description:
      - Whether to also delete all other attributes of the namespace.
      - These are the ones that are there when the namespace is read. What others add after that is left alone. Still, a
        namespace that is purged should belong to one play only.
    type: bool
    default: false
  max_wait:
    description:
      - How many seconds may be spent on waiting because of the limited rate.
      - If the changes take longer than that, they are refused before the first one, and in check mode. If it turns out
        only later, since others on the VM use up the rate, the module fails, and says how many changes were made.
    type: float
    default: 300.0
notes:
  - Keys that are not to be changed are never written, so that plays which write different keys of one namespace at the
    same time do not lose anything of each other. Of two plays that write the same key, the last one wins.
  - Every process of the VM can read and write guest attributes. They are no place for secrets. What the module returns
    does not repeat what O(attributes) it was called with, and in its diff, values whose keys look like secrets are
    redacted. For a value that must not be logged anywhere, set C(no_log=true).
seealso:
  - name: Setting and querying guest attributes
    description: What Google says about guest attributes.
    link: https://cloud.google.com/compute/docs/metadata/manage-guest-attributes
  - ref: ansible_collections.gce.guest.docsite.guide_guest_attributes
    description: How to enable, write and read guest attributes.
"""

EXAMPLES = r"""
- name: Publish what was deployed
  gce.guest.guest_attributes:
    namespace: deployment
    attributes:
      version: 1.4.2
      port: 8443
      canary: true

- name: Wait for guest attributes that were enabled just now
  gce.guest.guest_attributes:
    namespace: deployment
    attributes:
      state: ready
    retry_for: 300

- name: Let the namespace have this attribute and no other
  gce.guest.guest_attributes:
    namespace: deployment
    attributes:
      version: 1.4.2
    purge: true

- name: Publish something that is not a text
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

- name: Ask how long it takes to write many attributes
  gce.guest.guest_attributes:
    namespace: inventory
    attributes: "{{ dict(range(30) | map('regex_replace', '^', 'disk-') | product(['ok'])) }}"
  check_mode: true
  register: inventory

- name: Say so
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
    - Those of the keys that somebody else has given another value while the module ran. They are left like that, and
      there is a warning.
  returned: success
  type: list
  elements: str
  sample: []
requests:
  description:
    - How many requests to guest attributes this takes, if none of them has to be repeated.
    - One to read them, one for each change, and one to see that the changes have arrived.
  returned: success
  type: int
  sample: 4
seconds:
  description: How many seconds so many requests take at least, since their rate is limited.
  returned: success
  type: float
  sample: 1.0
"""

import time
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
from ansible_collections.gce.guest.plugins.module_utils._vm.metadata_server import MetadataError


def main(clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep) -> None:
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
        result = run(module, clock, sleep)
    module.exit_json(**result)


def run(module: AnsibleModule, clock: Callable[[], float], sleep: Callable[[float], None]) -> dict[str, Any]:
    params = module.params
    is_present = params["state"] == "present"
    # For Ansible, an option that is null is there. Here it would empty a namespace for a variable that is not defined.
    if params["attributes"] is None and (is_present or not params["purge"]):
        module.fail_json(
            msg="attributes is null, which does not say which attributes are meant. Give a dictionary of them, and {} "
            "for none. To delete everything in the namespace, set state=absent and purge=true."
        )
    texts = checked(params["namespace"], params["attributes"] or {}, present=is_present)
    hide = redaction(module)
    with closing(metadata_server(module, clock=clock, sleep=sleep, on_retry=leave_rate_alone)) as server:
        namespace = Namespace(
            server,
            params["namespace"],
            max_wait=params["max_wait"],
            denied_for=params["retry_for"],
            clock=clock,
            sleep=sleep,
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
    """The attributes as texts, once it is certain that their names and values can be sent."""
    namespace_path(namespace)
    for key in attributes:
        attribute_path(namespace, key)
    return texts_of(attributes) if present else dict.fromkeys(attributes, "")


def carried_out(module: AnsibleModule, namespace: Namespace, changes: NamespaceChange) -> list[str]:
    if changes.changes:
        # The result comes when everything is over; the VM's journal has this at once.
        module.log(f"{len(changes.changes)} changes to {namespace.path} take {changes.seconds:.0f} s at least")
    overtaken = namespace.carry_out(changes)
    if overtaken:
        module.warn(f"In {namespace.path}, somebody else has written meanwhile: {', '.join(overtaken)}.")
    return overtaken


def redaction(module: AnsibleModule) -> Callable[[Any], Any]:
    """What makes attributes fit to be shown: Unicode, and without secrets unless the parameters say so."""
    patterns, show = secret_patterns(module), module.params["show_secrets"]
    path = f"{DIRECTORY}/{module.params['namespace']}/"
    return lambda attributes: redact_tree(as_unicode(attributes), patterns, path, show_secrets=show)


if __name__ == "__main__":
    main()

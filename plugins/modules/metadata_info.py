#!/usr/bin/python
# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: metadata_info
short_description: Gather the metadata of a VM
version_added: 0.1.0
description:
  - Gathers values or whole trees from the metadata server of the VM that this runs on, with one request for each path.
  - Secrets are redacted by default, so that a registered result can be printed, logged or cached as a fact.
author:
  - The gce.guest authors (@gce-guest)
extends_documentation_fragment:
  - gce.guest._attributes
  - gce.guest._attributes.info_module
  - gce.guest._attributes.actiongroup_guest
  - gce.guest._guest
  - gce.guest._guest.secrets
options:
  path:
    description:
      - The paths to read, below C(/computeMetadata/v1/), such as V(instance/zone) or V(project/attributes/).
      - By default everything.
      - Well-known directories are recognized by their names. Others need a trailing slash; without it, the server
        redirects, which takes a second request.
    type: list
    elements: str
  recursive:
    description:
      - Whether to read everything below a directory instead of its listing.
      - By default V(true) for directories.
    type: bool
  alt:
    description:
      - The format to request from the server.
      - With V(json), trees are dictionaries, and numbers such as instance ids are exact.
      - With V(text), everything is text, exactly as the server sends it. Secrets cannot be found reliably in the text
        of a tree, which therefore needs O(show_secrets=true).
    type: str
    choices: [json, text]
    default: json
  query:
    description:
      - A JMESPath expression that is applied to the value of each path after conversion and redaction.
      - The server's own keys are in camel case, such as C(instance.machineType). The keys of custom metadata and guest
        attributes are unchanged.
      - Needs C(jmespath) where the module runs.
    type: str
  typed:
    description:
      - Whether to convert V(TRUE) and V(FALSE) to booleans in the server's own keys, such as
        C(instance/scheduling/preemptible).
      - Custom metadata and guest attributes are never converted, and neither is anything with O(alt=text).
    type: bool
    default: true
  on_missing:
    description:
      - How to treat a key that does not exist. With V(warn) and V(skip), RV(answers[].found) is V(false), and
        RV(identity_token) is V(null) if the service account does not exist.
      - V(instance/upcoming-maintenance) is missing until the server receives a notification of maintenance.
    type: str
    choices: [error, warn, skip]
    default: error
  audience:
    description:
      - Requests an identity token for this audience instead of a O(path).
      - The token is a secret. The module fails unless the task sets C(no_log=true).
    type: str
  audience_format:
    description:
      - With V(full), the identity token also has details of the VM, such as its name and project.
      - By default V(standard). Requires O(audience).
    type: str
    choices: [standard, full]
  service_account:
    description:
      - The service account of the identity token, as the e-mail address of one of the VM's service accounts.
      - By default the VM's default service account. Requires O(audience).
    type: str
requirements:
  - jmespath, for O(query)
seealso:
  - name: Predefined metadata keys
    description: The keys that every metadata server has.
    link: https://cloud.google.com/compute/docs/metadata/predefined-metadata-keys
  - module: gce.guest.wait_for_metadata
  - plugin: gce.guest.metadata
    plugin_type: lookup
notes:
  - Access tokens are never returned.
  - Values are text. Each byte of a guest attribute that is not UTF-8 becomes U+FFFD, with a warning.
"""

EXAMPLES = r"""
- name: Gather the zone of this VM
  gce.guest.metadata_info:
    path: instance/zone
  register: zone

- name: Show the name of the zone
  ansible.builtin.debug:
    msg: "{{ zone.value | basename }}"

- name: Gather everything with one request, with secrets redacted
  gce.guest.metadata_info:
  register: metadata

- name: Show the machine type
  ansible.builtin.debug:
    msg: "{{ metadata.value.instance.machineType }}"

- name: Gather two values, one of which may be missing
  gce.guest.metadata_info:
    path:
      - instance/attributes/role
      - project/attributes/role
    on_missing: skip
  register: roles

- name: Show the role of the instance, or else of the project
  ansible.builtin.debug:
    msg: "{{ roles.answers | selectattr('found') | map(attribute='value') | first | default('none') }}"

- name: Gather the addresses of all network interfaces
  gce.guest.metadata_info:
    path: instance/network-interfaces/
    query: "[].ip"
  register: addresses

- name: Get an identity token for a service
  gce.guest.metadata_info:
    audience: https://vault.example.com
    audience_format: full
  register: identity
  no_log: true
"""

RETURN = r"""
answers:
  description: One entry for each path, in their order. Empty with O(audience).
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: The path as in O(path).
      type: str
      returned: success
      sample: instance/zone
    found:
      description: Whether the key exists.
      type: bool
      returned: success
      sample: true
    value:
      description:
        - The value or tree, converted, redacted, and searched with O(query).
        - V(null) if the key does not exist.
      type: raw
      returned: success
      sample: projects/123456789012/zones/europe-west1-b
    etag:
      description:
        - The etag of the content. Use it as O(gce.guest.wait_for_metadata#module:last_etag) to wait for the next
          change.
        - V(null) if the key does not exist, or if the server sends none.
      type: str
      returned: success
      sample: 411261ca6c9e654e
value:
  description: RV(answers[].value) of the first path.
  returned: success
  type: raw
  sample: projects/123456789012/zones/europe-west1-b
etag:
  description: RV(answers[].etag) of the first path.
  returned: success
  type: str
  sample: 411261ca6c9e654e
found:
  description: RV(answers[].found) of the first path.
  returned: success
  type: bool
  sample: true
identity_token:
  description:
    - The identity token, a secret that is valid for an hour.
    - V(null) if the service account does not exist and O(on_missing) is not V(error).
  returned: with O(audience)
  type: str
  sample: eyJhbGciOi[...]
"""

from collections.abc import Callable
from contextlib import closing
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gce.guest.plugins.module_utils._metadata.secrets import redact_tree
from ansible_collections.gce.guest.plugins.module_utils._metadata.tree import as_unicode, canonical, is_directory, typed
from ansible_collections.gce.guest.plugins.module_utils._module.argument_spec import (
    SECRETS_ARGSPEC,
    ArgumentSpec,
    failing,
    secret_patterns,
)
from ansible_collections.gce.guest.plugins.module_utils._module.guest import (
    GUEST_ARGSPEC,
    compiled_query,
    metadata_server,
)
from ansible_collections.gce.guest.plugins.module_utils._vm.metadata_server import (
    MetadataError,
    MetadataNotFound,
    MetadataServer,
    encoded_path,
)

WHOLE_TREE = ""
NOTHING = {"found": False, "value": None, "etag": None}


def main() -> None:
    spec = ArgumentSpec(
        {
            "path": {"type": "list", "elements": "str"},
            "recursive": {"type": "bool"},
            "alt": {"type": "str", "choices": ["json", "text"], "default": "json"},
            "query": {"type": "str"},
            "typed": {"type": "bool", "default": True},
            "on_missing": {"type": "str", "choices": ["error", "warn", "skip"], "default": "error"},
            "audience": {"type": "str"},
            # No defaults, which would also be set without an audience.
            "audience_format": {"type": "str", "choices": ["standard", "full"]},
            "service_account": {"type": "str"},
        },
        required_by={"audience_format": ["audience"], "service_account": ["audience"]},
        mutually_exclusive=[("audience", "path"), ("audience", "query"), ("audience", "recursive")],
    )
    module = spec.update(GUEST_ARGSPEC).update(SECRETS_ARGSPEC).create_module()
    with failing(module, MetadataError):
        if module.params["audience"] is not None:
            module.exit_json(changed=False, **NOTHING, answers=[], identity_token=identity_token(module))
        answers = read(module)
    first = {name: answers[0][name] for name in NOTHING} if answers else NOTHING
    module.exit_json(changed=False, answers=answers, **first)


def read(module: AnsibleModule) -> list[dict[str, Any]]:
    """The answers for all paths. Invalid parameters fail before anything is sent."""
    paths = [WHOLE_TREE] if module.params["path"] is None else module.params["path"]
    for path in paths:
        encoded_path(path)
        refuse_unsearchable_text(module, path)
    refine = refinement(module)

    def read_path(server: MetadataServer, path: str) -> dict[str, Any]:
        try:
            answer = server.get(canonical(path), **shape(path, module.params["recursive"], module.params["alt"]))
        except MetadataNotFound as error:
            report_missing(module, error)
            return {"path": path, **NOTHING}
        return {"path": path, "found": True, "value": refine(answer.value, path), "etag": answer.etag}

    with closing(metadata_server(module)) as server:
        return [read_path(server, path) for path in paths]


def report_missing(module: AnsibleModule, error: MetadataNotFound) -> None:
    if module.params["on_missing"] == "error":
        module.fail_json(msg=f"{error} Set on_missing=skip if it may be missing.")
    if module.params["on_missing"] == "warn":
        module.warn(str(error))


def shape(path: str, recursive: bool | None, alt: str) -> dict[str, Any]:
    """The format to request for a path, as arguments of MetadataServer.get."""
    if recursive is None:
        recursive = is_directory(path)
    is_listing = not recursive and is_directory(path)
    # The server rejects a format for listings.
    return {"recursive": recursive, "alt": None if is_listing else alt}


def refuse_unsearchable_text(module: AnsibleModule, path: str) -> None:
    params = module.params
    asked = shape(path, params["recursive"], params["alt"])
    if asked["recursive"] and asked["alt"] == "text" and not params["show_secrets"]:
        module.fail_json(
            msg=f"Secrets cannot be found reliably in the text of {path or 'the whole tree'}. "
            "Use alt=json, request a single key, or set show_secrets=true."
        )


def refinement(module: AnsibleModule) -> Callable[[Any, str], Any]:
    """The function that applies the parameters to the server's value for a path."""
    params = module.params
    patterns = secret_patterns(module)
    search = compiled_query(module, params["query"]) if params["query"] is not None else None

    def refine(value: Any, path: str) -> Any:
        unicode_value = as_unicode(value)
        if unicode_value != value:
            module.warn(f"{path or 'The tree'} has bytes that are not UTF-8. Each of them is shown as U+FFFD.")
            value = unicode_value
        if params["typed"] and params["alt"] == "json":
            value = typed(value, path)
        # Before the query, which could move a secret to another key.
        value = redact_tree(value, patterns, path, show_secrets=params["show_secrets"])
        return value if search is None else search(value)

    return refine


def identity_token(module: AnsibleModule) -> str | None:
    if not module.no_log:
        module.fail_json(msg="An identity token is a secret. Set no_log: true on this task.")
    account, form = module.params["service_account"], module.params["audience_format"]
    path = f"instance/service-accounts/{'default' if account is None else account}/identity"
    params = {"audience": module.params["audience"], "format": form or "standard"}
    with closing(metadata_server(module)) as server:
        try:
            return str(server.get(path, params=params).value)
        except MetadataNotFound as error:
            report_missing(module, error)
            return None


if __name__ == "__main__":
    main()

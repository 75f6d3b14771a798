#!/usr/bin/python
# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: metadata_info
short_description: Read a VM's metadata
version_added: 0.1.0
description:
  - Reads values, or whole trees of them, from the metadata server of the VM that it runs on, with one request for each
    path.
  - Secrets are redacted unless they are asked for, so that a registered result can be printed, logged or kept as fact.
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
      - What to read, below C(/computeMetadata/v1/), such as V(instance/zone) or V(project/attributes/).
      - By default everything.
      - The well-known directories are told from keys by their names. Others need a slash at the end. Without it the
        server redirects to it, which takes a second request.
    type: list
    elements: str
  recursive:
    description:
      - Whether to read all that is below a directory, instead of its listing.
      - By default directories are read recursively.
    type: bool
  alt:
    description:
      - The form in which the server is asked for values.
      - With V(json), trees are dictionaries, and numbers such as instance ids are exact.
      - With V(text), everything is text, exactly as the server sends it. As text, a tree cannot be searched for secrets
        with certainty, so that it needs O(show_secrets=true).
    type: str
    choices: [json, text]
    default: json
  query:
    description:
      - A JMESPath expression that is applied to the value of each path, once that is typed and redacted.
      - The server's own keys are in camel case, such as C(instance.machineType). The keys of custom metadata and guest
        attributes are as they are.
      - Needs C(jmespath) where the module runs.
    type: str
  typed:
    description:
      - Whether V(TRUE) and V(FALSE) become booleans in the keys that are the server's own, such as
        C(instance/scheduling/preemptible).
      - Custom metadata and guest attributes are always as they are. So is everything with O(alt=text).
    type: bool
    default: true
  on_missing:
    description:
      - What a key that does not exist is, an error, a warning, or nothing to speak of. With the latter two,
        RV(answers[].found) is V(false), and RV(identity_token) is V(null) if there is no such service account.
      - V(instance/upcoming-maintenance) is also missing as long as the server has not heard of any maintenance.
    type: str
    choices: [error, warn, skip]
    default: error
  audience:
    description:
      - Asks for an identity token for this audience, instead of reading a O(path).
      - The token is a secret. The task has to set C(no_log=true), or else nothing is asked for.
    type: str
  audience_format:
    description:
      - Whether the identity token says more about the VM, such as its name and its project, or not.
      - By default V(standard). Needs an O(audience).
    type: str
    choices: [standard, full]
  service_account:
    description:
      - Whose identity the token is for, as the e-mail address of one of the VM's service accounts.
      - By default the VM's default one. Needs an O(audience).
    type: str
requirements:
  - jmespath, for O(query)
seealso:
  - name: Predefined metadata keys
    description: What the metadata server knows by itself.
    link: https://cloud.google.com/compute/docs/metadata/predefined-metadata-keys
  - module: gce.guest.wait_for_metadata
  - plugin: gce.guest.metadata
    plugin_type: lookup
notes:
  - Access tokens are never returned, whatever the options.
  - Values are text. Each byte of a guest attribute that is not UTF-8 becomes U+FFFD, with a warning.
"""

EXAMPLES = r"""
- name: Read where this VM runs
  gce.guest.metadata_info:
    path: instance/zone
  register: zone

- name: Show the name of the zone
  ansible.builtin.debug:
    msg: "{{ zone.value | basename }}"

- name: Read everything, with one request, and without secrets
  gce.guest.metadata_info:
  register: metadata

- name: Show what kind of a machine this is
  ansible.builtin.debug:
    msg: "{{ metadata.value.instance.machineType }}"

- name: Read two values, of which one may be missing
  gce.guest.metadata_info:
    path:
      - instance/attributes/role
      - project/attributes/role
    on_missing: skip
  register: roles

- name: Let the instance's role go before the project's
  ansible.builtin.debug:
    msg: "{{ roles.answers | selectattr('found') | map(attribute='value') | first | default('none') }}"

- name: Read the addresses of all network interfaces
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
  description: What was found, one entry for each path, in their order. Empty when O(audience) is given.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: The path as it was given.
      type: str
      returned: success
      sample: instance/zone
    found:
      description: Whether there is such a key.
      type: bool
      returned: success
      sample: true
    value:
      description:
        - The value or tree, redacted, typed, and searched by O(query).
        - V(null) if there is no such key.
      type: raw
      returned: success
      sample: projects/123456789012/zones/europe-west1-b
    etag:
      description:
        - What the server calls this content. Give it to O(gce.guest.wait_for_metadata#module:last_etag) to hear of
          the next change.
        - V(null) if there is no such key, or if the server gives none.
      type: str
      returned: success
      sample: 411261ca6c9e654e
value:
  description: RV(answers[].value) of the first path, which usually is the only one.
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
    - V(null) if there is no such service account, and O(on_missing) lets that pass.
  returned: when O(audience) is given
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
            # Without defaults, which would be given without an audience, too.
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
    """The answers for all paths. What is wrong in the parameters is found before anything is sent."""
    paths = [WHOLE_TREE] if module.params["path"] is None else module.params["path"]
    for path in paths:
        encoded_path(path)
        refuse_unsearchable_text(module, path)
    refine = refinement(module)

    def read_path(server: MetadataServer, path: str) -> dict[str, Any]:
        try:
            answer = server.get(canonical(path), **shape(path, module.params["recursive"], module.params["alt"]))
        except MetadataNotFound as error:
            tell_missing(module, error)
            return {"path": path, **NOTHING}
        return {"path": path, "found": True, "value": refine(answer.value, path), "etag": answer.etag}

    with closing(metadata_server(module)) as server:
        return [read_path(server, path) for path in paths]


def tell_missing(module: AnsibleModule, error: MetadataNotFound) -> None:
    if module.params["on_missing"] == "error":
        module.fail_json(msg=f"{error} Set on_missing=skip if it may be missing.")
    if module.params["on_missing"] == "warn":
        module.warn(str(error))


def shape(path: str, recursive: bool | None, alt: str) -> dict[str, Any]:
    """The form in which to ask for a path, as arguments of MetadataServer.get."""
    if recursive is None:
        recursive = is_directory(path)
    is_listing = not recursive and is_directory(path)
    # A listing has one form only, and the server refuses to be told which.
    return {"recursive": recursive, "alt": None if is_listing else alt}


def refuse_unsearchable_text(module: AnsibleModule, path: str) -> None:
    params = module.params
    asked = shape(path, params["recursive"], params["alt"])
    if asked["recursive"] and asked["alt"] == "text" and not params["show_secrets"]:
        module.fail_json(
            msg=f"Secrets cannot be told from the rest in the text of {path or 'the whole tree'}. "
            "Use alt=json, ask for a single key, or set show_secrets=true."
        )


def refinement(module: AnsibleModule) -> Callable[[Any, str], Any]:
    """What the parameters make of the server's value for a path."""
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
        # Before the query, which could move a secret to where nobody knows it.
        value = redact_tree(value, patterns, path, show_secrets=params["show_secrets"])
        return value if search is None else search(value)

    return refine


def identity_token(module: AnsibleModule) -> str | None:
    if not module.no_log:
        module.fail_json(msg="An identity token is a secret. Set no_log: true on this task, and ask again.")
    account, form = module.params["service_account"], module.params["audience_format"]
    path = f"instance/service-accounts/{'default' if account is None else account}/identity"
    params = {"audience": module.params["audience"], "format": form or "standard"}
    with closing(metadata_server(module)) as server:
        try:
            return str(server.get(path, params=params).value)
        except MetadataNotFound as error:
            tell_missing(module, error)
            return None


if __name__ == "__main__":
    main()

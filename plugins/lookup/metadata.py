# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: metadata
short_description: Read the metadata of the VM that the controller runs on
version_added: 0.1.0
description:
  - Returns values or whole trees from the metadata of the VM that Ansible itself runs on, such as a bastion, a build
    runner, or any VM with C(ansible-pull).
  - For the metadata of other VMs, run M(gce.guest.metadata_info) there.
author:
  - The gce.guest authors (@gce-guest)
extends_documentation_fragment:
  - gce.guest._guest
  - gce.guest._guest.plugins
  - gce.guest._guest.secrets
  - gce.guest._lookup
options:
  _terms:
    description:
      - The paths to read, below C(/computeMetadata/v1/), such as V(instance/zone) or V(project/attributes/). An empty
        text is the whole tree.
      - Directories are read with everything below them. Well-known directories are recognized by their names, others
        need a trailing slash.
      - A secret key, or one with a secret value, is an error unless O(show_secrets=true), so that no V([redacted]) gets
        into a file. In trees, secrets are redacted.
    type: list
    elements: str
    required: true
  query:
    description:
      - A JMESPath expression that is applied to the value of each term, after all other options.
      - The server's own keys are in camel case, such as C(instance.machineType). The keys of custom metadata and guest
        attributes are unchanged.
      - Needs C(jmespath) on the controller.
  basename:
    description:
      - Whether to shorten resource names, such as C(projects/123456789012/zones/europe-west1-b), to their last part,
        also within trees.
    type: bool
    default: false
  typed:
    description:
      - Whether to convert V(TRUE) and V(FALSE) to booleans in the server's own keys, such as
        C(instance/scheduling/preemptible).
      - Custom metadata and guest attributes are never converted, see P(gce.guest.metadata_bool#filter).
    type: bool
    default: true
seealso:
  - module: gce.guest.metadata_info
  - plugin: gce.guest.metadata_bool
    plugin_type: filter
notes:
  - Access tokens and identity tokens are never returned. For an identity token, use the option
    O(gce.guest.metadata_info#module:audience) of M(gce.guest.metadata_info).
  - The values are data. Templates in them are not evaluated.
  - The values are text. Each byte of a guest attribute that is not UTF-8 becomes U+FFFD, with a warning. Do not write
    such a value to a file.
"""

EXAMPLES = r"""
- name: Show the zone of the controller
  ansible.builtin.debug:
    msg: "{{ lookup('gce.guest.metadata', 'instance/zone', basename=true) }}"

- name: Show a setting of the VM, or else of the project
  ansible.builtin.debug:
    msg: "{{ query('gce.guest.metadata', 'instance/attributes/role', 'project/attributes/role', on_missing='skip')
      | first | default('none') }}"

- name: Show a setting of the VM, with a default
  ansible.builtin.debug:
    msg: "{{ lookup('gce.guest.metadata', 'instance/attributes/role', default='none') }}"

- name: Run a task on Spot VMs only
  ansible.builtin.debug:
    msg: This VM may be preempted.
  when: lookup('gce.guest.metadata', 'instance/scheduling/preemptible')

- name: Show the internal addresses
  ansible.builtin.debug:
    msg: "{{ lookup('gce.guest.metadata', 'instance/network-interfaces/', query='[].ip') }}"

- name: Show the keys of custom metadata that begin with app-
  ansible.builtin.debug:
    msg: "{{ lookup('gce.guest.metadata', 'instance/attributes/', query=own_keys) }}"
  vars:
    own_keys: keys(@)[?starts_with(@, 'app-')]
"""

RETURN = r"""
_list:
  description:
    - One value for each term, in their order. With O(on_missing=warn) and O(on_missing=skip), missing keys are left
      out.
  type: list
  elements: raw
  sample:
    - europe-west1-b
"""

import math
import re
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.utils.display import Display
from ansible_collections.gce.guest.plugins.module_utils._metadata.secrets import REDACTED, redact_tree
from ansible_collections.gce.guest.plugins.module_utils._metadata.tree import as_unicode, canonical, is_directory, typed
from ansible_collections.gce.guest.plugins.module_utils._vm.metadata_server import (
    Limits,
    MetadataError,
    MetadataNotFound,
    MetadataServer,
    encoded_path,
)
from ansible_collections.gce.guest.plugins.plugin_utils._answer_cache import AnswerCache
from ansible_collections.gce.guest.plugins.plugin_utils._lookup_base import TermLookup

_RESOURCE_NAME = re.compile(r"(?:https://[^/\s]+/compute/[^/\s]+/)?projects/[^/\s]+(?:/[^/\s]+)*/([^/\s]+)")

_cache = AnswerCache()
_display = Display()


class LookupModule(TermLookup):
    errors = (MetadataError,)
    missing = (MetadataNotFound,)

    def finder(self, terms: list[str]) -> Callable[[str], Any]:
        refine = self._refinement(terms)
        server, max_age = self._server(), float(self.get_option("cache_seconds"))

        def find(path: str) -> Any:
            answer = _cache.get(server, canonical(path), recursive=is_directory(path), max_age=max_age)
            # The value is plain JSON, without the tags of Ansible's data, which JMESPath's functions reject.
            return refine(answer.value, path)

        return find

    def _refinement(self, paths: list[str]) -> Callable[[Any, str], Any]:
        """The function that applies the options to the server's value for a path."""
        is_typed, is_short = self.get_option("typed"), self.get_option("basename")
        show_secrets, patterns = self.get_option("show_secrets"), self.secret_patterns()
        search = self.query()
        for path in paths:
            encoded_path(path)
            if redact_tree(None, patterns, path, show_secrets=show_secrets) == REDACTED:
                raise AnsibleLookupError(f"Cannot read {path}: {_reason_to_refuse(path)}")

        def refine(value: Any, path: str) -> Any:
            unicode_value = as_unicode(value)
            if unicode_value != value:
                _display.warning(f"{path or 'The tree'} has bytes that are not UTF-8. Each of them is shown as U+FFFD.")
                value = unicode_value
            if is_typed:
                value = typed(value, path)
            # Before the query, which could move a secret to another key.
            value = redact_tree(value, patterns, path, show_secrets=show_secrets)
            if value == REDACTED:
                raise AnsibleLookupError(
                    f"Cannot read {path}: its value is or has a secret. To read it, set show_secrets=true."
                )
            return search(shortened(value) if is_short else value)

        return refine

    def _server(self) -> MetadataServer:
        host = self.get_option("metadata_host")
        retry_for, timeout = float(self.get_option("retry_for")), float(self.get_option("request_timeout"))
        # Empty variables count as unset, as in google-auth.
        return _cache.server(
            str(host) if host else None,
            Limits(None if retry_for == math.inf else retry_for, timeout),
            host_origin=_named_origin(self.origin("metadata_host")),
        )


def _named_origin(origin: str) -> str:
    """The origin of metadata_host, for errors."""
    if origin == "Direct":
        return "the option metadata_host"
    for kind, title in (("var: ", "the variable "), ("env: ", "the environment variable ")):
        if origin.startswith(kind):
            return title + origin.removeprefix(kind)
    return f"the setting metadata_host in {origin}"


def shortened(value: Any) -> Any:
    """A value or tree with each resource name shortened to its last part."""
    if isinstance(value, dict):
        return {key: shortened(below) for key, below in value.items()}
    if isinstance(value, list):
        return [shortened(below) for below in value]
    name = _RESOURCE_NAME.fullmatch(value) if isinstance(value, str) else None
    return name[1] if name else value


def _reason_to_refuse(path: str) -> str:
    if redact_tree(None, (), path, show_secrets=True) == REDACTED:
        return "tokens are never returned."
    return "it is secret. To read it, set show_secrets=true."

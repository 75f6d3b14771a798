#!/usr/bin/python
# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: legacy_endpoints_info
short_description: Check whether the legacy metadata endpoints of a VM answer
version_added: 0.1.0
description:
  - Requests C(/0.1/meta-data/) and C(/computeMetadata/v1beta1/) from the metadata server, as any program on the VM can.
  - These endpoints accept requests without the header C(Metadata-Flavor). Whoever can make a program on the VM fetch a
    URL can thereby read the tokens of the VM's service accounts.
  - Successful answers are not returned.
author:
  - The gce.guest authors (@gce-guest)
extends_documentation_fragment:
  - gce.guest._attributes
  - gce.guest._attributes.info_module
  - gce.guest._attributes.actiongroup_guest
  - gce.guest._guest
seealso:
  - name: Disable legacy metadata server endpoints
    description: Set V(disable-legacy-endpoints) to V(TRUE) in the metadata of the instance or of the project.
    link: https://cloud.google.com/compute/docs/metadata/transition-to-v1
"""

EXAMPLES = r"""
- name: Check the legacy endpoints
  gce.guest.legacy_endpoints_info:
  register: legacy

- name: Fail if they answer
  ansible.builtin.assert:
    that: not legacy.answers
    fail_msg: "Set disable-legacy-endpoints to TRUE: {{ legacy.endpoints }}"
"""

RETURN = r"""
answers:
  description: Whether any of the endpoints answers.
  returned: success
  type: bool
  sample: false
endpoints:
  description: The result for each endpoint.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: The endpoint.
      type: str
      returned: success
      sample: /computeMetadata/v1beta1/
    state:
      description:
        - V(answers) if the endpoint can be used, V(refused) if it is disabled, V(gone) if it does not exist.
        - V(unknown) for any other answer, see RV(endpoints[].status) and RV(endpoints[].text).
      type: str
      returned: success
      sample: refused
    status:
      description: The HTTP status.
      type: int
      returned: success
      sample: 403
    text:
      description: The text of the error page. Empty if the endpoint answers.
      type: str
      returned: success
      sample: >-
        Your client does not have permission to get URL /computeMetadata/v1beta1/ from this server. Legacy metadata
        endpoint accessed: /computeMetadata/v1beta1/ Legacy metadata endpoints are disabled. Please use the /v1/
        endpoint.
"""

from contextlib import closing
from typing import Any

from ansible_collections.gce.guest.plugins.module_utils._module.argument_spec import (
    ArgumentSpec,
    failing,
)
from ansible_collections.gce.guest.plugins.module_utils._module.guest import (
    GUEST_ARGSPEC,
    metadata_server,
)
from ansible_collections.gce.guest.plugins.module_utils._vm.metadata_server import (
    MetadataError,
    MetadataServer,
)

ENDPOINTS = ("/0.1/meta-data/", "/computeMetadata/v1beta1/")
STATES = {200: "answers", 403: "refused", 404: "gone"}


def main() -> None:
    module = ArgumentSpec(GUEST_ARGSPEC).create_module()
    with failing(module, MetadataError), closing(metadata_server(module)) as server:
        # Any other server may answer 404 as well. This fails if it is not the metadata server.
        server.get("instance/id")
        endpoints = [probed(server, path) for path in ENDPOINTS]
    answers = any(endpoint["state"] == "answers" for endpoint in endpoints)
    module.exit_json(changed=False, endpoints=endpoints, answers=answers)


def probed(server: MetadataServer, path: str) -> dict[str, Any]:
    status, text = server.probe(path)
    return {"path": path, "state": STATES.get(status, "unknown"), "status": status, "text": text}


if __name__ == "__main__":
    main()

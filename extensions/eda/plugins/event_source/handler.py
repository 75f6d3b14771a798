# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
source: handler
short_description: Receive the notifications of maintenance handlers
version_added: 0.2.0
description:
  - Serves HTTP or HTTPS for notifications of the role P(gce.guest.maintenance_handler#role), with
    C(preset=cloudevents), and passes each of them on once.
  - A notification without the token is rejected (401), as is one that is not a notification (400). While the rulebook
    takes no events, the answer is 503, and the handler tries again.
author:
  - The gce.guest authors (@gce-guest)
requirements:
  - aiohttp, which ansible-rulebook requires itself
options:
  host:
    description: The address to listen on.
    type: str
    default: 127.0.0.1
  port:
    description: The port to listen on.
    type: int
    required: true
  token:
    description:
      - "The secret that handlers send as C(Authorization: Bearer TOKEN), of at least 16 characters."
      - One of O(token) and O(token_file) is required.
    type: str
  token_file:
    description: A file that has the token.
    type: path
  certificate:
    description: A file with a certificate, and the certificates of its issuers, as PEM. With it, the source serves
      HTTPS.
    type: path
  private_key:
    description: A file with the key of O(certificate), if that does not have it.
    type: path
  host_pattern:
    description:
      - How the hosts of the inventory are called, with C({name}), C({zone}) and C({project}) of the instance, such as
        V({name}.{zone}.c.{project}.internal).
      - The result is in RV(meta.hosts), to which ansible-rulebook limits actions. In place of a name that could be a
        pattern of hosts, such as V(all), it has V(no-host.invalid), which no host matches.
    type: str
    default: "{name}"
  limit:
    description:
      - Whether to limit actions to the hosts of the event. With V(false), RV(meta.hosts) is left out, and actions run
        on the hosts of the ruleset, such as for a playbook with a play for localhost.
    type: bool
    default: true
notes:
  - An event is a dictionary with the fields of a notification, such as C(kind), C(severity), C(summary), C(event),
    C(incident), C(tasks), C(instance), C(zone) and C(project), the C(source) of the CloudEvent, and C(meta.hosts).
  - C(kind) is what C(on) of the role's O(gce.guest.maintenance_handler#role:maintenance_handler_notify) lists, such as
    C(failed), C(overdue) or C(restore_failed).
"""

EXAMPLES = r"""
- name: React to what maintenance handlers report
  hosts: all
  sources:
    - gce.guest.handler:
        host: 0.0.0.0
        port: 5000
        token_file: /etc/rulebook/handler-token
        certificate: /etc/rulebook/tls.pem
  rules:
    - name: Note a restore that failed
      condition: event.kind == "restore_failed"
      action:
        debug:
          msg: "{{ event.summary }}"
"""

import sys
from pathlib import Path
from typing import Any

# ansible-rulebook runs this file by its path. The collection's code is found from the directory of collections.
sys.path.append(str(Path(__file__).absolute().parents[7]))

from ansible_collections.gce.guest.plugins.plugin_utils._event_source.handler_source import run


async def main(queue: Any, args: dict[str, Any]) -> None:
    """Called by ansible-rulebook."""
    await run(queue, args)

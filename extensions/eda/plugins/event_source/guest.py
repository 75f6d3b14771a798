# Copyright (c) 2026 The gce.guest authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
source: guest
short_description: Receive maintenance events of a VM from its metadata server
version_added: 0.2.0
description:
  - Sends an event when maintenance of the VM on which ansible-rulebook runs is announced, moved, cancelled, begun or
    over. The fields are those of the module M(gce.guest.maintenance_info).
  - One hanging request for each of five metadata keys waits for changes, so that an event is there within milliseconds.
    As these are requests for the key itself, the VM gets the notice of 60 seconds before a live migration.
  - Whatever the metadata server answers, the source keeps watching. Invalid options end the rulebook at its start.
author:
  - The gce.guest authors (@gce-guest)
options:
  metadata_host:
    description:
      - The metadata server, as a host, C(HOST:PORT) or a URL, such as that of an emulator.
      - Defaults to the environment variables E(GCE_METADATA_HOST) and E(GCE_METADATA_ROOT), or the VM's own.
    type: str
  poll_timeout:
    description: Seconds after which a request without a change is answered, from 1 to 3600.
    type: int
    default: 60
  state_file:
    description:
      - A file in which the source keeps the last values and their etags across a restart of the rulebook. What has
        changed meanwhile is reported then.
      - Without it, RV(event=restart) is never reported, and the last values are those at the start.
    type: path
  initial:
    description:
      - What to do with maintenance that is already announced when the source starts.
      - With V(report), it is reported as RV(change=announced) with RV(initial=true).
      - With V(changes), only what changes from then on is reported.
    type: str
    default: report
    choices: [report, changes]
  unreachable_after:
    description: Seconds without an answer after which RV(change=unreachable) is reported.
    type: float
    default: 75.0
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
  - An event is a dictionary with C(change), C(event), C(initial), C(value), C(window), C(stop), C(reason), C(time),
    C(instance), C(instance_id), C(zone), C(project) and C(meta.hosts).
  - C(change) is C(announced), C(moved), C(changed), C(begun), C(cancelled), C(over), C(found) for what is found out
    afterwards, C(unreachable) or C(reachable).
  - C(event) is C(migrate), C(terminate), C(preempt), C(window), C(stop), C(missed), C(restart) or C(unknown).
    C(unknown) is an announcement that is not known, whose text is in C(value), or that the server cannot be reached.
  - C(missed) is a migration without notice, and C(restart) a boot without an orderly end of the source before. A source
    ends in order when ansible-rulebook gets SIGTERM, as from systemd.
  - After a restart with O(initial=changes), requests go on with the etags of O(state_file). With O(initial=report),
    they begin anew, so that the current values are there at once.
"""

EXAMPLES = r"""
- name: React to maintenance of this VM
  hosts: all
  sources:
    - gce.guest.guest:
        state_file: /var/lib/rulebook/guest.json
  rules:
    - name: Note what is announced
      condition: event.change == "announced"
      action:
        debug:
          msg: "{{ event.instance }}: {{ event.event }}"
"""

import sys
from pathlib import Path
from typing import Any

# ansible-rulebook runs this file by its path. The collection's code is found from the directory of collections.
sys.path.append(str(Path(__file__).absolute().parents[7]))

from ansible_collections.gce.guest.plugins.plugin_utils._event_source.guest_source import run


async def main(queue: Any, args: dict[str, Any]) -> None:
    """Called by ansible-rulebook."""
    await run(queue, args)

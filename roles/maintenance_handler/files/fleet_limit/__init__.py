# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many VMs of a group are drained at one time, kept in etcd, Consul, or a server for the FleetLock protocol.

`python3 -I fleet_limit VERB` answers one question and ends. The handler starts it as a process of its own.

Verbs: `check` (the options, files and rights; takes no slot), `acquire`, `renew`, `release`, `holders`, and `unlock`
(frees the slot of any id).

Standard input is one JSON object:

- `limit`: `backend` (etcd, consul or fleetlock), `group`, and the options of the backend; see `options.py`.
- `id`: who takes, renews or frees a slot, as `zone/name/instance id`. Not needed for `check` and `holders`.
- `reason`: a word for the people who read the list of holders, such as the event. Optional.
- `timeout`: the seconds until the answer, from the end of the input. The start of Python comes on top.
- `state`: the state of the previous answer, or {}. Optional.

Standard output is one JSON object, and the exit status is 0:

- `outcome`: see below.
- `state`: an object to keep for the next question. All current backends know a holder by its id, and leave it empty.
- `holders`: a list of {`id`, `reason`, `since` (ISO 8601, UTC)}, where `reason` and `since` may be null.
  Instead of the list, null if it is unknown, and always with FleetLock.
- `slots`: the limit that this VM was given; null with FleetLock, whose server has it, or if it is not valid.
- `detail`: one sentence for a person.

Outcomes:

- `held` (acquire, renew): the id holds a slot. Both can be repeated at any time, also after a lost answer or a reboot.
- `denied` (acquire, renew): others hold all slots. For `renew`: the slot was lost, and cannot be had again.
- `released` (release, unlock): the id holds no slot, or no longer.
- `ok` (check, holders).
- `unreachable`: no usable answer in time. After `acquire`, the slot may have been taken nevertheless: release it.
- `invalid`: the question or an option is not valid, a file cannot be read, or the store does not accept the
  credentials. Trying again does not help; somebody has to change the configuration.

For a verb that does not exist, the exit status is 2 and standard output is empty.
"""

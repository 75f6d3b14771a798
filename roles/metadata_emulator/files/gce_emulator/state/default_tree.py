# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metadata tree of a VM, as real VMs had it in 2026."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from .fleet import Fleet, InstanceSpec, NetworkInterface, ServiceAccount
from .scheduling import Shutdown
from .tree import NUMBERED, VERBATIM, Announcement, Computed, Directory, Leaf, NothingYet, Value, directory, numbered


def project(fleet: Fleet) -> Directory:
    """`project/` without zonal metadata."""
    return directory(
        {
            "attributes": directory(dict(fleet.attributes), VERBATIM),
            "numeric-project-id": fleet.numeric_project_id,
            "project-id": fleet.project,
        }
    )


def place_zonal(view: Directory, project_tree: Directory, attributes: Mapping[str, str]) -> None:
    """Fill `view` with `project/` as the guests of a zone see it: zonal metadata overrides the project's."""
    own = project_tree.entries.get("attributes")
    entries = own.entries if isinstance(own, Directory) else {}
    zonal = directory(dict(attributes), VERBATIM)
    view.entries = {**project_tree.entries, "attributes": Directory({**entries, **zonal.entries}, VERBATIM)}


def instance(
    spec: InstanceSpec, fleet: Fleet, project_tree: Directory, external_ips: Sequence[str | None]
) -> Directory:
    """Everything below `/computeMetadata/v1/`. `external_ips` has the current address of each interface."""
    number = fleet.numeric_project_id
    own = directory(
        {
            "attributes": directory(dict(spec.attributes), VERBATIM),
            "cpu-platform": spec.cpu_platform,
            "credentials": directory({}),
            "description": spec.description,
            "disks": numbered(
                [
                    directory(
                        {
                            "device-name": disk.device_name,
                            "index": index,
                            "interface": disk.interface,
                            "mode": disk.mode,
                            "type": disk.type,
                        }
                    )
                    for index, disk in enumerate(spec.disks)
                ]
            ),
            "gce-workload-certificates": directory({}),
            "guest-attributes": Directory(keys=VERBATIM),
            "hostname": spec.hostname,
            "id": spec.id,
            "image": spec.image,
            "licenses": numbered([directory({"id": "5032601234567890123"})]),
            "machine-type": f"projects/{number}/machineTypes/{spec.machine_type}",
            "maintenance-event": "NONE",
            "name": spec.name,
            "network-interfaces": numbered(
                [_interface(each, ip, number) for each, ip in zip(spec.network_interfaces, external_ips)]
            ),
            "partner-attributes": Directory(keys=VERBATIM),
            "preempted": "FALSE",
            "remaining-cpu-time": -1,
            "scheduling": directory(
                {
                    "automatic-restart": _flag(spec.scheduling.automatic_restart),
                    "on-host-maintenance": spec.scheduling.on_host_maintenance,
                    "preemptible": _flag(spec.scheduling.preemptible),
                }
            ),
            "service-accounts": _service_accounts(spec.service_accounts),
            **({"shutdown-details": directory(shutdown_details(spec, None))} if spec.shutdown_details != "404" else {}),
            "tags": Leaf(list(spec.tags), json_by_default=True),
            "virtual-clock": directory({"drift-token": "0"}),
            "zone": f"projects/{number}/zones/{spec.zone}",
        }
    )
    root = directory(
        {
            "instance": own,
            "oslogin": directory({"authenticate": directory({"sessions": directory({})})}),
            "project": project_tree,
        }
    )
    if fleet.universe_domain != "googleapis.com":
        # Served only outside the default universe; clients take 404 for googleapis.com.
        root.entries["universe"] = directory({"universe-domain": fleet.universe_domain})
    place_no_upcoming(root, spec)
    return root


def shutdown_details(spec: InstanceSpec, shutdown: Shutdown | None) -> dict[str, Value]:
    """The values below `shutdown-details/`. The idle state of real servers varies: the fleet file decides."""
    return {
        "max-duration": duration(spec, shutdown.seconds if shutdown else 0.0),
        "request-timestamp": f"{shutdown.requested_at:%Y-%m-%dT%H:%M:%SZ}" if shutdown else "",
        "stop-state": shutdown.state if shutdown else spec.shutdown_details,
        "target-state": shutdown.target if shutdown else "",
    }


def duration(spec: InstanceSpec, real_seconds: float) -> Value:
    """A duration in the form of the fleet file: that of real servers is not documented."""
    seconds = str(math.ceil(real_seconds))
    forms: dict[str, Value] = {"seconds": seconds, "suffix": f"{seconds}s", "object": {"seconds": seconds}}
    return forms[spec.duration_style]


def place_upcoming(root: Directory, announcement: Announcement) -> None:
    _instance_entries(root)["upcoming-maintenance"] = Leaf(announcement)


def place_no_upcoming(root: Directory, spec: InstanceSpec) -> None:
    """The value without an announced window. That of real servers varies: the fleet file decides."""
    entries = _instance_entries(root)
    entries.pop("upcoming-maintenance", None)
    none: dict[str, Leaf] = {"503": Leaf(NothingYet()), "NONE": Leaf("NONE"), "{}": Leaf({}, json_by_default=True)}
    if spec.upcoming_maintenance_none in none:
        entries["upcoming-maintenance"] = none[spec.upcoming_maintenance_none]


def _instance_entries(root: Directory) -> dict[str, Leaf | Directory]:
    own = root.entries["instance"]
    if not isinstance(own, Directory):
        raise TypeError("instance is not a directory")
    return own.entries


def _interface(interface: NetworkInterface, external_ip: str | None, number: int) -> Directory:
    access_configs = [directory({"external-ip": external_ip, "type": "ONE_TO_ONE_NAT"})] if external_ip else []
    entries: dict[str, Value | Leaf | Directory] = {
        "access-configs": numbered(access_configs),
        "dns-servers": list(interface.dns_servers),
        "forwarded-ips": Directory(keys=NUMBERED),
        "gateway": interface.gateway,
        "ip": interface.ip,
        "ip-aliases": Directory(keys=NUMBERED),
        "mac": interface.mac,
        "mtu": interface.mtu,
        "network": f"projects/{number}/networks/{interface.network}",
        "subnetmask": interface.subnetmask,
        "target-instance-ips": [],
    }
    return directory(entries)


def _service_accounts(accounts: tuple[ServiceAccount, ...]) -> Directory:
    entries: dict[str, Directory] = {}
    for position, account in enumerate(accounts):
        names = [account.email, "default"] if position == 0 else [account.email]
        for name in names:
            entries[name] = directory(
                {
                    "aliases": ["default"] if position == 0 else [],
                    "email": account.email,
                    "identity": Computed("identity"),
                    "scopes": list(account.scopes),
                    "token": Computed("token"),
                }
            )
    return directory(dict(entries), VERBATIM)


def _flag(value: bool) -> str:
    return "TRUE" if value else "FALSE"

# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The resources of the Compute API, made from the project's state. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .timestamps import pacific_time

if TYPE_CHECKING:
    from .fleet import Disk, InstanceSpec, NetworkInterface
    from .state import Instance, Project

SERVICE_URL = "https://www.googleapis.com/compute/v1"
"""Where resources say that they are; not where they are served (https://compute.googleapis.com/compute/v1)."""

# Google's interpretation of these keys of the metadata is shown as booleans.
_EFFECTIVE_KEYS = {
    "block-project-ssh-keys": "blockProjectSshKeysMetadataValue",
    "enable-guest-attributes": "enableGuestAttributesMetadataValue",
    "enable-os-inventory": "enableOsInventoryMetadataValue",
    "enable-osconfig": "enableOsconfigMetadataValue",
    "enable-oslogin": "enableOsloginMetadataValue",
    "serial-port-enable": "serialPortEnableMetadataValue",
    "serial-port-logging-enable": "serialPortLoggingEnableMetadataValue",
}


def instance_path(instance: Instance) -> str:
    """As errors and targets name it: projects/P/zones/Z/instances/I."""
    return f"projects/{instance.project.name}/zones/{instance.zone}/instances/{instance.name}"


def instance_resource(instance: Instance) -> dict[str, Any]:
    """The Instance resource; what is not set is left out, as the API does."""
    spec = instance.spec
    zone = f"{SERVICE_URL}/projects/{instance.project.name}/zones/{instance.zone}"
    shown: dict[str, Any] = {
        "kind": "compute#instance",
        "id": str(instance.id),
        "creationTimestamp": pacific_time(instance.created),
        "name": instance.name,
        "description": spec.description,
        "hostname": spec.hostname if not spec.hostname.endswith(".internal") else None,
        "tags": _tags(instance),
        "machineType": f"{zone}/machineTypes/{spec.machine_type}",
        "status": instance.status,
        "zone": zone,
        "canIpForward": False,
        "networkInterfaces": [
            _network_interface(instance, number, each) for number, each in enumerate(spec.network_interfaces)
        ],
        "disks": [_disk(zone, spec, index, each) for index, each in enumerate(spec.disks)],
        "metadata": metadata_resource(instance.attributes, metadata_fingerprint(instance)),
        "serviceAccounts": [{"email": each.email, "scopes": list(each.scopes)} for each in spec.service_accounts],
        "selfLink": f"{SERVICE_URL}/{instance_path(instance)}",
        "scheduling": scheduling_resource(instance),
        "cpuPlatform": spec.cpu_platform,
        "labels": dict(spec.labels),
        "labelFingerprint": fingerprint(dict(spec.labels)),
        "guestAccelerators": [
            {"acceleratorType": f"{zone}/acceleratorTypes/{each.type}", "acceleratorCount": each.count}
            for each in spec.accelerators
        ],
        "startRestricted": False,
        "deletionProtection": False,
        "lastStartTimestamp": pacific_time(instance.started),
        "lastStopTimestamp": pacific_time(instance.stopped) if instance.stopped else None,
        "resourceStatus": _resource_status(instance),
    }
    shown = {key: value for key, value in shown.items() if value not in (None, "", [], {})}
    shown["fingerprint"] = fingerprint(shown)
    return shown


def project_resource(project: Project) -> dict[str, Any]:
    """The Project resource."""
    return {
        "kind": "compute#project",
        "id": str(project.number),
        "creationTimestamp": pacific_time(project.created),
        "name": project.name,
        "commonInstanceMetadata": metadata_resource(project.attributes, project_metadata_fingerprint(project)),
        "quotas": [],
        "selfLink": f"{SERVICE_URL}/projects/{project.name}",
        "defaultServiceAccount": f"{project.number}-compute@developer.gserviceaccount.com",
        "xpnProjectStatus": "UNSPECIFIED_XPN_PROJECT_STATUS",
        "defaultNetworkTier": "PREMIUM",
        "vmDnsSetting": "ZONAL_ONLY",
    }


def scheduling_resource(instance: Instance) -> dict[str, Any]:
    """The Scheduling resource."""
    scheduling = instance.scheduling
    return {
        "onHostMaintenance": scheduling.on_host_maintenance,
        "automaticRestart": scheduling.automatic_restart,
        "preemptible": scheduling.preemptible,
        **instance.more_scheduling,
    }


def zonal_settings_resource(project: Project, zone: str) -> dict[str, Any]:
    """The InstanceSettings resource; its items are a map, and not a list as everywhere else."""
    attributes = project.zonal_metadata(zone).attributes
    return {
        "kind": "compute#instanceSettings",
        "fingerprint": zonal_fingerprint(project, zone),
        "metadata": {"kind": "compute#metadata", **({"items": attributes} if attributes else {})},
        "zone": f"{SERVICE_URL}/projects/{project.name}/zones/{zone}",
    }


def metadata_resource(attributes: Mapping[str, str], current: str) -> dict[str, Any]:
    """The Metadata resource; without `items` when there are none."""
    shown: dict[str, Any] = {"fingerprint": current, "kind": "compute#metadata"}
    if attributes:
        shown["items"] = [{"key": key, "value": value} for key, value in attributes.items()]
    return shown


def metadata_fingerprint(instance: Instance) -> str:
    """Of an instance's metadata. A change of the project's makes it another one, too (magic-modules#1614)."""
    own = instance.metadata
    return fingerprint([own.attributes, own.writes, project_metadata_fingerprint(instance.project)])


def project_metadata_fingerprint(project: Project) -> str:
    return fingerprint([project.attributes, project.metadata.writes])


def zonal_fingerprint(project: Project, zone: str) -> str:
    own = project.zonal_metadata(zone)
    return fingerprint([zone, own.attributes, own.writes])


def zone_id(zone: str) -> int:
    """What operations on a zone's settings have for a targetId."""
    return int.from_bytes(base64.urlsafe_b64decode(fingerprint(zone)), "big") >> 1


def fingerprint(content: Any) -> str:
    """Eight bytes in URL-safe base64, as `zhma6O1w2l8=`."""
    digest = hashlib.blake2b(json.dumps(content, sort_keys=True).encode("utf-8", "surrogateescape"), digest_size=8)
    return base64.urlsafe_b64encode(digest.digest()).decode()


def _tags(instance: Instance) -> dict[str, Any]:
    tags = instance.get("instance/tags") or []
    shown: dict[str, Any] = {"fingerprint": fingerprint(tags)}
    return {"items": list(tags), **shown} if tags else shown


def _network_interface(instance: Instance, number: int, interface: NetworkInterface) -> dict[str, Any]:
    project_url = f"{SERVICE_URL}/projects/{instance.project.name}"
    region = instance.zone.rpartition("-")[0]
    shown: dict[str, Any] = {
        "kind": "compute#networkInterface",
        "network": f"{project_url}/global/networks/{interface.network}",
        "subnetwork": f"{project_url}/regions/{region}/subnetworks/{interface.subnetwork}",
        "networkIP": interface.ip,
        "name": f"nic{number}",
        "fingerprint": fingerprint([interface.ip, interface.external_ip]),
        "stackType": "IPV4_ONLY",
    }
    if interface.external_ip:
        shown["accessConfigs"] = [
            {
                "kind": "compute#accessConfig",
                "type": "ONE_TO_ONE_NAT",
                "name": "External NAT",
                "natIP": interface.external_ip,
                "networkTier": "PREMIUM",
            }
        ]
    return shown


def _disk(zone: str, spec: InstanceSpec, index: int, disk: Disk) -> dict[str, Any]:
    is_local = disk.type.startswith("LOCAL-SSD")
    shown: dict[str, Any] = {
        "kind": "compute#attachedDisk",
        "type": "SCRATCH" if is_local else "PERSISTENT",
        "mode": disk.mode,
        "deviceName": disk.device_name,
        "index": index,
        "boot": disk.boot,
        "autoDelete": disk.boot or is_local,
        "interface": disk.interface,
        "diskSizeGb": str(disk.size_gb),
    }
    if not is_local:
        shown["source"] = f"{zone}/disks/{spec.name if disk.boot else disk.device_name}"
    return shown


def _resource_status(instance: Instance) -> dict[str, Any]:
    effective: dict[str, Any] = {
        name: instance.is_enabled(key)
        for key, name in _EFFECTIVE_KEYS.items()
        if instance.effective_attribute(key) is not None
    }
    dns = instance.effective_attribute("vmdnssetting") or instance.effective_attribute("VmDnsSetting")
    effective["vmDnsSettingMetadataValue"] = dns or "ZonalOnly"
    shown: dict[str, Any] = {"scheduling": {}, "effectiveInstanceMetadata": effective}
    window = instance.upcoming_maintenance
    if window is not None:
        shown["upcomingMaintenance"] = window.to_api()
    return shown

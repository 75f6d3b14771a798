# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The resources of the Compute API, made from the project's state. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from ..state import scheduling
from ..state.fleet import Disk, InstanceSpec, NetworkInterface
from ..state.geography import region_of
from ..state.instance import Instance
from ..state.project import AttachedDisk, Project, disk_name
from .timestamps import pacific_time

SERVICE_URL = "https://www.googleapis.com/compute/v1"
"""The base of selfLinks; requests go to https://compute.googleapis.com/compute/v1."""

# Creation of zones and regions.
_LONG_AGO = "1969-12-31T16:00:00.000-08:00"

# Keys of metadata that resourceStatus shows as booleans.
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
    """projects/P/zones/Z/instances/I, as in errors and targets of operations."""
    return f"projects/{instance.project.name}/zones/{instance.zone}/instances/{instance.name}"


def instance_resource(instance: Instance) -> dict[str, Any]:
    """The Instance resource, without empty fields."""
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
        "labels": dict(instance.labels),
        "labelFingerprint": labels_fingerprint(instance),
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
    seen = instance.scheduling
    return {
        "onHostMaintenance": seen.on_host_maintenance,
        "automaticRestart": seen.automatic_restart,
        "preemptible": seen.preemptible,
        **instance.more_scheduling,
    }


def zonal_settings_resource(project: Project, zone: str) -> dict[str, Any]:
    """The InstanceSettings resource. Its items are a map, not a list as elsewhere."""
    attributes = project.zonal_metadata(zone).attributes
    return {
        "kind": "compute#instanceSettings",
        "fingerprint": zonal_fingerprint(project, zone),
        # gcloud fails on `metadata` without `items`.
        **({"metadata": {"kind": "compute#metadata", "items": attributes}} if attributes else {}),
        "zone": f"{SERVICE_URL}/projects/{project.name}/zones/{zone}",
    }


def disk_resource(attached: AttachedDisk) -> dict[str, Any]:
    """The Disk resource."""
    instance, disk = attached.instance, attached.disk
    zone = f"{SERVICE_URL}/projects/{instance.project.name}/zones/{instance.zone}"
    shown: dict[str, Any] = {
        "kind": "compute#disk",
        "id": str(resource_id(f"disk {instance.id} {attached.name}")),
        "creationTimestamp": pacific_time(instance.created),
        "name": attached.name,
        "sizeGb": str(disk.size_gb),
        "zone": zone,
        "status": "READY",
        "sourceImage": f"{SERVICE_URL}/{instance.spec.image}" if disk.boot else None,
        "selfLink": f"{zone}/disks/{attached.name}",
        "type": f"{zone}/diskTypes/{_disk_type(disk)}",
        "lastAttachTimestamp": pacific_time(instance.created),
        "users": [f"{SERVICE_URL}/{instance_path(instance)}"] if instance.exists else None,
        "labelFingerprint": fingerprint({}),
        "physicalBlockSizeBytes": "4096",
    }
    return {key: value for key, value in shown.items() if value is not None}


def zone_resource(project: Project, zone: str) -> dict[str, Any]:
    """The Zone resource."""
    project_url = f"{SERVICE_URL}/projects/{project.name}"
    return {
        "kind": "compute#zone",
        "id": str(resource_id(zone)),
        "creationTimestamp": _LONG_AGO,
        "name": zone,
        "description": zone,
        "status": "UP",
        "region": f"{project_url}/regions/{region_of(zone)}",
        "selfLink": f"{project_url}/zones/{zone}",
    }


def region_resource(project: Project, region: str, zones: Sequence[str]) -> dict[str, Any]:
    """The Region resource, with the quotas that the fleet uses."""
    project_url = f"{SERVICE_URL}/projects/{project.name}"
    instances = [each for each in project.instances.values() if region_of(each.zone) == region]
    disks = [each.disk for each in project.disks() if region_of(each.instance.zone) == region]
    addresses = [
        each.external_ip(number) for each in instances for number, _unused in enumerate(each.spec.network_interfaces)
    ]
    usage = {
        "DISKS_TOTAL_GB": (40960, sum(disk.size_gb for disk in disks)),
        "INSTANCES": (6000, len(instances)),
        "IN_USE_ADDRESSES": (2300, sum(address is not None for address in addresses)),
    }
    return {
        "kind": "compute#region",
        "id": str(resource_id(region)),
        "creationTimestamp": _LONG_AGO,
        "name": region,
        "description": region,
        "status": "UP",
        "zones": [f"{project_url}/zones/{zone}" for zone in zones if region_of(zone) == region],
        "quotas": [
            {"metric": metric, "limit": float(limit), "usage": float(used)} for metric, (limit, used) in usage.items()
        ],
        "selfLink": f"{project_url}/regions/{region}",
    }


def metadata_resource(attributes: Mapping[str, str], current: str) -> dict[str, Any]:
    """The Metadata resource, without `items` if empty."""
    shown: dict[str, Any] = {"fingerprint": current, "kind": "compute#metadata"}
    if attributes:
        shown["items"] = [{"key": key, "value": value} for key, value in attributes.items()]
    return shown


def metadata_fingerprint(instance: Instance) -> str:
    """Of an instance's metadata. It also changes with the project's (GoogleCloudPlatform/magic-modules#1614)."""
    own = instance.metadata
    return fingerprint([own.attributes, own.writes, project_metadata_fingerprint(instance.project)])


def project_metadata_fingerprint(project: Project) -> str:
    return fingerprint([project.attributes, project.metadata.writes])


def zonal_fingerprint(project: Project, zone: str) -> str:
    own = project.zonal_metadata(zone)
    return fingerprint([zone, own.attributes, own.writes])


def labels_fingerprint(instance: Instance) -> str:
    return fingerprint(instance.labels)


def tags_fingerprint(instance: Instance) -> str:
    return fingerprint(instance.tags)


def resource_id(name: str) -> int:
    """An id for a resource that the fleet file gives none; the same at each start."""
    return int.from_bytes(base64.urlsafe_b64decode(fingerprint(name)), "big") >> 1


def fingerprint(content: Any) -> str:
    """Eight bytes in URL-safe base64, such as `zhma6O1w2l8=`."""
    digest = hashlib.blake2b(json.dumps(content, sort_keys=True).encode("utf-8", "surrogateescape"), digest_size=8)
    return base64.urlsafe_b64encode(digest.digest()).decode()


def _disk_type(disk: Disk) -> str:
    """`pd-balanced` for PERSISTENT-BALANCED, the metadata server's name."""
    if disk.type == "PERSISTENT":
        return "pd-standard"
    return disk.type.lower().replace("persistent-", "pd-")


def _tags(instance: Instance) -> dict[str, Any]:
    tags = instance.tags
    return {**({"items": tags} if tags else {}), "fingerprint": tags_fingerprint(instance)}


def _network_interface(instance: Instance, number: int, interface: NetworkInterface) -> dict[str, Any]:
    project_url = f"{SERVICE_URL}/projects/{instance.project.name}"
    external_ip = instance.external_ip(number)
    shown: dict[str, Any] = {
        "kind": "compute#networkInterface",
        "network": f"{project_url}/global/networks/{interface.network}",
        "subnetwork": f"{project_url}/regions/{region_of(instance.zone)}/subnetworks/{interface.subnetwork}",
        "networkIP": interface.ip,
        "name": f"nic{number}",
        "fingerprint": fingerprint([interface.ip, external_ip]),
        "stackType": "IPV4_ONLY",
    }
    if interface.external_ip:
        # A stopped VM loses its ephemeral address, but not the configuration.
        shown["accessConfigs"] = [
            {
                "kind": "compute#accessConfig",
                "type": "ONE_TO_ONE_NAT",
                "name": "External NAT",
                **({"natIP": external_ip} if external_ip else {}),
                "networkTier": "PREMIUM",
            }
        ]
    return shown


def _disk(zone: str, spec: InstanceSpec, index: int, disk: Disk) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "kind": "compute#attachedDisk",
        "type": "SCRATCH" if disk.is_local else "PERSISTENT",
        "mode": disk.mode,
        "deviceName": disk.device_name,
        "index": index,
        "boot": disk.boot,
        "autoDelete": disk.boot or disk.is_local,
        "interface": disk.interface,
        "diskSizeGb": str(disk.size_gb),
    }
    if not disk.is_local:
        shown["source"] = f"{zone}/disks/{disk_name(spec, disk)}"
    return shown


def _resource_status(instance: Instance) -> dict[str, Any]:
    effective: dict[str, Any] = {
        name: instance.is_enabled(key)
        for key, name in _EFFECTIVE_KEYS.items()
        if instance.effective_attribute(key) is not None
    }
    dns = instance.effective_attribute("vmdnssetting") or instance.effective_attribute("VmDnsSetting")
    effective["vmDnsSettingMetadataValue"] = dns or "ZonalOnly"
    shown: dict[str, Any] = {
        "scheduling": _scheduling_status(instance),
        "effectiveInstanceMetadata": effective,
    }
    if instance.shutdown is not None:
        shown["shutdownDetails"] = {
            "maxDuration": {"seconds": str(math.ceil(instance.shutdown.seconds))},
            "requestTimestamp": pacific_time(instance.shutdown.requested_at),
            "stopState": instance.shutdown.state,
            "targetState": instance.shutdown.target,
        }
    window = instance.upcoming_maintenance
    if window is not None:
        shown["upcomingMaintenance"] = window.to_api()
    return shown


def _scheduling_status(instance: Instance) -> dict[str, Any]:
    wanted = instance.more_scheduling
    end = scheduling.termination_time(wanted, instance.started, instance.clock.speed)
    if end is None or not instance.is_up:
        return {}
    graceful = instance.clock.real_seconds(scheduling.graceful_shutdown(wanted))
    return {
        "terminationTimestamp": pacific_time(end),
        **({"gracefulShutdownTimestamp": pacific_time(end - timedelta(seconds=graceful))} if graceful else {}),
    }

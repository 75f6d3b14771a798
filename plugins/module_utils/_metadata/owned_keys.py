# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Custom metadata that Google's services write and depend on. Pure.

Private to the collection: it may change at any time. Standard library only.

The same table is in docs/docsite/rst/guide_custom_metadata.rst.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Owner:
    """A service and the patterns of its keys. With `markers`, only where one of these keys exists, too."""

    service: str
    keys: tuple[str, ...]
    markers: tuple[str, ...] = ()


OWNERS = (
    Owner("Managed instance groups", ("created-by", "instance-template")),
    Owner("Containers on instances", ("gce-container-declaration", "gce-software-declaration")),
    Owner("The guest agent and other agents", ("google-*",)),
    Owner("Kubernetes Engine", ("gke-*", "k8s-*", "kube-*", "kubeconfig", "kubelet-config")),
    Owner(
        "Kubernetes Engine, on its nodes",
        (
            "cluster-*",
            "common-psm1",
            "configure-sh",
            "containerd-configure-sh",
            "disable-address-manager",
            "disable-legacy-endpoints",
            "gci-*",
            "install-ssh-psm1",
            "serial-port-logging-enable",
            "startup-script",
            "user-data",
            "user-profile-psm1",
            "windows-startup-script-ps1",
        ),
        markers=("kube-env", "cluster-name"),
    ),
    Owner("Dataproc", ("dataproc-*",)),
    Owner("Dataproc, on its instances", ("startup-script", "user-data"), markers=("dataproc-cluster-name",)),
    Owner("App Engine, flexible environment", ("gae_*", "gcm-*"), markers=("gae_project", "gae_backend_name")),
    Owner(
        "Cloud TPU",
        ("accelerator-type", "agent-*", "instance-id", "startup-script", "tpu-*", "worker-*"),
        markers=("tpu-env",),
    ),
)


def owned(keys: Collection[str]) -> set[str]:
    """The keys of an instance that a service owns."""
    patterns = [
        pattern
        for owner in OWNERS
        if not owner.markers or any(marker in keys for marker in owner.markers)
        for pattern in owner.keys
    ]
    return {key for key in keys if any(fnmatchcase(key, pattern) for pattern in patterns)}

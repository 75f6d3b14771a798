# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of Google's services."""

from __future__ import annotations

import pytest
from ansible_collections.gce.guest.plugins.module_utils._metadata.custom import plan
from ansible_collections.gce.guest.plugins.module_utils._metadata.owned_keys import OWNERS, owned

from support.playbook import CHECKOUT

# As nodes of Kubernetes Engine have them, on Linux and on Windows.
NODE = {
    "cluster-location",
    "cluster-name",
    "cluster-uid",
    "common-psm1",
    "configure-sh",
    "containerd-configure-sh",
    "created-by",
    "disable-address-manager",
    "disable-legacy-endpoints",
    "gci-ensure-gke-docker",
    "gci-metrics-enabled",
    "gci-update-strategy",
    "google-compute-enable-pcid",
    "install-ssh-psm1",
    "instance-template",
    "k8s-node-setup-psm1",
    "kube-env",
    "kube-labels",
    "kubeconfig",
    "kubelet-config",
    "serial-port-logging-enable",
    "startup-script",
    "user-data",
    "user-profile-psm1",
    "windows-startup-script-ps1",
}
ONLY_ON_NODES = {
    "cluster-location",
    "common-psm1",
    "configure-sh",
    "containerd-configure-sh",
    "disable-address-manager",
    "gci-metrics-enabled",
    "startup-script",
    "user-data",
    "windows-startup-script-ps1",
}


@pytest.mark.parametrize("missing", ["kube-env", "cluster-name", None])
def test_keys_of_a_kubernetes_node_are_kept(missing: str | None) -> None:
    keys = NODE - {missing}
    assert owned({*keys, "release"}) == keys
    assert set(plan(dict.fromkeys({*keys, "release"}, "x"), {}, purge=True).after) == keys


def test_same_keys_are_not_kept_elsewhere() -> None:
    assert owned(ONLY_ON_NODES) == set()
    assert plan(dict.fromkeys(ONLY_ON_NODES, "x"), {}, purge=True).after == {}


def test_purge_owned_removes_them() -> None:
    current = dict.fromkeys({*NODE, "ssh-keys"}, "x")
    assert set(plan(current, {}, purge=True, purge_owned=True).after) == {"ssh-keys"}
    assert plan(current, {}, purge=True, purge_owned=True, keep=[]).after == {}
    assert set(plan(current, {}, purge=True, keep=[]).after) == NODE


def test_named_keys_are_written_and_removed() -> None:
    current = dict.fromkeys(NODE, "x")
    assert plan(current, {"user-data": "y"}, purge=True).after["user-data"] == "y"
    once = plan(current, {"kube-env": "", "cluster-name": ""}, present=False, purge=True).after
    assert not owned(once) & ONLY_ON_NODES
    assert not plan(once, {"kube-env": "", "cluster-name": ""}, present=False, purge=True).changed


def test_guide_has_the_same_table() -> None:
    guide = (CHECKOUT / "docs/docsite/rst/guide_custom_metadata.rst").read_text(encoding="utf-8")
    for owner in OWNERS:
        keys = ", ".join(f"``{key}``" for key in owner.keys)
        markers = " or ".join(f"``{key}``" for key in owner.markers) or "always"
        assert f"   * - {owner.service}\n     - {keys}\n     - {markers}\n" in guide
    assert guide.count("\n     - always\n") == sum(not owner.markers for owner in OWNERS)

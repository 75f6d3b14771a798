# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recipe kubernetes_node, with an HTTPS server that implements the documented API of Kubernetes."""

from __future__ import annotations

import json
import signal
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.emulator import eventually
from support.json_service import Call, Certificate, JsonService
from support.recipes import PATIENCE, Recipe

TOKEN = "t0ken-of-the-drainer"
NODE = "GET /api/v1/nodes/n1"
PODS = "/api/v1/namespaces/default/pods"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
BUDGET = "The disruption budget web-budget needs 2 healthy pods and has 2 currently."


def pod(name: str, kind: str | None = "ReplicaSet", **fields: Any) -> dict[str, Any]:
    owners = [] if kind is None else [{"kind": kind, "name": "x", "controller": True}]
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}", "ownerReferences": owners}
    metadata.update(fields.pop("metadata", {}))
    spec = {"nodeName": "n1", "terminationGracePeriodSeconds": fields.pop("grace", 30)}
    return {"metadata": metadata, "spec": spec, "status": {"phase": fields.pop("phase", "Running")}}


class Kubernetes(JsonService):
    """An API server with the node `n1`. Pods that are evicted stay until `finish` if `slow` is set."""

    def __init__(self, certificate: Certificate, *, client_certificates: bool = False) -> None:
        super().__init__(certificate, client_certificates=client_certificates)
        self.token: str | None = None if client_certificates else TOKEN
        self.node: dict[str, Any] = {
            "kind": "Node",
            "metadata": {"name": "n1"},
            "spec": {},
            "status": {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"bootID": "boot-1"}},
        }
        self.pods: dict[str, dict[str, Any]] = {}
        self.slow = False
        self.blocked: set[str] = set()
        self.denied: set[str] = set()
        self.evictions: list[dict[str, Any]] = []

    def add(self, *pods: dict[str, Any]) -> None:
        self.pods.update({one["metadata"]["name"]: one for one in pods})

    def finish(self) -> None:
        with self.lock:
            for name in [name for name, one in self.pods.items() if "deletionTimestamp" in one["metadata"]]:
                del self.pods[name]

    @property
    def cordoned(self) -> bool:
        return self.node["spec"].get("unschedulable") is True

    def answer(self, call: Call) -> tuple[int, Any]:
        if self.token is not None and call.headers.get("authorization") != f"Bearer {self.token}":
            return 401, {"kind": "Status", "message": "Unauthorized", "code": 401}
        if call.path == "/api/v1/nodes/n1":
            if call.method == "PATCH":
                assert call.headers["content-type"] == "application/merge-patch+json"
                self.node["spec"].update(call.body["spec"])
            return 200, self.node
        if call.path == "/api/v1/pods":
            assert call.query["fieldSelector"] == "spec.nodeName=n1"
            wanted = [one for one in self.pods.values() if self._matches(one, call.query.get("labelSelector"))]
            return 200, {"kind": "PodList", "items": wanted}
        if call.path == REVIEWS:
            right = call.body["spec"]["resourceAttributes"]
            return 201, {"status": {"allowed": f"{right['verb']} {right['resource']}" not in self.denied}}
        if call.path.endswith("/eviction"):
            return self._evict(call)
        return 404, {"kind": "Status", "message": f"{call.path} not found", "code": 404}

    @staticmethod
    def _matches(one: dict[str, Any], selector: str | None) -> bool:
        if selector is None:
            return True
        key, _not, value = selector.partition("!=")
        labels: dict[str, str] = one["metadata"].get("labels", {})
        return labels.get(key) != value

    def _evict(self, call: Call) -> tuple[int, Any]:
        name = call.path.split("/")[-2]
        options = call.body["deleteOptions"]
        assert (call.body["apiVersion"], call.body["kind"]) == ("policy/v1", "Eviction")
        assert call.path == f"{PODS}/{call.body['metadata']['name']}/eviction"
        if name not in self.pods:
            return 404, {"message": f'pods "{name}" not found'}
        if options["preconditions"]["uid"] != self.pods[name]["metadata"]["uid"]:
            return 409, {"message": "the UID in the precondition does not match"}
        if name in self.blocked:
            causes = [{"reason": "DisruptionBudget", "message": BUDGET}]
            text = "Cannot evict pod as it would violate the pod's disruption budget."
            return 429, {"kind": "Status", "message": text, "details": {"causes": causes}, "code": 429}
        self.evictions.append({"name": name, "grace": options.get("gracePeriodSeconds")})
        if self.slow:
            self.pods[name]["metadata"]["deletionTimestamp"] = "2026-11-26T20:00:00Z"
        else:
            del self.pods[name]
        return 201, {"kind": "Status", "status": "Success"}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def cluster(certificate: Certificate) -> Iterator[Kubernetes]:
    started = Kubernetes(certificate)
    yield started
    started.stop()


@pytest.fixture
def make(cluster: Kubernetes, certificate: Certificate, tmp_path: Path) -> Callable[..., Recipe]:
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n", encoding="ascii")
    given = {"server": cluster.url, "token_file": str(token), "ca_file": str(certificate.file), "node": "n1"}
    return lambda **parameters: Recipe("kubernetes_node", tmp_path / "records", **{**given, **parameters})


def test_drains_and_restores_twice_each(make: Callable[..., Recipe], cluster: Kubernetes) -> None:
    cluster.add(pod("web-1"), pod("db-0", "StatefulSet"), pod("done", "Job", phase="Succeeded"))
    cluster.add(
        pod("agent", "DaemonSet"), pod("static", None, metadata={"annotations": {"kubernetes.io/config.mirror": "x"}})
    )
    recipe = make()
    assert "2 pods to evict" in recipe.does("check")
    assert set(cluster.changes) == {f"POST {REVIEWS}"}
    recipe.does("drain")
    assert cluster.cordoned
    assert cluster.pods.keys() == {"done", "agent", "static"}
    changes = len(cluster.changes)
    recipe.does("drain")
    assert "cordoned by this recipe; 0 pods to evict" in recipe.does("state")
    assert len(cluster.changes) == changes
    recipe.does("restore")
    assert not cluster.cordoned
    changes = len(cluster.changes)
    assert "nothing to restore" in recipe.does("restore")
    assert len(cluster.changes) == changes
    assert recipe.record == {}


def test_grace_period_of_a_pod_is_its_own_or_the_time_left_and_never_0(
    make: Callable[..., Recipe], cluster: Kubernetes
) -> None:
    cluster.add(pod("short", grace=5), pod("long", grace=600))
    make().does("drain", timeout=60)
    graces = {one["name"]: one["grace"] for one in cluster.evictions}
    assert graces["short"] is None
    assert 1 <= graces["long"] < 60
    cluster.add(pod("last"))
    make().does("drain", timeout=5)
    assert cluster.evictions[-1] == {"name": "last", "grace": 1}


def test_waits_for_the_pods_and_names_the_budget_that_blocks_one(
    make: Callable[..., Recipe], cluster: Kubernetes
) -> None:
    cluster.add(pod("web-1"), pod("web-2"))
    cluster.slow, cluster.blocked = True, {"web-2"}
    recipe = make()
    said = recipe.reports("drain", cluster.looks_again("GET /api/v1/pods"))
    for words in (
        "2 pods left on n1: default/web-2 cannot be evicted",
        BUDGET[:-1],
        "web-1 is terminating",
        "n1 stays cordoned",
    ):
        assert words in said
    assert [one["name"] for one in cluster.evictions] == ["web-1"]
    with recipe.start("drain", timeout=60) as drain:
        cluster.blocked = set()
        eventually(lambda: len(cluster.evictions) == 2, within=PATIENCE)
        cluster.finish()
        said, _none = drain.communicate(timeout=PATIENCE)
    assert drain.returncode == 0, said
    recipe.does("restore")


def test_keeps_a_node_cordoned_that_was_cordoned_before(make: Callable[..., Recipe], cluster: Kubernetes) -> None:
    cluster.node["spec"]["unschedulable"] = True
    cluster.add(pod("web-1"))
    recipe = make()
    recipe.does("drain")
    assert cluster.pods == {}
    recipe.does("restore")
    assert cluster.cordoned
    assert not [change for change in cluster.changes if change.startswith("PATCH")]


def test_keeps_pods_without_a_controller(make: Callable[..., Recipe], cluster: Kubernetes) -> None:
    cluster.add(pod("single", None), pod("kept", metadata={"labels": {"keep-data": "true"}}), pod("web-1"))
    recipe = make(pod_selector="keep-data!=true")
    said = recipe.does("drain")
    assert "left on n1: default/single, default/kept" in said
    assert cluster.pods.keys() == {"single", "kept"}
    make(unmanaged="evict").does("drain")
    assert cluster.pods == {}


def test_restores_after_a_cut_off_drain_and_a_restart_of_the_kubelet(
    make: Callable[..., Recipe], cluster: Kubernetes
) -> None:
    cluster.add(pod("web-1"))
    cluster.slow = True
    recipe = make()
    with recipe.start("drain", timeout=60) as drain:
        eventually(lambda: cluster.evictions, within=PATIENCE)
        drain.send_signal(signal.SIGKILL)
        drain.communicate(timeout=PATIENCE)
    # A reboot: the API server still has what the kubelet reported before.
    [path] = recipe.records.glob("*.json")
    document = json.loads(path.read_text(encoding="utf-8"))
    document["changed"]["n1"]["boot"] = "another boot"
    path.write_text(json.dumps(document), encoding="utf-8")
    assert "has not reported since the boot" in recipe.reports("restore", cluster.looks_again(NODE))
    cluster.node["status"]["nodeInfo"]["bootID"] = "boot-2"
    cluster.node["status"]["conditions"][0]["status"] = "False"
    assert "n1 is not ready" in recipe.reports("restore", cluster.looks_again(NODE))
    assert cluster.cordoned
    cluster.node["status"]["conditions"][0]["status"] = "True"
    recipe.does("restore")
    assert (cluster.cordoned, recipe.record) == (False, {})


def test_waits_for_the_local_service_and_for_the_scheduler(make: Callable[..., Recipe], cluster: Kubernetes) -> None:
    recipe = make(health="tcp:127.0.0.1:9")
    recipe.does("drain")
    done = recipe.run("restore", timeout=1)
    assert (done.returncode, "the local service is not up" in done.stdout, cluster.cordoned) == (3, True, True)
    cluster.node["spec"]["taints"] = [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]
    recipe.parameters["health"] = None
    # It looks before and after it has uncordoned the node.
    assert "n1 is still unschedulable" in recipe.reports("restore", cluster.looks_again(NODE, each=2))
    assert "n1" in recipe.record
    cluster.node["spec"]["taints"] = []
    recipe.does("restore")


def test_survives_an_outage_of_the_api_server(make: Callable[..., Recipe], cluster: Kubernetes) -> None:
    cluster.add(pod("web-1"))
    cluster.failures["GET /api/v1/pods"] = (503, {"message": "etcdserver: leader changed"})
    recipe = make()
    said = recipe.reports("drain", cluster.looks_again("GET /api/v1/pods"))
    assert "etcdserver: leader changed; n1 stays cordoned" in said
    cluster.failures.clear()
    recipe.does("drain")
    cluster.stop()
    with recipe.start("restore", timeout=60) as restore:
        cluster.start()
        said, _none = restore.communicate(timeout=PATIENCE)
    assert restore.returncode == 0, said
    assert not cluster.cordoned


def test_reports_that_the_cordon_stays_if_it_is_rejected(make: Callable[..., Recipe], cluster: Kubernetes) -> None:
    cluster.failures["GET /api/v1/pods"] = (403, {"message": 'User "x" cannot list resource "pods"'})
    recipe = make()
    assert "cannot list" in recipe.refuses("drain")
    assert "n1 stays cordoned until the restore" in recipe.refuses("drain")
    recipe.does("restore")
    assert not cluster.cordoned


def kubeconfig(cluster: Kubernetes, server: str, user: str) -> str:
    return f"""apiVersion: v1
clusters:
- cluster:
    {server}
    server: {cluster.url}
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: default-auth
  name: default-context
current-context: default-context
kind: Config
preferences: {{}}
users:
- name: default-auth
  user:
    {user}
"""


def test_reads_a_kubeconfig_with_a_token(
    make: Callable[..., Recipe], cluster: Kubernetes, certificate: Certificate, tmp_path: Path
) -> None:
    path = tmp_path / "kubelet.conf"
    data = b64encode(certificate.file.read_bytes()).decode()
    path.write_text(kubeconfig(cluster, f"certificate-authority-data: {data}", f'token: "{TOKEN}"'), encoding="utf-8")
    recipe = make(server=None, token_file=None, ca_file=None, kubeconfig=str(path))
    for verb in ("check", "drain", "restore"):
        assert TOKEN not in recipe.does(verb)
    recipe.parameters["context"] = "other"
    assert "has no context 'other'" in recipe.refuses()


def test_reads_a_kubeconfig_with_a_client_certificate(
    make: Callable[..., Recipe], certificate: Certificate, tmp_path: Path
) -> None:
    cluster = Kubernetes(certificate, client_certificates=True)
    try:
        path = tmp_path / "kubelet.conf"
        path.symlink_to(tmp_path / "real.conf")
        key = b64encode(certificate.key_file.read_bytes()).decode()
        user = f"client-certificate: {certificate.file}\n    client-key-data: {key}"
        path.write_text(kubeconfig(cluster, f"certificate-authority: {certificate.file}", user), encoding="utf-8")
        recipe = make(server=None, token_file=None, ca_file=None, kubeconfig=str(path))
        recipe.does("check")
        path.write_text(kubeconfig(cluster, f"certificate-authority: {certificate.file}", "exec: {}"), encoding="utf-8")
        assert "commands that fetch credentials are not supported" in recipe.refuses()
        path.write_text(kubeconfig(cluster, "insecure-skip-tls-verify: true", "token: x"), encoding="utf-8")
        assert "insecure-skip-tls-verify" in recipe.refuses()
    finally:
        cluster.stop()


def test_check_reports_invalid_parameters(make: Callable[..., Recipe], cluster: Kubernetes, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("not-the-token-at-all", encoding="ascii")
    two = tmp_path / "two"
    two.write_text("one\ntwo-secret\n", encoding="ascii")
    for parameters, words in (
        ({"node": "n9"}, "has no node n9"),
        ({"node": None}, "set 'node'"),
        ({"token_file": str(wrong)}, "status 401: Unauthorized"),
        ({"token_file": str(two)}, "must contain a single line"),
        ({"token_file": None}, "server needs a token_file"),
        ({"ca_file": "/no/such"}, "/no/such cannot be read"),
        ({"ca_file": str(wrong)}, "no certificates in PEM format"),
        ({"ca_file": None}, "does not answer"),
        ({"server": None, "kubeconfig": "/no/such"}, "/no/such cannot be read"),
        ({"server": None, "kubeconfig": str(two)}, "line 1 is not supported"),
        ({"health": "9"}, "is not an address"),
    ):
        line = make(**parameters).refuses()
        assert words in line
        assert "not-the-token" not in line
        assert "two-secret" not in line
    for denied, words in (("patch nodes", "do not allow to patch nodes"), ("create pods", "create pods/eviction")):
        cluster.denied = {denied}
        assert words in make().refuses()
    cluster.failures["GET /api/v1/nodes/n1"] = (200, "<html>It works!</html>")
    assert "does not answer with a JSON object" in make().refuses()
    cluster.failures["GET /api/v1/nodes/n1"] = (200, {})
    assert "does not answer like a Kubernetes API server" in make().refuses()
    assert not (tmp_path / "records").exists()

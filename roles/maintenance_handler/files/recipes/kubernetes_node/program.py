# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes: cordon the node, then evict its pods (https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction)."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from client import secret_file, tls
from client.errors import Unreachable
from recipes import health
from recipes.api import Api, NotFound, Rejected, Unavailable
from recipes.kubernetes_node import kubeconfig
from recipes.run import Refusal, Run, counted

_EVERY = 2.0
# The kubelet reports a little later than the end of the grace period that a pod is gone.
_REPORTING = 3.0
# The API's default for terminationGracePeriodSeconds.
_GRACE = 30
_SHOWN = 5
_TAINT = "node.kubernetes.io/unschedulable"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_REMEDY = "give the token the rights in the documentation of kubernetes_node"


def check(run: Run) -> None:
    health.checked(run["health"])
    api = _api(run)
    node = _node(api, run)
    name = _name(node)
    pods = _evictable(api, run, name)
    _refuse_without_right(api, {"verb": "patch", "resource": "nodes", "name": name})
    _refuse_without_right(api, {"verb": "create", "resource": "pods", "subresource": "eviction"})
    run.say(f"{name} {_schedulable(node)}; {counted(len(pods), 'pod')} to evict")


def drain(run: Run) -> None:
    api = _api(run)
    try:
        run.wait_until(lambda: _still_open(api, run), every=_EVERY)
    except Refusal as exc:
        names = run.record.keys()
        cordoned = "".join(f"; {name} stays cordoned until the restore" for name in names)
        raise Refusal(f"{exc}{cordoned}") from None
    name = _name(_node(api, run))
    left = _left(api, run, name)
    if left:
        run.say(f"left on {name}: {_listed(left)}")
    run.say(f"{name} is cordoned, and the pods to evict are gone")


def restore(run: Run) -> None:
    names = run.record.keys()
    if not names:
        run.say("nothing to restore: this recipe has not cordoned the node")
        return
    health.wait_until_healthy(run, run["health"])
    api = _api(run)
    run.wait_until(lambda: "; ".join(filter(None, (_still_out(api, run, name) for name in names))), every=_EVERY)


def state(run: Run) -> None:
    api = _api(run)
    node = _node(api, run)
    ours = " by this recipe" if _name(node) in run.record else ""
    pods = counted(len(_evictable(api, run, _name(node))), "pod")
    run.say(f"{_name(node)} {_schedulable(node)}{ours}; {pods} to evict")


def _api(run: Run) -> Api:
    if run["server"] is None:
        return kubeconfig.api(run, run["kubeconfig"], run["context"])
    if run["token_file"] is None:
        raise Refusal("server needs a token_file")
    headers = {"Authorization": f"Bearer {secret_file.read(run['token_file'])}"}
    context = tls.context(run["ca_file"]) if run["server"].startswith("https://") else None
    return Api(run["server"], run, _REMEDY, headers, context)


def _node(api: Api, run: Run) -> dict[str, Any]:
    host = socket.gethostname()
    names = [run["node"]] if run["node"] else list(dict.fromkeys([host, host.partition(".")[0]]))
    for name in names:
        with suppress(NotFound):
            return _look_up(api, name)
    raise Refusal(f"{api.url} has no node {' or '.join(names)}: set 'node'")


def _look_up(api: Api, name: str) -> dict[str, Any]:
    node = api.object(_path(name))
    if node.get("kind") != "Node":
        raise Refusal(f"{api.url} does not answer like a Kubernetes API server")
    return node


def _path(node: str) -> str:
    return f"/api/v1/nodes/{quote(node, safe='')}"


def _name(node: dict[str, Any]) -> str:
    return str(node["metadata"]["name"])


def _is_cordoned(node: dict[str, Any]) -> bool:
    return node.get("spec", {}).get("unschedulable") is True


def _schedulable(node: dict[str, Any]) -> str:
    ready = "is ready" if _ready(node) == "True" else "is not ready"
    return f"{ready}, and {'cordoned' if _is_cordoned(node) else 'not cordoned'}"


def _ready(node: dict[str, Any]) -> str:
    conditions = node.get("status", {}).get("conditions", [])
    return next((str(one.get("status")) for one in conditions if one.get("type") == "Ready"), "Unknown")


def _patch(api: Api, name: str, *, unschedulable: bool) -> None:
    body = {"spec": {"unschedulable": unschedulable}}
    api.send("PATCH", _path(name), body, {"Content-Type": "application/merge-patch+json"})


def _refuse_without_right(api: Api, right: dict[str, str]) -> None:
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": right},
    }
    review = api.send("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
    if not isinstance(review, dict) or review.get("status", {}).get("allowed") is not True:
        what = "/".join(right[key] for key in ("resource", "subresource") if key in right)
        raise Refusal(f"the credentials for {api.url} do not allow to {right['verb']} {what}: {api.remedy}")


def _still_open(api: Api, run: Run) -> str:
    """Cordon the node and have its pods evicted. Returns which pods are left."""
    cordoned = ""
    try:
        node = _node(api, run)
        name = _name(node)
        if not _is_cordoned(node):
            if name not in run.record:
                run.record.note(name, {"boot": _boot_id(), "reported": _reported_boot(node)})
            _patch(api, name, unschedulable=True)
        cordoned = f"; {name} stays cordoned" if name in run.record else ""
        pods = _evictable(api, run, name)
        problems = [_evict(pod, api, run) for pod in pods]
    except Unreachable as exc:
        # The API server may be back in a moment.
        return run.unanswered(f"{exc}{cordoned}")
    return f"{counted(len(pods), 'pod')} left on {name}: {_listed(problems)}{cordoned}" if pods else ""


def _evictable(api: Api, run: Run, node: str) -> list[dict[str, Any]]:
    return [pod for pod in _pods(api, node, run["pod_selector"]) if _is_evictable(pod, run)]


def _left(api: Api, run: Run, node: str) -> list[str]:
    """Pods that are not evicted, though a reboot of the node interrupts them."""
    every = [pod for pod in _pods(api, node) if not _is_finished(pod) and not _belongs_to_node(pod)]
    evicted = {_title(pod) for pod in _evictable(api, run, node)}
    return [_title(pod) for pod in every if _title(pod) not in evicted]


def _pods(api: Api, node: str, selector: str | None = None) -> list[dict[str, Any]]:
    query = {"fieldSelector": f"spec.nodeName={node}", **({} if selector is None else {"labelSelector": selector})}
    found = api.object(f"/api/v1/pods?{urlencode(query)}")
    if found.get("kind") != "PodList":
        raise Refusal(f"{api.url} does not answer like a Kubernetes API server")
    return found.get("items") or []


def _is_evictable(pod: dict[str, Any], run: Run) -> bool:
    if _is_finished(pod) or _belongs_to_node(pod):
        return False
    return run["unmanaged"] == "evict" or _controller(pod) is not None


def _is_finished(pod: dict[str, Any]) -> bool:
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def _belongs_to_node(pod: dict[str, Any]) -> bool:
    """Static pods, which the API shows as mirror pods, and pods of DaemonSets: they would be created here again."""
    mirror = "kubernetes.io/config.mirror" in (pod["metadata"].get("annotations") or {})
    return mirror or _controller(pod) == "DaemonSet"


def _controller(pod: dict[str, Any]) -> str | None:
    owners = pod["metadata"].get("ownerReferences") or []
    return next((str(one.get("kind")) for one in owners if one.get("controller")), None)


def _evict(pod: dict[str, Any], api: Api, run: Run) -> str:
    """Have a pod evicted, unless it already is. Returns its name, and why it is still there."""
    metadata = pod["metadata"]
    if metadata.get("deletionTimestamp"):
        return f"{_title(pod)} is terminating"
    options: dict[str, Any] = {"preconditions": {"uid": metadata["uid"]}}
    grace = pod.get("spec", {}).get("terminationGracePeriodSeconds", _GRACE)
    # 0 would delete the pod without waiting for its processes.
    left = max(1, int(run.left() - _REPORTING))
    if left < grace:
        options["gracePeriodSeconds"] = left
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
        "deleteOptions": options,
    }
    path = f"/api/v1/namespaces/{quote(metadata['namespace'], safe='')}/pods/{quote(metadata['name'], safe='')}"
    try:
        api.send("POST", f"{path}/eviction", body)
    except Unavailable as exc:
        # A budget that allows no eviction is status 429; more than one budget for a pod is 500.
        return f"{_title(pod)} cannot be evicted: {_reason(exc)}"
    except Rejected as exc:
        # Another pod by the same name is a conflict.
        return f"{_title(pod)} is gone" if exc.status in (404, 409) else f"{_title(pod)} cannot be evicted: {exc}"
    return f"{_title(pod)} is terminating"


def _reason(exc: Unavailable) -> str:
    """The message of the API server, with the name of a disruption budget, which is in its details."""
    value = exc.answer.json()
    details = value.get("details") if isinstance(value, dict) else None
    causes = details.get("causes") if isinstance(details, dict) else None
    more = [str(one.get("message", "")).rstrip(".") for one in causes or [] if isinstance(one, dict)]
    return ". ".join(filter(None, [exc.answer.message, *more]))


def _title(pod: dict[str, Any]) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _listed(texts: list[str]) -> str:
    # Those that cannot be evicted first.
    ordered = sorted(texts, key=lambda text: text.endswith(("is terminating", "is gone")))
    more = f", and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return f"{', '.join(ordered[:_SHOWN])}{more}"


def _still_out(api: Api, run: Run, name: str) -> str:
    """Uncordon a node that is ready. Returns why it does not accept pods yet."""
    before = run.record.get(name)
    if before is None:
        return ""
    try:
        node = _look_up(api, name)
        if before["boot"] != _boot_id() and before["reported"] == _reported_boot(node):
            return f"the kubelet of {name} has not reported since the boot"
        if _ready(node) != "True":
            return f"{name} is not ready"
        if _is_cordoned(node):
            _patch(api, name, unschedulable=False)
            node = _look_up(api, name)
    except Unreachable as exc:
        return run.unanswered(str(exc))
    except NotFound:
        return f"{name} has not registered"
    if _is_cordoned(node) or any(one.get("key") == _TAINT for one in node["spec"].get("taints") or []):
        return f"{name} is still unschedulable"
    run.record.forget(name)
    run.say(f"{name} is ready and not cordoned")
    return ""


def _boot_id() -> str:
    return _BOOT_ID.read_text(encoding="ascii").strip()


def _reported_boot(node: dict[str, Any]) -> str:
    return str(node.get("status", {}).get("nodeInfo", {}).get("bootID", ""))

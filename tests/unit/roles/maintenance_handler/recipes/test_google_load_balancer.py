# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recipe google_load_balancer, with an emulated project."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.emulator import Control, EmulatorProcess, eventually
from support.ports import free_port
from support.recipes import PATIENCE, Recipe, service

PROJECT, ZONE, REGION = "shop", "us-central1-a", "us-central1"
AT_ZONE, AT_REGION = f"/zones/{ZONE}", f"/regions/{REGION}"
NEG, GROUP = f"{AT_ZONE}/networkEndpointGroups/app", f"{AT_ZONE}/instanceGroups/old"
POOL = f"{AT_REGION}/targetPools/legacy"
HEALTH = "/global/backendServices/web/getHealth"
SCOPES = [{"scopes": ["https://www.googleapis.com/auth/cloud-platform"]}]
# For what ends by itself, also on a machine that is busy.
LONG = 60.0
EMAIL = "314159265358-compute@developer.gserviceaccount.com"
FLEET: dict[str, Any] = {
    "project": PROJECT,
    "speed": 1000,
    "require_auth": True,
    "durations": {"health": 0},
    "instances": [
        {"name": "web-1", "service_accounts": SCOPES},
        {"name": "web-2", "service_accounts": SCOPES},
        {"name": "alone", "service_accounts": SCOPES},
        {"name": "plain"},
        {"name": "bare", "service_accounts": []},
        {"name": "managed", "service_accounts": SCOPES},
    ],
    "network_endpoint_groups": [
        {
            "name": "app",
            "default_port": 8080,
            "endpoints": [
                {"instance": "web-1"},
                {"instance": "web-1", "port": 8081},
                {"instance": "web-1", "ip": "10.9.0.4"},
                {"instance": "web-2"},
            ],
        },
        {"name": "spare", "default_port": 9000, "endpoints": [{"instance": "web-1"}]},
    ],
    "instance_groups": [
        {"name": "old", "instances": ["web-1", "web-2"]},
        {"name": "mig", "instances": ["managed"], "managed": True},
        {"name": "mixed", "instances": ["managed"]},
    ],
    "target_pools": [{"name": "legacy", "instances": ["web-1", "web-2"]}],
    "backend_services": [
        {"name": "web", "groups": ["app", "old", "mig", "mixed"], "draining_timeout": 0},
        {"name": "internal", "region": REGION, "groups": ["app"]},
    ],
}
ALL = {NEG: 4, GROUP: 2, POOL: 2}
WITHOUT = {NEG: 1, GROUP: 1, POOL: 1}


class Project:
    """The emulated project as its API shows it."""

    def __init__(self, emulator: EmulatorProcess) -> None:
        self.emulator = emulator
        self.control = emulator.control
        url = f"{emulator.compute}/compute/v1/projects/{PROJECT}"
        self._api = Control(url, {"Authorization": "Bearer of-the-test"})

    def request(self, method: str, path: str, body: Any = None) -> Any:
        return self._api.request(method, path, body)

    def endpoints(self) -> list[tuple[str, str, int]]:
        items = self.request("POST", f"{NEG}/listNetworkEndpoints", {}).get("items", [])
        found = [item["networkEndpoint"] for item in items]
        return sorted((each["instance"], each["ipAddress"], each["port"]) for each in found)

    def sizes(self) -> dict[str, int]:
        """How many members each group has."""
        return {
            NEG: len(self.endpoints()),
            GROUP: len(self.request("POST", f"{GROUP}/listInstances", {}).get("items", [])),
            POOL: sum(len(pool.get("instances", [])) for pool in self.pools()),
        }

    def pools(self) -> list[Any]:
        return list(self.request("GET", f"{AT_REGION}/targetPools").get("items", []))

    def change(self, path: str, body: Any = None, method: str = "POST") -> None:
        """Change something, and wait for the end of the operation."""
        operation = self.request(method, path, body)
        scope = operation["selfLink"].partition(f"/projects/{PROJECT}")[2]
        assert "error" not in eventually(
            lambda: (done := self.request("GET", scope))["status"] == "DONE" and done, what="the operation is done"
        )

    def deny(self, permission: str) -> None:
        self.control.fault("forbidden", face="compute", permission=permission)

    def fault(self, kind: str, path: str, **options: Any) -> None:
        self.control.fault(kind, face="compute", path=f"projects/{PROJECT}{path}", **options)

    def looks_again(self, text: str, each: int = 1) -> Callable[[], bool]:
        """Returns a function that returns whether a client that sends `each` such requests has begun anew since."""
        enough = self._count(text) + each + 1
        return lambda: self._count(text) >= enough

    def _count(self, text: str) -> int:
        """How many requests had this text in their path."""
        return sum(text in each["path"] for each in self.control.journal(face="compute"))

    def changes(self) -> list[str]:
        """The changes that were requested, in their order."""
        verbs = ("etachNetworkEndpoints", "ttachNetworkEndpoints", "Instances", "Instance")
        paths = [each["path"] for each in self.control.journal(face="compute") if each["method"] == "POST"]
        return [path.rpartition("/")[2] for path in paths if path.endswith(verbs) and "/list" not in path]


@pytest.fixture(scope="module")
def running_emulator() -> Iterator[EmulatorProcess]:
    with EmulatorProcess(FLEET) as process:
        yield process


@pytest.fixture
def project(running_emulator: EmulatorProcess) -> Project:
    running_emulator.control.reset()
    return Project(running_emulator)


@pytest.fixture
def make_recipe(project: Project, tmp_path: Path) -> Callable[..., Recipe]:
    def make(vm: str = "web-1", **parameters: Any) -> Recipe:
        given = {
            "api_endpoint": f"{project.emulator.compute}/compute/v1/",
            "metadata_host": project.emulator.metadata[vm],
            "settle_seconds": 0,
            **parameters,
        }
        return Recipe("google_load_balancer", tmp_path / "records", **given)

    return make


@pytest.fixture
def recipe(make_recipe: Callable[..., Recipe]) -> Recipe:
    return make_recipe()


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Callable[..., tuple[Project, Recipe]]]:
    """Makes a project whose operations and draining take as long as a test says, and a recipe for it."""
    started: list[EmulatorProcess] = []

    def make(
        *, draining_timeout: int = 0, settle_seconds: float = 0, health_checked: bool = True, **durations: float
    ) -> tuple[Project, Recipe]:
        service = {"name": "web", "groups": ["app", "old"], "health_checked": health_checked}
        services = [{**service, "draining_timeout": draining_timeout}]
        fleet = {**FLEET, "speed": 1, "durations": {"operation": 0, "health": 0, **durations}}
        started.append(EmulatorProcess({**fleet, "backend_services": services}))
        project = Project(started[-1])
        parameters: dict[str, Any] = {
            "api_endpoint": f"{started[-1].compute}/compute/v1/",
            "metadata_host": started[-1].metadata["web-1"],
            "settle_seconds": settle_seconds,
        }
        return project, Recipe("google_load_balancer", tmp_path / "slow", **parameters)

    yield make
    for each in started:
        each.close()


# Drain and restore


def test_leaves_and_joins_twice_each(recipe: Recipe, project: Project) -> None:
    before = project.endpoints()
    assert "networkEndpointGroups/app: drained 0 s after" in recipe.does("check", LONG)
    assert project.sizes() == ALL
    recipe.does("drain", LONG)
    assert project.sizes() == WITHOUT
    changes = project.changes()
    recipe.does("drain", LONG)
    assert project.changes() == changes
    assert "not in zones/us-central1-a/networkEndpointGroups/app, left by this recipe" in recipe.does("state", LONG)
    recipe.does("check", LONG)
    recipe.does("restore", LONG)
    assert (project.sizes(), project.endpoints()) == (ALL, before)
    assert recipe.record == {}
    changes = project.changes()
    assert "nothing to restore" in recipe.does("restore", LONG)
    assert project.changes() == changes
    assert "HEALTHY" in recipe.does("state", LONG)


def test_leaves_alone_what_no_load_balancer_uses_unless_it_is_named(
    make_recipe: Callable[..., Recipe], project: Project
) -> None:
    spare = f"{AT_ZONE}/networkEndpointGroups/spare"
    make_recipe().does("drain", LONG)
    assert project.request("GET", spare)["size"] == 1
    make_recipe().does("restore", LONG)
    named = make_recipe(groups="spare")
    named.does("drain", LONG)
    assert (project.request("GET", spare)["size"], project.sizes()) == (0, ALL)
    named.does("restore", LONG)
    assert project.request("GET", spare)["size"] == 1


def test_joins_only_what_it_has_left(recipe: Recipe, project: Project) -> None:
    """An operator took one endpoint out before, and put another in."""
    ip = next(ip for name, ip, _port in project.endpoints() if name == "web-2").rpartition(".")[0]
    others = [{"instance": "web-1", "port": 8081}]
    project.change(f"{NEG}/detachNetworkEndpoints", {"networkEndpoints": others})
    before = project.endpoints()
    recipe.does("drain", LONG)
    project.change(f"{NEG}/attachNetworkEndpoints", {"networkEndpoints": [{"instance": "web-1", "port": 7}]})
    recipe.does("restore", LONG)
    assert set(project.endpoints()) - set(before) == {("web-1", f"{ip}.2", 7)}
    assert set(before) <= set(project.endpoints())


def test_does_not_join_what_someone_else_has_joined(recipe: Recipe, project: Project) -> None:
    recipe.does("drain", LONG)
    vm = f"https://www.googleapis.com/compute/v1/projects/{PROJECT}{AT_ZONE}/instances/web-1"
    project.change(f"{GROUP}/addInstances", {"instances": [{"instance": vm}]})
    recipe.does("restore", LONG)
    assert project.sizes() == ALL
    assert recipe.record == {}


def test_waits_for_the_draining_timeout_and_until_no_endpoint_drains(
    slow: Callable[..., tuple[Project, Recipe]],
) -> None:
    project, recipe = slow(draining_timeout=3600)
    with recipe.start("drain", timeout=60) as drain:
        eventually(lambda: has_left(recipe), within=LONG, what="that the VM has left all groups")
        drain.terminate()
        drain.communicate(timeout=PATIENCE)
    done = recipe.run("drain", timeout=8)
    assert done.returncode == 3
    assert "s more for connections of zones/us-central1-a/" in done.stdout
    assert (project.sizes()[NEG], project.sizes()[GROUP]) == (1, 1)
    # As if the draining timeout had been shorter when the VM left.
    [path] = recipe.records.glob("*.json")
    document = json.loads(path.read_text(encoding="utf-8"))
    for note in document["changed"].values():
        note["seconds"] = 0
    path.write_text(json.dumps(document), encoding="utf-8")
    # It looks for the health of the one group, and for endpoints of the other.
    assert "3 endpoints of" in recipe.reports("drain", project.looks_again(HEALTH))
    project.control.speed(1e6)
    recipe.does("drain", LONG)


def has_left(recipe: Recipe) -> bool:
    """Whether the recipe has noted for each of its three groups that the VM has left."""
    notes = list(recipe.record.values()) if any(recipe.records.glob("*.json")) else []
    return len(notes) == 3 and all(note["left_at"] for note in notes)


def test_settles_after_the_draining_timeout(slow: Callable[..., tuple[Project, Recipe]]) -> None:
    _project, recipe = slow(settle_seconds=600)
    assert "drained 600 s after" in recipe.does("check", LONG)
    assert recipe.run("drain", timeout=3).returncode == 3


def test_restores_once_the_backends_are_healthy(slow: Callable[..., tuple[Project, Recipe]]) -> None:
    project, recipe = slow(health=3600)
    recipe.does("drain", LONG)
    # It looks for the health of two groups, once it has joined each.
    said = recipe.reports("restore", project.looks_again(HEALTH, each=2))
    assert "global/backendServices/web reports UNHEALTHY" in said
    assert project.sizes() == ALL
    project.control.speed(1e6)
    recipe.does("restore", LONG)
    assert recipe.record == {}


def test_looks_at_the_local_service_first(make_recipe: Callable[..., Recipe], project: Project) -> None:
    port = free_port()
    recipe = make_recipe(health=f"http://127.0.0.1:{port}/")
    recipe.does("drain", LONG)
    done = recipe.run("restore", timeout=1)
    assert (done.returncode, "the local service is not up" in done.stdout) == (3, True)
    assert project.sizes() == WITHOUT
    with service(port):
        recipe.does("restore", LONG)


def test_a_backend_service_that_reports_no_health_is_not_waited_for(
    slow: Callable[..., tuple[Project, Recipe]],
) -> None:
    project, recipe = slow(health=3600, health_checked=False)
    project.change(POOL, method="DELETE")
    recipe.does("drain", LONG)
    assert [note["checked"] for note in recipe.record.values()] == [[], []]
    recipe.does("restore", LONG)
    assert project.sizes() == {**ALL, POOL: 0}


# Interruptions and failures


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("verb", ["drain", "restore"])
def test_an_interrupted_run_is_finished_by_the_next(
    slow: Callable[..., tuple[Project, Recipe]], verb: str, number: signal.Signals
) -> None:
    project, recipe = slow(operation=3600)
    if verb == "restore":
        project.control.speed(1e6)
        recipe.does("drain", LONG)
        project.control.speed(1)
    begun = len(project.changes())
    process = recipe.start(verb, timeout=60)
    eventually(lambda: len(project.changes()) > begun, within=PATIENCE, what="a change begins")
    process.send_signal(number)
    process.communicate(timeout=PATIENCE)
    project.control.speed(1e6)
    recipe.does(verb, LONG)
    assert project.sizes() == (WITHOUT if verb == "drain" else ALL)
    recipe.does("restore", LONG)
    assert project.sizes() == ALL


def test_a_restore_after_an_interrupted_drain_outlives_its_operations(
    slow: Callable[..., tuple[Project, Recipe]],
) -> None:
    """The operation to leave ends only after the restore has begun: it must not remove what has joined."""
    project, recipe = slow(operation=3600)
    process = recipe.start("drain", timeout=60)
    eventually(lambda: len(project.changes()) == 3, within=PATIENCE, what="all changes have begun")
    process.kill()
    process.communicate(timeout=PATIENCE)
    assert "is PENDING" in recipe.reports("restore", project.looks_again("/operations/operation-"))
    project.control.speed(1e6)
    recipe.does("restore", LONG)
    assert (project.sizes(), recipe.record) == (ALL, {})


def test_a_drain_after_an_interrupted_restore_outlives_its_operations(
    slow: Callable[..., tuple[Project, Recipe]],
) -> None:
    """The operation to join ends only after the next drain has begun: this VM must leave again."""
    project, recipe = slow(operation=3600)
    project.control.speed(1e6)
    recipe.does("drain", LONG)
    project.control.speed(1)
    begun = len(project.changes())
    process = recipe.start("restore", timeout=60)
    eventually(lambda: len(project.changes()) > begun, within=PATIENCE, what="a change begins")
    process.kill()
    process.communicate(timeout=PATIENCE)
    assert "is PENDING" in recipe.reports("drain", project.looks_again("/operations/operation-"))
    project.control.speed(1e6)
    recipe.does("drain", LONG)
    assert project.sizes() == WITHOUT


def test_a_drain_that_was_killed_before_its_request_is_restored(recipe: Recipe, project: Project) -> None:
    recipe.does("drain", LONG)
    [path] = recipe.records.glob("*.json")
    document = json.loads(path.read_text(encoding="utf-8"))
    recipe.does("restore", LONG)
    for note in document["changed"].values():
        note.update(left_at=None, leaving="0b7bf8f2-6f0a-4c0f-9e3c-000000000001")
    path.write_text(json.dumps(document), encoding="utf-8")
    changes = project.changes()
    recipe.does("restore", LONG)
    assert (project.changes(), project.sizes(), recipe.record) == (changes, ALL, {})


@pytest.mark.parametrize("kind", ["503", "rate-limit", "reset"])
def test_an_api_that_fails_for_a_while_is_asked_again(recipe: Recipe, project: Project, kind: str) -> None:
    for verb, sizes in (("drain", WITHOUT), ("restore", ALL)):
        project.control.fault(kind, face="compute", count=3)
        recipe.does(verb, LONG)
        assert project.sizes() == sizes


def test_an_answer_that_is_lost_does_not_change_anything_twice(recipe: Recipe, project: Project) -> None:
    for verb, sizes in (("drain", WITHOUT), ("restore", ALL)):
        for path in (NEG, GROUP, POOL):
            project.fault("lost-answer", path, count=1)
        recipe.does(verb, LONG)
        assert project.sizes() == sizes
    project.control.clear_faults()


def test_an_operation_that_fails_is_begun_again(recipe: Recipe, project: Project) -> None:
    for verb, sizes in (("drain", WITHOUT), ("restore", ALL)):
        for path in (NEG, GROUP, POOL):
            project.fault("operation-error", path, count=1)
        recipe.does(verb, LONG)
        assert project.sizes() == sizes


def test_an_expired_token_is_replaced(recipe: Recipe, project: Project) -> None:
    project.control.fault("unauthenticated", face="compute", count=1)
    recipe.does("drain", LONG)
    assert project.sizes() == WITHOUT


def test_a_group_that_was_deleted_meanwhile_is_not_joined(recipe: Recipe, project: Project) -> None:
    recipe.does("drain", LONG)
    for path in ("/global/backendServices/web", f"{AT_REGION}/backendServices/internal", NEG, POOL):
        project.change(path, method="DELETE")
    said = recipe.does("restore", LONG)
    assert "networkEndpointGroups/app no longer exists" in said
    assert recipe.record == {}


def test_a_group_that_was_deleted_in_the_middle_of_a_drain(slow: Callable[..., tuple[Project, Recipe]]) -> None:
    project, recipe = slow(operation=3600)
    process = recipe.start("drain", timeout=60)
    eventually(lambda: len(project.changes()) == 3, within=PATIENCE, what="all changes have begun")
    process.kill()
    process.communicate(timeout=PATIENCE)
    project.control.speed(1e6)
    eventually(lambda: project.sizes() == WITHOUT, what="all operations have ended")
    project.change(POOL, method="DELETE")
    recipe.does("drain", LONG)
    assert POOL not in recipe.record


@pytest.mark.parametrize("verb", ["drain", "restore"])
def test_an_api_that_is_down_is_reported(recipe: Recipe, project: Project, verb: str) -> None:
    if verb == "restore":
        recipe.does("drain", LONG)
    project.control.fault("503", face="compute")
    done = recipe.run(verb, timeout=3)
    # The last request has little time left, and may end before its answer comes.
    assert (done.returncode, f"{project.emulator.compute}/compute/v1/projects/shop/" in done.stdout) == (3, True)
    project.control.clear_faults()
    assert project.sizes() == (WITHOUT if verb == "restore" else ALL)


def test_a_denied_change_is_refused(recipe: Recipe, project: Project) -> None:
    project.deny("compute.networkEndpointGroups.detachNetworkEndpoints")
    said = recipe.refuses("drain", LONG)
    assert "status 403: Required 'compute.networkEndpointGroups.detachNetworkEndpoints' permission" in said
    project.control.clear_faults()
    recipe.does("restore", LONG)
    assert project.sizes() == ALL


# Check


@pytest.mark.parametrize(
    "permission, resource",
    [
        ("compute.networkEndpointGroups.detachNetworkEndpoints", "networkEndpointGroups/app"),
        ("compute.networkEndpointGroups.attachNetworkEndpoints", "networkEndpointGroups/app"),
        ("compute.instanceGroups.update", "instanceGroups/old"),
        ("compute.targetPools.addInstance", "targetPools/legacy"),
        ("compute.targetPools.removeInstance", "targetPools/legacy"),
        ("compute.instances.use", "web-1"),
    ],
)
def test_refuses_without_a_permission_to_change(
    recipe: Recipe, project: Project, permission: str, resource: str
) -> None:
    project.deny(permission)
    said = recipe.refuses(timeout=LONG)
    assert f"{EMAIL} lacks {permission} for " in said
    assert resource in said
    assert project.sizes() == ALL


@pytest.mark.parametrize(
    "permission",
    [
        "compute.backendServices.list",
        "compute.backendServices.get",
        "compute.regionBackendServices.list",
        "compute.regionBackendServices.get",
        "compute.networkEndpointGroups.get",
        "compute.instanceGroups.get",
        "compute.instanceGroupManagers.get",
        "compute.targetPools.list",
        "compute.targetPools.get",
        "compute.zoneOperations.get",
        "compute.zoneOperations.list",
        "compute.regionOperations.get",
        "compute.regionOperations.list",
    ],
)
def test_refuses_without_a_permission_to_read(recipe: Recipe, project: Project, permission: str) -> None:
    project.deny(permission)
    assert f"Required '{permission}' permission" in recipe.refuses(timeout=LONG)


def test_names_all_missing_permissions(recipe: Recipe, project: Project) -> None:
    project.deny("compute.instanceGroups.update")
    project.deny("compute.targetPools.removeInstance")
    said = recipe.refuses(timeout=LONG)
    assert "compute.instanceGroups.update" in said
    assert "compute.targetPools.removeInstance" in said


def test_refuses_without_a_scope(make_recipe: Callable[..., Recipe]) -> None:
    said = make_recipe("plain").refuses(timeout=LONG)
    assert "scopes of the VM do not allow" in said
    assert "https://www.googleapis.com/auth/cloud-platform" in said


def test_refuses_without_a_service_account(make_recipe: Callable[..., Recipe]) -> None:
    assert "the VM has no service account" in make_recipe("bare").refuses(timeout=LONG)


def test_refuses_a_managed_group(make_recipe: Callable[..., Recipe], project: Project) -> None:
    said = make_recipe("managed").refuses(timeout=LONG)
    assert "instanceGroups/mig is a managed instance group" in said
    assert "use the recipe lame_duck" in said
    recipe = make_recipe("managed")
    assert "managed instance group" in recipe.refuses("drain", LONG)
    assert "items" not in project.request("POST", f"{AT_ZONE}/instanceGroups/mixed/listInstances", {})
    recipe.does("restore", LONG)
    assert "items" in project.request("POST", f"{AT_ZONE}/instanceGroups/mixed/listInstances", {})
    named = make_recipe("managed", groups="mixed")
    named.does("check", LONG)
    named.does("drain", LONG)
    named.does("restore", LONG)


def test_names_the_managed_group_of_another_zone(make_recipe: Callable[..., Recipe], project: Project) -> None:
    manager = "regions/us-central1/instanceGroupManagers/spread"
    project.control.set("alone", "instance/attributes/created-by", f"projects/314159265358/{manager}")
    said = make_recipe("alone").refuses(timeout=LONG)
    assert "this VM is in no zonal group of a backend service" in said
    assert f"{manager} is a managed instance group" in said


def test_refuses_a_vm_in_no_group(make_recipe: Callable[..., Recipe], project: Project) -> None:
    recipe = make_recipe("web-2", groups=["spare"])
    assert "this VM is not in spare" in recipe.refuses(timeout=LONG)
    assert "this VM is not in spare" in recipe.does("drain", LONG)
    assert "there is no network endpoint group" in make_recipe(groups="nobody").refuses(timeout=LONG)


def test_refuses_what_is_not_the_api_or_the_metadata_server(make_recipe: Callable[..., Recipe]) -> None:
    with service() as other:
        url, address = f"http://127.0.0.1:{other.port}/", f"127.0.0.1:{other.port}"
        assert "does not answer like the Compute API" in make_recipe(api_endpoint=url).refuses(timeout=LONG)
        for verb in ("check", "drain"):
            assert "not the metadata server" in make_recipe(metadata_host=address).refuses(verb, timeout=LONG)
    nobody = make_recipe(metadata_host=f"127.0.0.1:{free_port()}", api_endpoint="http://127.0.0.1:1/")
    assert "no answer from the metadata server" in nobody.refuses(timeout=LONG)


def test_the_token_is_never_shown(recipe: Recipe, project: Project) -> None:
    project.deny("compute.instanceGroups.update")
    said = recipe.run("check").stdout + recipe.run("drain").stdout
    assert "ya29" not in said
    assert all("ya29" not in path.read_text(encoding="utf-8") for path in recipe.records.glob("*.json"))
